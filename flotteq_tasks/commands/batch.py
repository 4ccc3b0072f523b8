"""Several commands in one round trip, each with its own output and exit code."""

from collections.abc import Iterable, Sequence

from flotteq_tasks.commands.shell import Command, script

# Each command gets two words: whether standard input is its own, and its text. What it says goes to files first: a
# command's two streams must not be mixed with those of the next.
_BATCH = """
mark=$1; shift
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
while [ $# -gt 0 ]; do
  code=0
  if [ "$1" = input ]; then
    sh -c "$2" >"$work/out" 2>"$work/err" || code=$?
  else
    sh -c "$2" </dev/null >"$work/out" 2>"$work/err" || code=$?
  fi
  shift 2
  cat "$work/out"; printf '\\n%s err\\n' "$mark"
  cat "$work/err"; printf '\\n%s %s\\n' "$mark" "$code"
  [ "$code" = 0 ] || break
done
"""

_TOGETHER = """
mark=$1; shift
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
number=0
for text; do
  number=$((number + 1))
  { code=0; sh -c "$text" </dev/null >"$work/$number.out" 2>"$work/$number.err" || code=$?
    echo "$code" >"$work/$number.code"; } &
done
wait
number=0
for text; do
  number=$((number + 1))
  code=$(cat "$work/$number.code")
  cat "$work/$number.out"; printf '\\n%s err\\n' "$mark"
  cat "$work/$number.err"; printf '\\n%s %s\\n' "$mark" "$code"
  [ "$code" = 0 ] || break
done
"""


def batch(commands: Sequence[Command], mark: str, *, reader: int | None = None) -> Command:
    """Run commands one after the other; stop behind the first that fails. Its own exit code is 0.

    Args:
        mark: a word that no output contains.
        reader: index of the command that reads standard input; the others have none.

    Raises:
        ValueError: a command holds a secret, which would stand in the text of another one.
    """
    words: list[str] = []
    for number, command in enumerate(commands):
        words += ["input" if number == reader else "none", _text(command)]
    return script(_BATCH, mark, words)


def together(commands: Sequence[Command], mark: str) -> Command:
    """Run commands side by side; all of them end. What is printed is what ``batch`` would print.

    Args:
        mark: a word that no output contains.

    Raises:
        ValueError: as ``batch``.
    """
    return script(_TOGETHER, mark, [_text(command) for command in commands])


def split(text: str, mark: str) -> Iterable[tuple[int, str, str]]:
    """Exit code, standard output and standard error of each command that ran.

    Args:
        text: what ``batch`` printed.
        mark: the one that it was given.
    """
    rest = text
    while True:
        out, found, rest = rest.partition(f"\n{mark} err\n")
        if not found:
            return
        err, _, rest = rest.partition(f"\n{mark} ")
        code, _, rest = rest.partition("\n")
        yield int(code), out, err


def _text(command: Command) -> str:
    if command.has_secret:
        raise ValueError("a secret never travels in a script: send it on standard input")
    return command.render()
