"""The scripts of a rollout on one host. Each does one thing in one round trip and can be run again."""

from collections.abc import Iterable, Mapping

from flotteq_tasks.commands.shell import WORK, Command, script

# `index`: Docker 29 leaves out what an image does not have, which is an error for `.Config.Labels`.
IMAGE_FORMAT = (
    '{"id":{{json .Id}},"digests":{{json (index . "RepoDigests")}},"size":{{json .Size}},'
    '"entrypoint":{{json (index .Config "Entrypoint")}},"cmd":{{json (index .Config "Cmd")}},'
    '"labels":{{json (index .Config "Labels")}}}'
)

_FETCH = """
format=$1 limit=$2; shift 2
fetch() {
  case $1 in *@sha256:*) docker image inspect "$1" >/dev/null 2>&1 && return 0 ;; esac
  for pause in 1 3 0; do
    if timeout --kill-after=5 "$limit" docker pull "$1" >>"$work/$2.log" 2>&1; then return 0; fi
    # An answer of the registry is final; a broken transfer is tried again.
    if grep -qiE 'manifest unknown|not found|denied|unauthorized|no such host' "$work/$2.log"; then return 1; fi
    [ "$pause" = 0 ] || sleep "$pause"
  done
  return 1
}
# Only the registry knows how large the layers were that came from it.
weigh() {
  sed -nE 's/^([0-9a-f]{12}): (Pull|Download) complete.*/\\1/p' "$work/$2.log" 2>/dev/null | sort -u >"$work/$2.layers"
  [ -s "$work/$2.layers" ] || return 0
  timeout 20 docker manifest inspect --insecure "$1" >"$work/$2.manifest" 2>/dev/null || echo '{}' >"$work/$2.manifest"
}
one() { if fetch "$1" "$2"; then weigh "$1" "$2"; echo ok; else echo failed; fi >"$work/$2.state"; }
number=0 jobs=
: >"$work/pinned"
for reference; do
  number=$((number + 1))
  case $reference in *@sha256:*) echo "$number $reference" >>"$work/pinned"; continue ;; esac
  one "$reference" "$number" &
  jobs="$jobs $!"
done
# All that may be there in one call, beside the others: each start of docker takes some 50 ms.
here=0
cut -d ' ' -f 2 "$work/pinned" | xargs -r docker image inspect >/dev/null 2>&1 || here=1
while read -r number reference; do
  [ "$here" = 1 ] || { echo ok >"$work/$number.state"; continue; }
  one "$reference" "$number" &
  jobs="$jobs $!"
done <"$work/pinned"
for job in $jobs; do wait "$job" || true; done
number=0
: >"$work/fetched"
for reference; do
  number=$((number + 1))
  if [ "$(cat "$work/$number.state" 2>/dev/null)" = ok ]; then
    if [ -s "$work/$number.layers" ]; then
      printf 'layers %s %s ' "$reference" "$(paste -sd, "$work/$number.layers")"
      tr -d '\\n' <"$work/$number.manifest"; echo
    fi
    printf 'image %s\\n' "$reference" >>"$work/fetched"
  else
    printf 'failed %s %s\\n' "$reference" "$(tail -n 1 "$work/$number.log" 2>/dev/null | tr -d '\\r')"
  fi
done
[ -s "$work/fetched" ] || exit 0
# All in one call, which answers in this order.
cut -d ' ' -f 2 "$work/fetched" | xargs docker image inspect --format "$format" >"$work/described"
paste -d ' ' "$work/fetched" "$work/described"
"""


def fetch(references: Iterable[str], *, limit: int) -> Command:
    """Pull images side by side and describe each: ``image REF JSON`` or ``failed REF MESSAGE`` a line.

    ``layers REF ID,ID MANIFEST`` before it names the layers that had to be transferred, by the first twelve digits of
    their digest. A reference with a digest that the host has is not asked for again.

    Args:
        limit: seconds for one try of one image.
    """
    return script(WORK + _FETCH, IMAGE_FORMAT, limit, list(references))


_ACTIVATE = """
source=$1 directory=$2
cd "$source"
find . -type f | while IFS= read -r file; do
  target=$directory/${file#./}
  mkdir -p "$(dirname "$target")"
  cp -p "$file" "$target.next"
  mv -f "$target.next" "$target"
done
"""


