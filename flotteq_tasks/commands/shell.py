"""The command value: quoted by default, masked for people, plain for execution."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from flotteq_tasks.model.secret import MASK, Secret


@dataclass(frozen=True)
class Raw:
    """A piece of shell text that is not quoted: operators, redirections, ``$(…)``."""

    text: str


Part = str | Secret | Raw


@dataclass(frozen=True, init=False)
class Command:
    """One command line. Build it from words; each word is quoted unless it is ``Raw``.

    >>> str(Command("echo", "a b", Secret("x")))
    "echo 'a b' •••"
    """

    parts: tuple[Part, ...]

    def __init__(self, *parts: "Part | int | Iterable[Part]") -> None:
        flat: list[Part] = []
        for part in parts:
            if isinstance(part, str | Secret | Raw):
                flat.append(part)
            elif isinstance(part, int):
                flat.append(str(part))
            else:
                flat.extend(part)
        object.__setattr__(self, "parts", tuple(flat))

    def __add__(self, other: "Command") -> "Command":
        return Command(*self.parts, *other.parts)

    def __str__(self) -> str:
        return " ".join(_show(part, masked=True) for part in self.parts)

    def brief(self, width: int = 200) -> str:
        """The masked text on one line, cut to a width: for messages."""
        line = " ".join(str(self).split())
        return line if len(line) <= width else f"{line[: width - 2]} …"

    def render(self) -> str:
        """Return the text for a POSIX shell, secrets included: for execution only."""
        return " ".join(_show(part, masked=False) for part in self.parts)

    def argv(self) -> list[str]:
        """Return the words for execution without a shell.

        Raises:
            ValueError: the command has raw shell text and needs a shell.
        """
        if any(isinstance(part, Raw) for part in self.parts):
            raise ValueError(f"needs a shell: {self}")
        return [part.reveal() if isinstance(part, Secret) else str(part) for part in self.parts]

    @property
    def has_secret(self) -> bool:
        """Whether a secret is part of it."""
        return any(isinstance(part, Secret) for part in self.parts)

    @property
    def needs_shell(self) -> bool:
        """Whether raw shell text is part of it."""
        return any(isinstance(part, Raw) for part in self.parts)


def chain(*commands: Command) -> Command:
    """Run one after the other; stop at the first that fails (``&&``)."""
    return _join(commands, "&&")


def sequence(*commands: Command) -> Command:
    """Run one after the other whatever they return (``;``)."""
    return _join(commands, ";")


def either(*commands: Command) -> Command:
    """Run the next only when the one before failed (``||``)."""
    return _join(commands, "||")


def pipe(*commands: Command) -> Command:
    """Connect by pipes under ``pipefail``: a failure anywhere is a failure of the whole."""
    return bash(_join(commands, "|"), pipefail=True)


def bash(script: Command, *, pipefail: bool = False) -> Command:
    """Wrap a command in one ``bash -c`` word, so that it can be prefixed (sudo, timeout, nsenter)."""
    return Command("bash", ["-o", "pipefail"] if pipefail else [], "-c", _word(script))


def sh(script: Command) -> Command:
    """Wrap a command in one ``sh -c`` word."""
    return Command("sh", "-c", _word(script))


# At the head of a script: a directory of its own, gone with it however it ends.
WORK = """
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
"""


def script(text: str, *arguments: "str | int | Iterable[Part]", interpreter: str = "sh") -> Command:
    """A POSIX script as one command; its arguments arrive as ``$1``, ``$2`` …

    Args:
        text: the script; ``set -eu`` is put in front, so that no failure passes unseen.
        interpreter: ``bash`` where the script needs it.
    """
    return Command(interpreter, "-c", f"set -eu\n{text.strip()}\n", "flotteq", *arguments)


def _word(script: Command) -> Raw:
    if script.has_secret:
        raise ValueError("a secret never travels in a script: send it on standard input")
    return Raw(shlex.quote(script.render()))


def _join(commands: Iterable[Command], operator: str) -> Command:
    parts: list[Part] = []
    for command in commands:
        if parts:
            parts.append(Raw(operator))
        parts.extend(command.parts)
    return Command(*parts)


def _show(part: Part, *, masked: bool) -> str:
    if isinstance(part, Raw):
        return part.text
    if isinstance(part, Secret):
        return MASK if masked else shlex.quote(part.reveal())
    return shlex.quote(part)
