"""Command lines about the place of the backups on the host."""

from flotteq_tasks.commands.shell import Command, script

_LOOK = """
place=$1
probe=$place
while [ ! -d "$probe" ]; do probe=$(dirname "$probe"); done
df -PB1 "$probe" | awk 'END { print "disk", $2, $4 }'
root=$(docker info --format '{{.DockerRootDir}}')
if [ "$(stat -c %d "$probe")" = "$(stat -c %d "$root")" ]; then echo same-disk; else echo own-disk; fi
[ "$(stat -c '%a %u' "$probe")" != '700 0' ] || echo private
[ ! -e "$place/restic/config" ] || echo repository
if timedatectl show -p NTPSynchronized --value 2>/dev/null | grep -qx yes; then echo clock; fi
"""


def private_directory(path: str) -> Command:
    """Make a directory that root alone can open."""
    return Command("install", "-d", "-m", "700", path)


def look(place: str) -> Command:
    """Print size and free bytes of the backups' disk, whether the data is on it, whether root alone
    can look into it, and whether a repository exists."""
    return script(_LOOK, place)