def activate(source: str, directory: str) -> Command:
    """Copy a release's files into the project directory, each by rename: a reader sees the old file or the new one."""
    return script(_ACTIVATE, source, directory)


_DIAGNOSE = """
lines=$1 id=$2
docker inspect --format '{{json .State}}' "$id"
# A container that was started again forgets how it ended; the engine's events do not.
timeout 10 docker events --since 15m --until "$(($(date +%s) + 1))" --filter "container=$id" \
  --filter event=oom --filter event=die --format 'docker: {{.Action}} {{.Actor.Attributes.exitCode}}' || true
docker logs --timestamps --tail "$lines" "$id" 2>&1
"""


def diagnose(container: str, *, lines: int) -> Command:
    """A container's state as one line of JSON, a line for each time it ended, then the last lines of its log."""
    return script(_DIAGNOSE, lines, container)


NO_EDGE = 5
# The edge's container has another name after each replacement.
_EDGE = """
edge=$(docker ps --quiet --filter "label=com.docker.compose.project=$1" --filter "label=com.docker.compose.service=$2" |
  head -n 1)
[ -n "$edge" ] || exit 5
shift 2
"""

# One entry into the container: each costs as much as all the questions.
_PROBE = """
docker exec "$edge" sh -c '
for address; do
  printf "probe %s " "$address"
  curl --silent --show-error --max-time 5 --write-out " %{http_code}" "$address" 2>&1 | tr "\\n" " "
  echo
done' probe "$@"
"""


def probe(project: str, edge: str, addresses: Iterable[str]) -> Command:
    """Ask addresses from inside the edge's own network: ``probe URL BODY CODE`` a line.

    Exit code ``NO_EDGE``: its container does not run.

    Args:
        edge: the edge's service.
    """
    return script(_EDGE + _PROBE, project, edge, list(addresses))


ENDED = 3
ERRORS = 4

# The access log is JSON with "host" and "status"; the probe's own requests count like everybody's.
_MONITOR = """
seconds=$1 enough=$2 percent=$3 names=$4; shift 4
since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
end=$(($(date +%s) + seconds))
while :; do
  for container; do
    state=$(docker inspect --format '{{.State.Running}} {{.RestartCount}}' "$container" 2>/dev/null || true)
    if [ "$state" != 'true 0' ]; then
      echo "ended $container"; exit 3
    fi
  done
  docker logs --since "$since" "$edge" 2>/dev/null >"$work/log" || true
  verdict=0
  awk -v names="$names" -v enough="$enough" -v percent="$percent" '
    BEGIN { split(names, list, ","); for (i in list) wanted[list[i]] = 1 }
    match($0, /"host":"[^"]*"/) {
      host = substr($0, RSTART + 8, RLENGTH - 9)
      if (!(host in wanted) || !match($0, /"status":[0-9]+/)) next
      total[host]++; all++
      if (substr($0, RSTART + 9, 1) == "5") { bad[host]++; errors++ }
    }
    END {
      for (host in bad) if (bad[host] >= enough && bad[host] * 100 >= percent * total[host]) {
        print "errors", host, bad[host], total[host]; exit 4
      }
      print "seen", errors + 0, all + 0
    }
  ' "$work/log" >"$work/verdict" || verdict=$?
  if [ "$verdict" != 0 ] || [ "$(date +%s)" -ge "$end" ]; then cat "$work/verdict"; exit "$verdict"; fi
  sleep 1
done
"""


def monitor(
    project: str,
    edge: str,
    domains: Iterable[str],
    containers: Iterable[str],
    *,
    seconds: int,
    enough: int,
    percent: int,
) -> Command:
    """Watch containers and the edge's log: ``seen ERRORS REQUESTS`` at the end.

    Exit code ``ENDED``: a container ended or restarted; ``ERRORS``: ``errors DOMAIN BAD TOTAL``; ``NO_EDGE``: the
    edge's container does not run.

    Args:
        edge: the edge's service.
        seconds: how long.
        enough: fewer 5xx answers of a domain are not judged.
        percent: share of 5xx answers of a domain that is too much.
    """
    watch = (seconds, enough, percent, ",".join(domains), list(containers))
    return script(WORK + _EDGE + _MONITOR, project, edge, *watch)


_ALONE = """
name=$1; shift
docker rm --force "$name" >/dev/null 2>&1 || true
trap 'docker rm --force "$name" >/dev/null 2>&1 || true' EXIT
trap 'exit 143' HUP INT TERM
"$@"
trap - EXIT
"""


