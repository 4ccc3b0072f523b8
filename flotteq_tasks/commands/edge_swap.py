"""Put one container of the edge in another's place while new connections wait."""

from collections.abc import Mapping

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.docker import ENGINE
from flotteq_tasks.commands.nginx import CONFIG
from flotteq_tasks.commands.shell import Command, script

# Exit codes of the swap script.
BACK, DOWN = 20, 21

_TABLE = "flotteq_hold"

_CAN_HOLD = """
[ "$(id -u)" = 0 ] || { echo 'the user is not root'; exit 1; }
command -v nft >/dev/null || { echo 'the host has no nft'; exit 1; }
# An empty table says whether the kernel takes part.
said=$(printf 'table inet %s {}\\ndelete table inet %s\\n' "$1" "$1" | nft -f - 2>&1) ||
  { echo "nft: $said" | head -n 1; exit 1; }
"""

# Answers of the apps themselves: a new nginx knows no address of theirs before its first question to the DNS.
_ANSWERS = """
end=$(($(date +%s) + $1)); shift
for url; do
  domain=${url#https://}; domain=${domain%%/*}
  while :; do
    if command -v curl >/dev/null; then
      code=$(curl -sk -o /dev/null -m 3 -w '%{http_code}' --resolve "$domain:443:127.0.0.1" "$url" 2>/dev/null || true)
    else
      wget -q -T 3 -O /dev/null http://127.0.0.1:8081/healthz && code=200 || code=000
    fi
    case $code in 000 | 502 | 504) ;; *) break ;; esac
    [ "$(date +%s)" -lt "$end" ] || { echo "$url: $code"; exit 1; }
    sleep 0.05
  done
done
"""

_SWAP = """
# Half of a swap is an outage: it goes on when the client, its connection or its patience is gone.
trap '' HUP INT TERM PIPE
directory=$1 table=$2 answers=$3 old=$4 new=$5 hold=$6 grace=$7 within=$8; shift 8
mkdir -p "$directory/state"
exec 9>"$directory/state/edge.swap"
flock -w 90 9
runs() { [ "$(engine 10 inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }
if runs "$new" && ! runs "$old"; then exit 0; fi
now() { date +%s%N | cut -c1-13; }
ports=$(engine 10 inspect --format '{{range .HostConfig.PortBindings}}{{range .}}{{.HostPort}} {{end}}{{end}}' "$new")
held() {
  [ "$hold" != 0 ] || return 0
  members=
  for port in $ports; do members="$members${members:+, }$port timeout ${hold}s"; done
  # Before DNAT and before docker-proxy; only what is meant for this host. Its own clients, too.
  rule='fib daddr type local tcp dport @ports tcp flags & (syn | ack) == syn drop'
  nft -f - <<RULES
table inet $table {}
delete table inet $table
table inet $table {
  set ports { type inet_service; flags timeout; elements = { $members } }
  chain incoming { type filter hook prerouting priority raw; policy accept; $rule; }
  chain own { type filter hook output priority raw; policy accept; $rule; }
}
RULES
}
released() { [ "$hold" = 0 ] || nft delete table inet "$table"; }
# An engine that starts again would start both, and only one of them gets the ports.
down() { engine 10 update --restart no "$2" >/dev/null; engine $(($1 + 15)) stop --time "$1" "$2" >/dev/null; }
# Connections that were accepted by the kernel but not yet by nginx, or are half-way there, would be reset.
settled() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    awk '($4 == "0A" && $5 !~ /:00000000$/) || $4 == "03" { waiting = 1 } END { exit waiting }' \\
      "/proc/$1/net/tcp"* 2>/dev/null && return 0
    sleep 0.05
  done
}
up() {
  engine 10 update --restart always "$1" >/dev/null
  engine 20 start "$1" >/dev/null
  container=$1; shift
  said=$(engine $((within + 5)) exec "$container" sh -c "$answers" flotteq "$within" "$@" 2>&1) ||
    { echo "$said"; return 1; }
}
pid=$(engine 10 inspect --format '{{.State.Pid}}' "$old")
begun=$(now)
held
if [ "$pid" != 0 ]; then
  settled "$pid"
  down "$grace" "$old"
fi
stopped=$(now)
if up "$new" "$@"; then
  ended=$(now)
  released
  echo "swapped $((stopped - begun)) $((ended - begun))"
  exit 0
fi
engine 5 logs --tail 20 "$new" 2>&1 || true
down 2 "$new" 2>/dev/null || true
if up "$old" "$@"; then code=20; else code=21; fi
released
exit "$code"
"""


def can_hold() -> Command:
    """Ask whether new connections can be held on the host; else the reason is printed and the exit code is 1."""
    return script(_CAN_HOLD, _TABLE)


def test(containers: Containers, *, service: str, name: str) -> Command:
    """Let the image that is to come check the files on the host, in a container of that name."""
    return containers.run(service, ["nginx", "-e", "stderr", "-t", "-q", "-c", CONFIG], name=name)


def swap(
    directory: str, old: str, new: str, checks: Mapping[str, str], *, hold: int, grace: int, within: int
) -> Command:
    """Stop one container of the edge, start the other, and hold new connections meanwhile: one round trip.

    A held connection is not refused: its first packet is dropped and sent again by the client, by every TCP after one
    second. The rule ends by itself. Nothing happens when ``new`` runs and ``old`` does not. Prints
    ``swapped STOPPED READY``, milliseconds from the beginning. Exit codes: 20 the new one did not answer and the old
    one runs again, 21 that neither does.

    Args:
        directory: the project directory on the host.
        old: id of the container that runs.
        new: id of the one that takes its place.
        checks: path to ask for, by public name; any answer counts that is not the edge's 502 or 504.
        hold: seconds after which new connections are let through whatever happens; 0 does not hold them.
        grace: seconds that requests which are already running have to end.
        within: seconds for the new container to answer.
    """
    urls = [f"https://{domain}{path}" for domain, path in checks.items()]
    words = script(ENGINE + _SWAP, directory, _TABLE, _ANSWERS, old, new, hold, grace, within, urls).argv()
    # A session of its own: the end of the connection's processes is not its end.
    return Command("setsid", "--wait", words)
