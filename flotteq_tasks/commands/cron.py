"""Command lines of cron, for hosts without systemd: one table of the system's own directory."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import Command, script

PLACE = "/etc/cron.d"
NO_CRON = 30

_CHECK = """
[ -d /etc/cron.d ] || exit 30
for pid in /proc/[0-9]*; do
  case $(cat "$pid/comm" 2>/dev/null || true) in cron | crond) exit 0 ;; esac
done
exit 30
"""

_LIST = """
table=$1 directory=$2; shift 2
[ -e "$table" ] || exit 0
for name; do
  result=$(cat "$directory/$name.result" 2>/dev/null || echo '0 0')
  echo "$name $result"
done
"""

_REMOVE = """
if [ -e "$1" ]; then echo "${1##*/}"; rm -f "$1"; fi
rm -f "$2"/*.result "$2"/*.log
"""


def check() -> Command:
    """Whether a cron runs that reads tables of the system. Exit code 30: none."""
    return script(_CHECK)


def show(table: str, directory: str, names: Iterable[str]) -> Command:
    """``NAME END CODE`` for each job, Unix seconds and exit code of its last run, 0 0 before the first.

    Nothing where the table does not exist.
    """
    return script(_LIST, table, directory, list(names))


def remove(table: str, directory: str) -> Command:
    """Remove the table and what its jobs left; print its name where there was one."""
    return script(_REMOVE, table, directory)
