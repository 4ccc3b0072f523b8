"""Command lines that wait for containers: until they are healthy, and at rest."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import WORK, Command, script

# Exit codes at the time limit.
STARTING, GROWING = 4, 6

# In hundredths of a second of the host's uptime: nobody sets that clock. Of a container's memory only what it cannot
# give back counts: "anon" in control groups of version 2, "total_rss" in those of version 1.
_WAIT = """
limit=$1 settle=$2 since=$3; shift 3
uptime() { IFS=' .' read -r seconds hundredths _ </proc/uptime; echo "$seconds$hundredths"; }
end=$(($(date +%s) + limit)) weighed=
# `index`: a container that was never started has no health at all, which is an error for `.State.Health`.
format='{{.Id}} {{.State.Status}} {{with index .State "Health"}}{{.Status}}{{else}}-{{end}}'
format="$format {{.RestartCount}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Pid}} {{.HostConfig.Memory}}"
weigh() {
  while read -r id _ _ _ _ _ pid most; do
    [ "${most:-0}" != 0 ] || continue
    used=
    for kind in '' memory; do
      group=$(sed -n "s/^[0-9]*:$kind://p" "/proc/$pid/cgroup" 2>/dev/null) || continue
      stat=/sys/fs/cgroup/$kind$group/memory.stat
      [ ! -r "$stat" ] || used=$(awk '$1 == "anon" || $1 == "total_rss" { print $2; exit }' "$stat") || used=
      [ -z "$used" ] || break
    done
    echo "$id ${used:-unknown} $most"
  done <"$work/states" >"$work/weights"
}
# Prints the first container that would reach its limit within 10 s if it went on like this: a start takes memory, too.
# At nine tenths of it what grows may stand still while the kernel looks for pages to take; one that is not known any
# more, or not yet, has ended in between.
growing() {
  awk -v span="$1" '
    NR == FNR { before[$1] = $2; next }
    ($2 == "unknown") != (before[$1] == "unknown") { print $1; exit }
    $2 == "unknown" { next }
    $2 > $3 * 0.9 { print $1; exit }
    $2 > before[$1] && $2 + ($2 - before[$1]) * 1000 / span > $3 { print $1; exit }
  ' "$work/weights.before" "$work/weights"
}
while :; do
  docker inspect --format "$format" "$@" >"$work/states" || exit 3
  # Prints the first container that cannot become healthy (exit 3) or is not there yet (exit 1).
  verdict=0
  awk '
    $2 == "created" { waiting = $0; next }
    $2 != "running" || $4 != 0 || $3 == "unhealthy" { print; failed = 1; exit }
    $3 != "healthy" && $3 != "-" { waiting = $0 }
    END { if (failed) exit 3; if (waiting != "") { print waiting; exit 1 } }
  ' "$work/states" >"$work/verdict" || verdict=$?
  if [ "$verdict" = 0 ]; then
    now=$(uptime)
    since=${since:-$now}
    [ "$settle" != 0 ] || { echo "healthy since $since"; exit 0; }
    if [ -z "$weighed" ]; then
      weigh; weighed=$now
      mv "$work/weights" "$work/weights.before"
      # Where the kernel does not tell, only time does.
      ! grep -q unknown "$work/weights.before" || [ "$settle" -gt 3 ] || settle=3
    elif [ $((now - since)) -ge $((settle * 100)) ] && [ $((now - weighed)) -ge 50 ]; then
      weigh
      grows=$(growing $((now - weighed)))
      [ -n "$grows" ] || { echo "healthy since $since"; exit 0; }
      # What has become unknown is compared with what was known, for as long as Docker calls it healthy.
      grep -q unknown "$work/weights" || { mv "$work/weights" "$work/weights.before"; weighed=$now; }
      [ "$(date +%s)" -lt "$end" ] || { grep "^$grows " "$work/states"; exit 6; }
    fi
    sleep 0.1
    continue
  fi
  since='' weighed=''
  case $verdict in 3) cat "$work/verdict"; exit 3 ;; esac
  if [ "$(date +%s)" -ge "$end" ]; then cat "$work/verdict"; exit 4; fi
  sleep 0.1
done
"""

_NEW = """
limit=$1 project=$2 services=$3; shift 3
known=" $* "
set --
docker ps --all --no-trunc --filter "label=com.docker.compose.project=$project" \
  --filter label=com.docker.compose.oneoff=False --format '{{.ID}} {{.Label "com.docker.compose.service"}}' \
  >"$work/all"
while read -r id service; do
  case " $services " in *" $service "*) ;; *) continue ;; esac
  case $known in *" $id "*) ;; *) set -- "$@" "$id" ;; esac
done <"$work/all"
[ $# -gt 0 ] || exit 0
set -- "$limit" 0 '' "$@"
"""


def wait_new(project: str, services: Iterable[str], known: Iterable[str], *, limit: int) -> Command:
    """Like ``wait_healthy``, for the containers of services that are not among ``known``.

    Args:
        known: ids of the containers from before.
        limit: seconds.
    """
    return script(WORK + _NEW + _WAIT, limit, project, " ".join(services), list(known))


def wait_healthy(ids: Iterable[str], *, limit: int, settle: int = 0, since: str = "") -> Command:
    """Wait until every container is healthy, and for so long; end at once when one cannot become so.

    Prints ``healthy since UPTIME``. Exit code 3: a container exited, restarted or is unhealthy; ``STARTING``: not
    healthy at the limit; ``GROWING``: healthy, but its memory is not at rest. The last line names it.

    Args:
        limit: seconds.
        settle: seconds that all of them must stay healthy, and longer while the memory of one grows so fast that it
            would reach its limit within 10 s, or is above nine tenths of it. 3 at least where the host does not tell
            a container's memory.
        since: since when they are, as an earlier wait printed it; one that is not any more begins anew.
    """
    return script(WORK + _WAIT, limit, settle, since, list(ids))


def healthy_since(text: str) -> str:
    """What ``since`` is, from the output of a wait that ended well; empty where nothing was waited for."""
    return text.strip().partition("healthy since ")[2]