def alone(name: str, run: Command) -> Command:
    """Run a command that starts one container and removes it, and leave none of that name, whatever happens.

    Args:
        name: the container's name; a leftover of it is removed first.
    """
    return script(_ALONE, name, run.argv())


_RETIRE = """
grace=$1; shift
docker stop --time "$grace" "$@" >/dev/null 2>&1 || true
docker rm --force "$@" >/dev/null 2>&1 || true
left=$(docker container inspect --format '{{.Id}}' "$@" 2>/dev/null || true)
[ -z "$left" ] || { echo "not removed: $left"; exit 1; }
"""


def retire(ids: Iterable[str], *, grace: int) -> Command:
    """Stop and remove containers; nothing happens where they are gone already.

    Args:
        grace: seconds between SIGTERM and SIGKILL.
    """
    return script(_RETIRE, grace, list(ids))


_KEEP_EDGE = """
directory=$1
kept=$directory/state/edge.before
rm -rf "$kept" "$kept.next"
mkdir -p "$kept.next"
cp -a "$directory/nginx/." "$kept.next/"
# A copy that ended early must not look like the whole.
mv "$kept.next" "$kept"
"""


def keep_edge(directory: str) -> Command:
    """Keep a copy of the edge's configuration, to be put back when the switch fails."""
    return script(_KEEP_EDGE, directory)


def forget_edge(directory: str) -> Command:
    """Remove the copy: what it would put back serves no more."""
    return script('rm -rf "$1/state/edge.before"', directory)


_KEEP_EDGE_OF = """
directory=$1 release=$2
cd "$directory"
rm -rf "releases/$release/nginx"
cp -a nginx "releases/$release/nginx"
rm -rf "releases/$release/nginx/state"
"""


def keep_edge_of(directory: str, release: str) -> Command:
    """Keep the edge's files as they are now with a release, to run it again as it was."""
    return script(_KEEP_EDGE_OF, directory, release)


# state/ belongs to the host: a maintenance that was turned on meanwhile stays on.
_PUT_EDGE = """
directory=$1 source=$2
[ -d "$source" ] || exit 3
cd "$source"
find . -path ./state -prune -o -type f -print | while IFS= read -r file; do
  target=$directory/nginx/${file#./}
  mkdir -p "$(dirname "$target")"
  cp -p "$file" "$target.next"
  mv -f "$target.next" "$target"
done
cd "$directory/nginx"
find . -path ./state -prune -o -type f -print | while IFS= read -r file; do
  [ -e "$source/$file" ] || rm -f "$file"
done
"""


# A certificate that no server reads any more is not renewed: it may have ended, or be gone.
_SAME_CERTIFICATES = """
read_by() { grep -rhoE 'ssl_certificate +[^ ;]+' "$1" 2>/dev/null | tr -s ' ' | sort -u; }
now=$(read_by "$1/nginx")
for path in $(read_by "$2" | cut -d ' ' -f 2); do
  printf '%s\\n' "$now" | grep -qxF "ssl_certificate $path" || exit 3
done
"""


def use_edge_of(directory: str, release: str) -> Command:
    """Put the edge's files of an earlier release back. Nothing is reloaded.

    Exit code 3: it kept none, or they read a certificate that the present ones do not.
    """
    return script(_SAME_CERTIFICATES + _PUT_EDGE, directory, f"{directory}/releases/{release}/nginx")


def restore_edge(directory: str) -> Command:
    """Put the edge's files from before the switch back; exit code 3 when none were kept. Nothing is reloaded."""
    return script(_PUT_EDGE, directory, f"{directory}/state/edge.before")


_STAGE_AGAIN = """
directory=$1 source=$2 release=$3; shift 3
cd "$directory/releases"
rm -rf "$release"
mkdir "$release"
cp -a "$source/files" "$release/files"
for variable in "FLOTTEQ_RELEASE=$release" "$@"; do
  sed -i "s|^${variable%%=*}=.*|$variable|" "$release/files/.env"
done
"""


def stage_again(directory: str, source: str, release: str, variables: Mapping[str, str]) -> Command:
    """Stage the files of an earlier release under a new id.

    Args:
        variables: of ``.env`` that get another value, which needs no quotes.
    """
    return script(_STAGE_AGAIN, directory, source, release, [f"{key}={value}" for key, value in variables.items()])
