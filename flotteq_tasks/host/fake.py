"""A scripted host for tests: it answers from a table, keeps files in memory and writes a transcript."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, File, Session
from flotteq_tasks.host.each import around, run_each
from flotteq_tasks.host.tree import check_paths
from flotteq_tasks.model.errors import CommandFailed, HostUnreachable

Simple = Done | str | bytes | int | BaseException
Answer = Simple | Sequence[Simple] | Callable[[Command, bytes], Simple]
Pattern = str | re.Pattern[str]


@dataclass
class FakeHost:
    """A host that runs nothing.

    >>> host = FakeHost({"docker ps -q": "4f0c\\n", "docker stop *": ""})
    >>> host.run(Command("docker", "stop", "4f0c")).ok
    True

    Args:
        script: masked command text → answer. The exact text wins; then, in order, keys with ``*`` (any text) and
            compiled expressions (``search``). An answer is output (str, bytes), an exit code (int), a ``Done``, an
            exception to raise, a list (one answer a call, the last stays) or a function of the command and its stdin.
        files: path → content.
        name: how messages call it.
        fail_at: number of the transcript entry (the first is 1) that fails.
        unreachable_from: number of the transcript entry from which on the host is gone (reads, too).

    Attributes:
        transcript: masked commands and ``write PATH`` in order.
        inputs: masked command → the standard input it last got.
    """

    script: Mapping[Any, Answer] = field(default_factory=dict)
    files: dict[str, bytes | str | File] = field(default_factory=dict)
    name: str = "fake"
    fail_at: int | None = None
    unreachable_from: int | None = None
    transcript: list[str] = field(default_factory=list)
    inputs: dict[str, bytes] = field(default_factory=dict)
    closed: int = 0
    _asked: dict[Pattern, int] = field(default_factory=dict)

    def run(self, command: Command, *, timeout: float = 60, check: bool = True, stdin: bytes = b"") -> Done:
        """Answer from the script; raise on a code that is not 0, like the real one."""
        done = self._answer(command, stdin)[0]
        return done.check(self.name) if check else done

    def run_all(
        self, commands: Sequence[Command], *, timeout: float = 60, check: bool = True, together: bool = False
    ) -> list[Done]:
        """Answer each like ``run``: a transcript entry a command."""
        return run_each(self, commands, timeout=timeout, check=check)

    def stream(
        self,
        command: Command,
        *,
        sink: BinaryIO | None = None,
        source: BinaryIO | None = None,
        idle: float = 60,
        timeout: float = 3600,
    ) -> Done:
        """Answer into ``sink``; read all of ``source``."""
        done, out = self._answer(command, source.read() if source else b"")
        if sink:
            sink.write(out)
        return replace(done, out="").check(self.name)

    def follow(self, command: Command, on_line: Callable[[str], None], *, timeout: float) -> Done:
        """Hand over the answer's lines."""
        done = self._answer(command, b"")[0]
        for line in (done.out + done.err).splitlines():
            on_line(line)
        return done

    def open(self, command: Command) -> Session:
        """Start a conversation: the answer's lines are what it says, then it ends.

        A function as answer is called with nothing at the start and then with each line sent; what it returns is said
        next, and the conversation ends when it is closed. ``inputs`` has the lines sent.
        """
        shown = str(command)
        if self._record(shown):
            raise CommandFailed(f"{self.name}: told to fail: {shown}", code=1)
        return FakeSession(self, command, self.script[self._find(shown)])

    def interact(self, command: Command) -> int:
        """Answer with the exit code."""
        return self._answer(command, b"")[0].code

    def read(self, path: str) -> bytes | None:
        """Return a file's content."""
        self.reach()
        return self.file(path).content if path in self.files else None

    def write(self, path: str, file: File) -> None:
        """Keep a file."""
        self._write({path: file})

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
        """Keep files: one transcript entry each; all of them or, with ``fail_at``, none."""
        check_paths(files)
        placed = {f"{root}/{path}": file for path, file in sorted(files.items())}
        return around(self, lambda: self._write(placed), first, then, timeout=timeout, check=check)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1

    def file(self, path: str) -> File:
        """Return what lies at ``path``, with mode and group.

        Raises:
            KeyError: nothing does.
        """
        found = self.files[path]
        if isinstance(found, File):
            return found
        return File(found.encode() if isinstance(found, str) else found)

    def reach(self) -> None:
        """Raise HostUnreachable when it is told to be gone by now."""
        if self.unreachable_from is not None and len(self.transcript) + 1 >= self.unreachable_from:
            raise HostUnreachable(f"lost connection to {self.name}; the outcome of the command is unknown")

    def _write(self, files: Mapping[str, File]) -> None:
        fails = [self._record(f"write {path}") for path in files]
        if any(fails):
            raise CommandFailed(f"{self.name}: cannot write {', '.join(files)}: told to fail", code=1)
        self.files.update(files)

    def _answer(self, command: Command, stdin: bytes) -> tuple[Done, bytes]:
        shown = str(command)
        if self._record(shown):
            return Done(command, 1, err="told to fail"), b""
        if stdin:
            self.inputs[shown] = stdin
        key = self._find(shown)
        answer: Answer = self.script[key]
        if callable(answer) and not isinstance(answer, BaseException):
            answer = answer(command, stdin)
        elif isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
            turn = self._asked.get(key, 0)
            self._asked[key] = turn + 1
            answer = answer[min(turn, len(answer) - 1)]
        return _done(command, answer)

    def _find(self, shown: str) -> Pattern:
        if shown in self.script:
            return shown
        key: Pattern
        for key in self.script:
            if _matches(key, shown):
                return key
        raise AssertionError(f"{self.name} does not know: {shown}\n{self._nearest(shown)}")

    def _nearest(self, shown: str) -> str:
        known = list(_texts(self.script))
        close = difflib.get_close_matches(shown, known, n=1, cutoff=0)
        return f"the nearest it knows is: {close[0]}" if close else "its script is empty"

    def _record(self, entry: str) -> bool:
        """Write the transcript; return whether this entry is told to fail."""
        self.reach()
        self.transcript.append(entry)
        return len(self.transcript) == self.fail_at


