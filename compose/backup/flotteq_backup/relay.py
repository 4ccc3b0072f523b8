"""From a dump to the store and back, with a gate at the end.

A store takes end-of-file for the end of a good file. Here it sees end-of-file only when the producer ended with 0, the
header is right, the size is above the floor and the hash is the one that was asked for; otherwise it is interrupted,
and there is no snapshot.
"""

import contextlib
import fcntl
import hashlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from flotteq_backup.errors import Failed, NotVerified
from flotteq_backup.pace import FULL, Pace
from flotteq_backup.process import PACE, failed, kill, stop

PIECE = 1 << 20
ABORT_LIMIT = 20.0
# Linux: the size of a pipe's buffer.
_SET_PIPE_SIZE = 1031


@dataclass
class Relayed:
    """What went through: its size, its hash, and what the store said."""

    size: int = 0
    sha256: str = ""
    said: str = ""


@dataclass
class Gate:
    """What must be true of a stream before its consumer may take it as whole.

    Args:
        header: first bytes.
        floor: fewest bytes.
        stall: seconds without a byte after which a side counts as hung.
        limit: seconds for the whole.
        sha256: its hash, where that is known.
    """

    header: bytes = b""
    floor: int = 1
    stall: float = 120
    limit: float = 4 * 3600
    sha256: str = ""


@dataclass
class _Words:
    """Collects a stream of a process, so that it never blocks on what it says."""

    stream: IO[bytes]
    text: bytes = b""
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self) -> None:
        while piece := self.stream.read1(1 << 16):  # type: ignore[attr-defined]
            self.text = (self.text + piece)[-(1 << 20) :]

    def all(self) -> str:
        """What it said until its end."""
        self.thread.join(ABORT_LIMIT)
        return self.text.decode(errors="replace")


def relay(
    producer: Sequence[str],
    consumer: Sequence[str],
    gate: Gate,
    *,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[], None] | None = None,
    pace: Pace = FULL,
) -> Relayed:
    """Send a producer's output to a consumer, which sees its end only behind the gate.

    Args:
        environment: more variables for both.
        watch: is called up to four times a second; when it raises, both are stopped.
        pace: with which pauses both work.

    Raises:
        Failed: one of the two failed, stalled, or the gate stayed shut; the consumer was interrupted before its end of
            file.
        NotVerified: the hash is another one.
    """
    variables = {**os.environ, **(environment or {})}
    source = subprocess.Popen(
        list(producer), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env=variables,
    )  # fmt: skip
    try:
        target = subprocess.Popen(
            list(consumer), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env=variables,
        )  # fmt: skip
    except OSError:
        kill(source)
        raise
    with pace.of(source, target):
        return _Relay(source, target, gate, watch or (lambda: None)).run()


class _Relay:
    def __init__(
        self,
        source: "subprocess.Popen[bytes]",
        target: "subprocess.Popen[bytes]",
        gate: Gate,
        watch: Callable[[], None],
    ) -> None:
        self.source, self.target, self.gate, self.watch, self.watched = source, target, gate, watch, 0.0
        self.producer, self.consumer = str(source.args[0]), str(target.args[0])  # type: ignore[index]
        assert source.stdout and source.stderr and target.stdin and target.stdout and target.stderr  # noqa: S101
        self.reading, self.writing = source.stdout.fileno(), target.stdin.fileno()
        self.complaint, self.out, self.err = _Words(source.stderr), _Words(target.stdout), _Words(target.stderr)
        self.done, self.hash, self.head = Relayed(), hashlib.sha256(), b""
        self.deadline = time.monotonic() + gate.limit
        os.set_blocking(self.writing, False)
        for pipe in (self.reading, self.writing):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, _SET_PIPE_SIZE, PIECE)

    def run(self) -> Relayed:
        """Pump, look at the gate, end both."""
        try:
            self._pump()
            self._check()
        except BaseException:
            stop(self.source)
            self._abort()
            raise
        self._close()
        try:
            code = self._ended(self.target)
        except BaseException:
            kill(self.target)
            raise
        said = self.out.all()
        if code != 0:
            raise failed(self.consumer, code, self.err.all())
        self.done.sha256, self.done.said = self.hash.hexdigest(), said
        return self.done

    def _pump(self) -> None:
        while piece := self._read():
            self.hash.update(piece)
            self.head = self.head or piece[:64]
            self.done.size += len(piece)
            self._write(memoryview(piece))

    def _read(self) -> bytes:
        self._wait(self.reading, selectors.EVENT_READ, f"{self.producer} sent nothing")
        return os.read(self.reading, PIECE)

    def _write(self, rest: memoryview) -> None:
        while rest:
            self._wait(self.writing, selectors.EVENT_WRITE, f"{self.consumer} took nothing")
            try:
                rest = rest[os.write(self.writing, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise failed(self.consumer, self._ended(self.target), self.err.all()) from None

    def _wait(self, pipe: int, event: int, what: str) -> None:
        self._look()
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Failed(f"{self.producer} took longer than {self.gate.limit:g} s and was stopped")
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(min(left, self.gate.stall)):
                raise Failed(f"{what} for {min(left, self.gate.stall):g} s and was stopped")

    def _look(self) -> None:
        if time.monotonic() - self.watched >= PACE:
            self.watch()
            self.watched = time.monotonic()

    def _check(self) -> None:
        code = self._ended(self.source)
        if code != 0:
            raise failed(self.producer, code, self.complaint.all())
        if not self.head.startswith(self.gate.header):
            raise Failed(f"{self.producer} sent {self.head[:5]!r} where {self.gate.header!r} must stand: not a dump")
        if self.done.size < self.gate.floor:
            raise Failed(f"{self.producer} sent {self.done.size} bytes, fewer than the floor of {self.gate.floor}")
        if self.gate.sha256 not in ("", self.hash.hexdigest()):
            raise NotVerified(f"{self.producer} sent something else than what was written")

    def _ended(self, process: "subprocess.Popen[bytes]") -> int:
        end = max(self.deadline, time.monotonic() + 1)
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(PACE)
            self._look()
        kill(process)
        program = self.consumer if process is self.target else self.producer
        raise Failed(f"{program} did not end in time and was killed")

    def _close(self) -> None:
        assert self.target.stdin  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self.target.stdin.close()

    def _abort(self) -> None:
        """Interrupt the store; only when it has understood may it see the end of its input."""
        if self.target.poll() is None:
            self.target.send_signal(signal.SIGINT)
            end = time.monotonic() + 5
            while b"cleaning up" not in self.err.text and self.target.poll() is None and time.monotonic() < end:
                self.err.thread.join(0.05)
            if b"cleaning up" not in self.err.text:
                kill(self.target)
        self._close()
        try:
            self.target.wait(ABORT_LIMIT)
        except subprocess.TimeoutExpired:
            kill(self.target)
