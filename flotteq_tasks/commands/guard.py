"""Changes that could lock everybody out: a timer on the host takes them back unless somebody logs in anew."""

from collections.abc import Sequence

from flotteq_tasks.commands.shell import Command, script

# Exit codes.
REFUSED, TOO_LATE = 20, 21

_BACK = """
kept=$1 load=$2; shift 2
number=0
for path; do
  number=$((number + 1))
  if [ -e "$kept/$number" ]; then cp -p "$kept/$number" "$path"; else rm -f "$path"; fi
done
sh -c "$load"
rm -rf "$kept"
"""

_ARM = """
unit=$1 seconds=$2 back=$3 load=$4; shift 4
kept="/run/$unit"
systemctl stop "$unit.timer" 2>/dev/null || true
rm -rf "$kept"
mkdir -m 700 "$kept"
number=0
for path; do
  number=$((number + 1))
  [ ! -e "$path" ] || cp -p "$path" "$kept/$number"
done
systemd-run --quiet --collect --unit="$unit" --on-active="$seconds" --timer-property=AccuracySec=1s \\
  --service-type=oneshot sh -c "$back" "$unit" "$kept" "$load" "$@"
"""

_LOAD = """
said=$(sh -c "$1" 2>&1) || { echo "$said"; exit 20; }
"""

_GIVE_BACK = """
unit=$1
# The timer may have been first. Without it there is no service either.
[ ! -d "/run/$unit" ] || systemctl start "$unit.service"
systemctl stop "$unit.timer" 2>/dev/null || true
"""

_CONFIRM = """
unit=$1
systemctl is-active --quiet "$unit.timer" || exit 21
systemctl stop "$unit.timer"
rm -rf "/run/$unit"
"""


def arm(unit: str, paths: Sequence[str], *, load: str, seconds: int) -> Command:
    """Keep files as they are, and put them back and load them after a time.

    Args:
        unit: name of the timer, without ending.
        paths: the files that are about to change; one that does not exist is removed again.
        load: shell text that makes the files count.
        seconds: until they are put back.
    """
    return script(_ARM, unit, seconds, f"set -eu{_BACK}", load, list(paths))


def load(text: str) -> Command:
    """Check new files and make them count. Exit code 20: refused; the reason is printed."""
    return script(_LOAD, text)


def give_back(unit: str) -> Command:
    """Put the files back now."""
    return script(_GIVE_BACK, unit)


def confirm(unit: str) -> Command:
    """Keep the change. To be sent over a connection that was made after it. Exit code 21: it was taken back already."""
    return script(_CONFIRM, unit)
