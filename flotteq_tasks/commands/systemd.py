"""Command lines of systemd for units of one prefix."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import Command, script

PLACE = "/etc/systemd/system"
NO_SYSTEMD, BAD_TIME = 30, 31

_CHECK = """
[ -d /run/systemd/system ] || exit 30
for time; do
  systemd-analyze calendar "$time" >/dev/null 2>&1 || { echo "$time"; exit 31; }
done
"""

_ENABLE = """
prefix=$1; shift
cd /etc/systemd/system
for file in "$prefix"-*; do
  [ -e "$file" ] || continue
  keep=
  for wanted; do [ "$wanted" != "$file" ] || keep=1; done
  [ -n "$keep" ] || { systemctl disable --now "$file" >/dev/null 2>&1 || true; rm -f "$file"; }
done
systemctl daemon-reload
for wanted; do
  case $wanted in *.timer) systemctl enable --now --quiet "$wanted" ;; esac
done
"""

_REMOVE = """
prefix=$1
cd /etc/systemd/system
for file in "$prefix"-*; do
  [ -e "$file" ] || continue
  case $file in *.timer) systemctl disable --now --quiet "$file" ;; esac
  rm -f "$file"
  echo "$file"
done
systemctl daemon-reload
"""

_LIST = """
[ -d /run/systemd/system ] || exit 30
for name; do
  timer=$(systemctl show "$name.timer" --property=ActiveState | tr '\\n' ' ')
  # `--timestamp=unix` does not reach this one.
  next=$(systemctl show "$name.timer" --property=NextElapseUSecRealtime --value)
  [ -z "$next" ] || timer="${timer}Next=@$(date -d "$next" +%s) "
  service=$(systemctl show "$name.service" --property=Result,ExecMainStatus,ExecMainExitTimestamp,ActiveState \\
    --timestamp=unix | sed 's/^ActiveState/Running/' | tr '\\n' ' ')
  echo "$name $timer$service"
done
"""

_RUN = """
systemctl start "$1"
"""


def check(times: Iterable[str]) -> Command:
    """Whether there is a systemd that understands these times. Exit code 30: none; 31: not the printed one."""
    return script(_CHECK, list(times))


def enable(prefix: str, units: Iterable[str]) -> Command:
    """Make the written units known, start the timers, remove older units of the prefix."""
    return script(_ENABLE, prefix, list(units))


def remove(prefix: str) -> Command:
    """Stop and remove all units of a prefix; print their names."""
    return script(_REMOVE, prefix)


def show(names: Iterable[str]) -> Command:
    """``NAME KEY=VALUE …`` for each pair of timer and service; moments are ``@`` and Unix seconds."""
    return script(_LIST, list(names))


def run_now(unit: str) -> Command:
    """Start a service and wait for its end; its own result is asked with ``show``."""
    return script(_RUN, unit)


def log(unit: str, *, lines: int) -> Command:
    """The last lines that a unit wrote."""
    return Command("journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}")
