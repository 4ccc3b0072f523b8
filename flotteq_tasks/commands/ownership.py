"""Who owns what containers write to, and which networks they are in: changed while they run."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import Command, script

# What a restore put aside is root's alone; a link is handed over, not what it leads to.
_HAND_OVER = """
types=$1; shift
umask 022
while [ $# -gt 0 ]; do
  owner=$1 place=$2; shift 2
  case $place in
    /*) mkdir -p "$place"; directory=$place ;;
    # Before the first deploy there is none: the edge alone runs.
    *) directory=$(docker volume inspect --format '{{.Mountpoint}}' "$place" 2>/dev/null) || continue ;;
  esac
  foreign() {
    find "$directory" -xdev -path "$directory/.flotteq-restore" -prune -o -type "$types" ! -uid "${owner%:*}" "$@"
  }
  count=$(foreign -printf . | wc -c)
  [ "$count" -gt 0 ] || continue
  foreign -exec chown -h "$owner" {} +
  # An empty one was nobody's before.
  [ -z "$(ls -A "$directory")" ] || echo "handed $place $owner $count"
done
"""

# Whoever is cut off between the two is found by the next one: what is connected already stays.
_CONNECT = """
network=$1 alias=$2 container=$3
case " $(docker inspect --format '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$container")" in
  *" $network "*) ;;
  *) docker network connect --alias "$alias" "$network" "$container" ;;
esac
"""

_DISCONNECT = """
project=$1 network=$2 container=$3
owner=$(docker network inspect --format '{{index .Labels "com.docker.compose.project"}}' "$network")
[ "$owner" != "$project" ] || docker network disconnect "$network" "$container"
"""


def hand_over(places: Iterable[tuple[str, str]], *, whole: bool = True) -> Command:
    """Give what lies in volumes and directories to the users that write there; ``handed PLACE OWNER FILES`` a line.

    Run again, it changes nothing. A program that still runs as root goes on: it may write everywhere.

    Args:
        places: ``UID:GID`` and the name of a volume, or the absolute path of a directory, which is made.
        whole: files and links as well as directories.
    """
    return script(_HAND_OVER, "d,f,l,p,s" if whole else "d", [word for place in places for word in place])


def connect(network: str, container: str, *, alias: str) -> Command:
    """Let a running container into one more network, under a name; its connections in the others stay."""
    return script(_CONNECT, network, alias, container)


def disconnect(project: str, network: str, container: str) -> Command:
    """Take a running container out of a network of the project; one that a person made is none of ours."""
    return script(_DISCONNECT, project, network, container)
