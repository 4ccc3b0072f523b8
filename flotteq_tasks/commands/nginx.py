"""Command lines of the edge: test its configuration, reload it and know that the new one answers."""

from collections.abc import Iterable

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command, pipe, script

# Where the rendered set is mounted in the container.
PLACE = "/etc/nginx/flotteq"
CONFIG = f"{PLACE}/nginx.conf"
HEALTHZ = "http://127.0.0.1:8081/healthz"

# Exit codes of the reload script.
REFUSED, NOT_TAKEN, STILL_DRAINING, OTHER_FILES = 10, 11, 12, 13

_RELOAD = """
place=$1 wanted=$2 taken=$3
on_disk() { sed -n '1s/^# generation //p' "$place/$1"; }
ask() {
  curl -fsS --max-time 2 http://127.0.0.1:8081/healthz 2>/dev/null ||
    wget -q -T 2 -O - http://127.0.0.1:8081/healthz 2>/dev/null || true
}
found=$(on_disk servers/01-internal.conf)-$(on_disk upstreams/active.conf)
[ -n "$wanted" ] || wanted=$found
[ "$wanted" = "$found" ] || { echo "the files are of generation $found, not $wanted" >&2; exit 13; }
nginx -e stderr -t -q -c "$place/nginx.conf" || exit 10
master=$(cat /run/nginx.pid)
# Neither image is sure to have pgrep.
old=$(grep -lE "^PPid:[[:space:]]$master\\$" /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3)
kill -HUP "$master"
end=$(($(date +%s) + taken))
until answer=$(ask); [ "$answer" = "$wanted" ]; do
  [ "$(date +%s)" -lt "$end" ] || { echo "nginx answers '$answer' instead of '$wanted'" >&2; exit 11; }
  sleep 0.03
done
echo "$wanted" "$(echo "$old" | tr "\\n" " ")"
"""

_DRAINED = """
limit=$1; shift
end=$(($(date +%s) + limit))
for pid; do
  while grep -q worker "/proc/$pid/cmdline" 2>/dev/null; do
    [ "$(date +%s)" -lt "$end" ] || { echo "worker $pid still runs" >&2; exit 12; }
    sleep 0.1
  done
done
"""

# What the edge may not read or write, this one may not either: a key for root alone would only be missed at the reload.
_LIKE = (
    "{{with .Config.User}}--user {{.}} {{end}}{{range .HostConfig.GroupAdd}}--group-add {{.}} {{end}}"
    "{{if .HostConfig.ReadonlyRootfs}}--read-only {{end}}{{range .HostConfig.CapDrop}}--cap-drop {{.}} {{end}}"
    "{{range .HostConfig.SecurityOpt}}--security-opt {{.}} {{end}}"
    "{{range $path, $options := .HostConfig.Tmpfs}}--tmpfs {{$path}}:{{$options}} {{end}}"
)

_TRY = """
edge=$1 files=$2 name=$3 place=$4 like=$5
trap 'rm -rf -- "$files"; docker rm --force "$name" >/dev/null 2>&1 || true' EXIT
image=$(docker inspect --format '{{.Image}}' "$edge")
like=$(docker inspect --format "$like" "$edge")
# shellcheck disable=SC2086 # words without spaces: users, groups, paths and their options
docker run --rm --name "$name" --network "container:$edge" --volumes-from "$edge:ro" \\
  --volume "$files:$place:ro" $like --entrypoint nginx "$image" -e stderr -t -q -c "$place/nginx.conf"
"""

_ALLOW = """
umask 022
state=$1/nginx/state; shift
mkdir -p "$state"
for address; do printf '%s yes;\\n' "$address"; done >"$state/maintenance.allow.next"
mv -f "$state/maintenance.allow.next" "$state/maintenance.allow"
"""

_MAINTENANCE_ON = """
umask 022
mkdir -p "$1/nginx/state"
: >"$1/nginx/state/maintenance.on"
"""


def test(containers: Containers, *, service: str = "nginx") -> Command:
    """Check the files that lie on the host with the image that runs; silent but for errors and warnings."""
    return containers.exec(service, ["nginx", "-e", "stderr", "-t", "-q", "-c", CONFIG])


def try_out(edge: str, files: str, *, name: str) -> Command:
    """Check a set of files that nobody serves yet, in a container like the edge's: its image, its mounts, its names.

    Silent but for errors and warnings. The container and the files are removed, whatever the verdict.

    Args:
        edge: id of the edge's container; it must run.
        files: directory on the host with the whole set.
        name: of the container that checks.
    """
    return script(_TRY, edge, files, name, PLACE, _LIKE)


def dump(containers: Containers, *, service: str = "nginx") -> Command:
    """Print the whole configuration, includes resolved."""
    return containers.exec(service, ["nginx", "-e", "stderr", "-T", "-q", "-c", CONFIG])


def healthz(containers: Containers, *, service: str = "nginx") -> Command:
    """Print the generation of the configuration that is running."""
    return containers.exec(service, ["sh", "-c", f"curl -fsS {HEALTHZ} || wget -q -O - {HEALTHZ}"])


def recent_log(containers: Containers, *, since: str, service: str = "nginx") -> Command:
    """Print what the edge logged, compressed.

    Args:
        since: a duration such as ``24h`` or a time, as Docker takes it.
    """
    return pipe(containers.logs([service], follow=False, lines=None, since=since), Command("gzip", "-c"))


def reload(containers: Containers, *, generation: str, taken: int, service: str = "nginx") -> Command:
    """Test, reload and wait until the new configuration answers: one round trip.

    The new generation is printed, and behind it the process ids of the old workers, which still end their requests.
    Exit codes: 10 the test failed and nothing was reloaded, 11 the new configuration does not answer, 13 the files on
    the host are others.

    Args:
        generation: what ``/healthz`` must answer; empty: what the files on the host say.
        taken: seconds until the new configuration must answer.
    """
    return containers.exec(service, script(_RELOAD, PLACE, generation, taken).argv())


def drained(containers: Containers, workers: Iterable[str], *, limit: int, service: str = "nginx") -> Command:
    """Wait until workers of an earlier configuration have ended; exit code 12 when one has not.

    Args:
        workers: process ids in the container.
        limit: seconds.
    """
    return containers.exec(service, script(_DRAINED, limit, list(workers)).argv())


def maintenance_allow(directory: str, addresses: Iterable[str]) -> Command:
    """Write who sees the site during maintenance; the next reload reads it.

    Args:
        directory: the project directory on the host.
        addresses: addresses and networks, checked by the caller.
    """
    return script(_ALLOW, directory, list(addresses))


def maintenance_on(directory: str) -> Command:
    """Show the maintenance page on all names, without a reload.

    Args:
        directory: the project directory on the host.
    """
    return script(_MAINTENANCE_ON, directory)


def maintenance_off(directory: str) -> Command:
    """Take the maintenance page away, without a reload."""
    return Command("rm", "-f", f"{directory}/nginx/state/maintenance.on")
