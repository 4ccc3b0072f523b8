"""The script that holds a host's lock and writes its journal for as long as its client speaks to it."""

from flotteq_tasks.commands.shell import Command, script

LOCKED = 75
FREE = 3
# What putting back a deploy writes: its files, the edge's files, a manifest. Many times over.
ROOM = 1 << 20

# The kernel holds the lock: it is free the moment this process ends, however it ends. A client that is silent for a
# whole lease (killed, cut off) ends it, too. The information file only tells people who holds it. A full disk ends
# nothing: a line that finds no room is answered as such, and room for putting things back has been set aside.
_KEEPER = """
state=$1 lease=$2 bytes=$3
umask 022
mkdir -p "$state"
exec 9>>"$state/lock"
# One second: whoever only looks at the lock holds it for an instant.
if ! flock --wait 1 9; then
  cat "$state/lock.json" 2>/dev/null || true
  exit 75
fi
trap '' HUP PIPE
if [ -s "$state/lock.json" ]; then
  printf 'after %s\\n' "$(tr -d '\\n' < "$state/lock.json")"
fi
IFS= read -r -t 30 holder
[ -e "$state/room" ] || head -c "$bytes" /dev/urandom 2>/dev/null > "$state/room" || rm -f "$state/room"
tell() {
  { echo $$ > "$state/lock.pid" && printf '%s\\n' "$holder" > "$state/lock.json.new"; } 2>/dev/null &&
    mv "$state/lock.json.new" "$state/lock.json"
}
add() { { printf '%s%s\\n' "$1" "$line" >> "$state/journal.jsonl"; } 2>/dev/null; }
tell || { rm -f "$state/room"; tell; } || true
gap=
[ -z "$(tail -c 1 "$state/journal.jsonl" 2>/dev/null)" ] || gap=$'\\n'
echo held
while IFS= read -r -t "$lease" line; do
  case $line in
    beat) echo beat || true ;;
    room) rm -f "$state/room"; echo room || true ;;
    release) rm -f "$state/lock.json"; echo released || true; exit 0 ;;
    *)
      answer=written
      # Half of a line may have been written: the next one begins on a line of its own.
      if add "$gap"; then gap=; else answer=full gap=$'\\n'; fi
      echo "$answer" || true ;;
  esac
done
exit 1
"""


def keeper(state: str, *, lease: float) -> Command:
    """Hold the lock below ``state`` until told to release it.

    The client sends one line with the holder, then lines for the journal, ``beat``, ``room`` or ``release``; each is
    answered by one line: ``written``, or ``full`` where the disk took no line. ``room`` gives the bytes back that are
    set aside for a full disk. Exit code 75: somebody else holds it, and standard output says who.

    Args:
        lease: seconds of silence after which the client counts as dead and the lock is given up.
    """
    return script(_KEEPER, state, f"{lease:g}", ROOM, interpreter="bash")


def read_lock(state: str) -> Command:
    """Print who holds the lock, nothing when it is free. A holder that died shows as ``dead``."""
    return script(
        """
state=$1
[ -e "$state/lock" ] || exit 0
exec 9>>"$state/lock"
if flock --nonblock 9; then kind=dead; else kind=held; fi
if [ -s "$state/lock.json" ]; then
  echo "$kind"
  cat "$state/lock.json"
elif [ "$kind" = held ]; then
  printf 'held\n{}\n'
fi
""",
        state,
        interpreter="bash",
    )


def break_lock(state: str) -> Command:
    """End the process that holds the lock; its client stops at its next step. Exit code ``FREE``: nobody holds it.

    A timer's job ends what it has started first: its container has ten seconds for that, as Docker gives everybody.
    """
    return script(
        """
state=$1
exec 9>>"$state/lock"
if flock --nonblock 9; then exit 3; fi
pid=$(cat "$state/lock.pid" 2>/dev/null || true)
# A number that was left behind may be somebody else's by now.
if [ -z "$pid" ] || ! [ "/proc/$pid/fd/9" -ef "$state/lock" ]; then
  echo "process '$pid' does not hold $state/lock; who does: lslocks" >&2
  exit 1
fi
kill "$pid"
flock --wait 40 9 || { echo "process $pid has not ended within 40 s" >&2; exit 1; }
rm -f "$state/lock.json"
""",
        state,
        interpreter="bash",
    )
