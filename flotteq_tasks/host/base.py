"""The interface of a host: run, stream, read, write, lock. SSH, local and fake hosts share it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.errors import CommandFailed


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, output as text, seconds."""

    command: Command
    code: int
    out: str = ""
    err: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0

    def check(self, where: str) -> "Done":
        """Return itself.

        Raises:
            CommandFailed: the exit code is not 0.
        """
        if self.ok:
            return self
        said = (self.err.strip() or self.out.strip()).splitlines()
        last = f": {said[-1]}" if said else ""
        details = "\n".join([f"$ {self.command.brief()}", *said[-20:]])
        raise CommandFailed(f"{where}: exit code {self.code}{last}", code=self.code, details=details)


@dataclass(frozen=True)
class File:
    """Content to be put on a host. ``group`` is a name or a number; None leaves the default."""

    content: bytes = field(repr=False)
    mode: int = 0o644
    group: str | None = None


class Session(Protocol):
    """A command that keeps running while lines are exchanged with it."""

    def send(self, line: str) -> None:
        """Send one line.

        Raises:
            HostUnreachable: the connection is gone.
        """

    def receive(self, *, timeout: float) -> str | None:
        """Return the next line of its standard output without the line end, None when it has ended.

        Raises:
            HostUnreachable: nothing came within ``timeout`` seconds, or the connection is gone.
        """

    def close(self) -> int:
        """Close its standard input, wait up to ten seconds for its end, and return the exit code (-1 when unknown)."""


class Host(Protocol):
    """A place where commands run. Every call has a time limit in seconds."""

    name: str

    def run(self, command: Command, *, timeout: float = 60, check: bool = True, stdin: bytes = b"") -> Done:
        """Run to the end and return what it left.

        Args:
            command: words, quoted here and nowhere else.
            timeout: seconds; afterwards the command is killed on the host, too.
            check: raise when the exit code is not 0.
            stdin: bytes for its standard input, which is closed afterwards.

        Raises:
            CommandFailed, CommandTimedOut, HostUnreachable, AccessDenied.
        """

    def run_all(
        self, commands: Sequence[Command], *, timeout: float = 60, check: bool = True, together: bool = False
    ) -> list[Done]:
        """Run one after the other in one round trip, without standard input; stop behind the first that fails.

        Args:
            timeout: seconds for all of them.
            check: raise when one fails; else the last result is the one that failed.
            together: they do not depend on each other and may run side by side; results are the same.

        Raises:
            CommandFailed, CommandTimedOut, HostUnreachable, AccessDenied.
            ValueError: a command holds a secret.
        """

    def stream(
        self,
        command: Command,
        *,
        sink: BinaryIO | None = None,
        source: BinaryIO | None = None,
        idle: float = 60,
        timeout: float = 3600,
    ) -> Done:
        """Stream bytes: standard output goes to ``sink``, ``source`` to standard input; neither is kept in memory.

        Args:
            idle: seconds without a byte in either direction after which the peer counts as dead.
            timeout: seconds for the whole.

        Raises:
            CommandFailed, CommandTimedOut, HostUnreachable.
        """

    def follow(self, command: Command, on_line: Callable[[str], None], *, timeout: float) -> Done:
        """Run and hand over each line of its output (both streams) as it comes. Does not raise on its exit code."""

    def open(self, command: Command) -> Session:
        """Start a command and keep talking to it. It has no time limit: it must end when its standard input ends."""

    def interact(self, command: Command) -> int:
        """Run with the user's terminal attached; return the exit code."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None where it does not exist."""

    def write(self, path: str, file: File) -> None:
        """Write one file atomically (same-directory temporary file, then rename); parents are made."""

    def write_tree(
        self,
        root: str,
        files: Mapping[str, File],
        *,
        first: Sequence[Command] = (),
        then: Sequence[Command] = (),
        timeout: float = 120,
        check: bool = True,
    ) -> list[Done]:
        """Write files below ``root`` in one round trip, each atomically. Paths are relative; others stay.

        Args:
            first, then: commands before and after, in the same round trip; results as in ``run_all``.
        """

    def close(self) -> None:
        """Let go of the connection. A host that was closed connects again when it is used."""