class FakeSession:
    """A scripted conversation; see ``FakeHost.open``."""

    def __init__(self, host: FakeHost, command: Command, answer: Answer) -> None:
        self._host = host
        self._command = command
        self._reply = answer if callable(answer) and not isinstance(answer, BaseException) else None
        self._lines: list[str] = []
        self._code = 0
        if self._reply or not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            self._say(answer, b"")
        else:
            for simple in answer:
                self._say(simple, b"")

    def send(self, line: str) -> None:
        """Note a line; a function as answer replies."""
        self._host.reach()
        shown, data = str(self._command), line.encode() + b"\n"
        self._host.inputs[shown] = self._host.inputs.get(shown, b"") + data
        if self._reply:
            self._say(self._reply, data)

    def receive(self, *, timeout: float) -> str | None:
        """Return the next line; a function that has said nothing is a host that does not answer in time."""
        self._host.reach()
        if self._lines:
            return self._lines.pop(0)
        if self._reply:
            raise HostUnreachable(f"lost the conversation with {self._host.name}: no answer within {timeout:g} s")
        return None

    def close(self) -> int:
        """Return the exit code."""
        return self._code

    def _say(self, answer: Answer, line: bytes) -> None:
        simple = answer(self._command, line) if callable(answer) and not isinstance(answer, BaseException) else answer
        done, _ = _done(self._command, simple)
        self._lines += done.out.splitlines()
        self._code = done.code


def _matches(key: Pattern, shown: str) -> bool:
    if isinstance(key, re.Pattern):
        return key.search(shown) is not None
    if "*" not in key:
        return False
    return re.fullmatch(".*".join(re.escape(piece) for piece in key.split("*")), shown, re.DOTALL) is not None


def _texts(keys: Iterable[Pattern]) -> Iterator[str]:
    for key in keys:
        yield key.pattern if isinstance(key, re.Pattern) else key


def _done(command: Command, answer: object) -> tuple[Done, bytes]:
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(answer, Done):
        return replace(answer, command=command), answer.out.encode()
    if isinstance(answer, int):
        return Done(command, answer), b""
    if isinstance(answer, bytes):
        return Done(command, 0, out=answer.decode("utf-8", "replace")), answer
    if isinstance(answer, str):
        return Done(command, 0, out=answer), answer.encode()
    raise TypeError(f"no answer: {answer!r}")
