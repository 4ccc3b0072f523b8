"""From a dump to the store, with a gate at the end.

A store takes end-of-file for the end of a good file. Here it sees end-of-file only when the producer ended with 0, the
header is right and the size is above the floor; otherwise it is interrupted, and there is no snapshot.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from flotteq_backup.errors import Failed
from flotteq_backup.process import failed, kill

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
    """What must be true of a stream before the store may take it as whole.

    Args:
        header: first bytes.
        floor: fewest bytes.
        stall: seconds without a byte after which a side counts as hung.
        limit: seconds for the whole.
    """

    header: bytes = b""
    floor: int = 1
    stall: float = 120
    limit: float = 4 * 3600


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


def relay(producer: Sequence[str], consumer: Sequence[str], gate: Gate) -> Relayed:
    """Send a producer's output to a consumer, which sees its end only behind the gate.

    Raises:
        Failed: one of the two failed, stalled, or the gate stayed shut; the consumer was interrupted before its end of
            file.
    """
    source = subprocess.Popen(
        list(producer), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        target = subprocess.Popen(
            list(consumer), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError:
        kill(source)
        raise
    return _Relay(source, target, gate).run()


class _Relay:
    def __init__(self, source: "subprocess.Popen[bytes]", target: "subprocess.Popen[bytes]", gate: Gate) -> None:
        self.source, self.target, self.gate = source, target, gate
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
            kill(self.source)
            self._abort()
            raise
        self._close()
        code = self._ended(self.target, "the store")
        said = self.out.all()
        if code != 0:
            raise failed(str(self.target.args[0]), code, self.err.all())  # type: ignore[index]
        self.done.sha256, self.done.said = self.hash.hexdigest(), said
        return self.done

    def _pump(self) -> None:
        while piece := self._read():
            self.hash.update(piece)
            self.head = self.head or piece[:64]
            self.done.size += len(piece)
            self._write(memoryview(piece))

    def _read(self) -> bytes:
        self._wait(self.reading, selectors.EVENT_READ, "the producer sent nothing")
        return os.read(self.reading, PIECE)

    def _write(self, rest: memoryview) -> None:
        while rest:
            self._wait(self.writing, selectors.EVENT_WRITE, "the store took nothing")
            try:
                rest = rest[os.write(self.writing, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                code = self._ended(self.target, "the store")
                raise failed(str(self.target.args[0]), code, self.err.all()) from None  # type: ignore[index]

    def _wait(self, pipe: int, event: int, what: str) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Failed(f"the backup took longer than {self.gate.limit:g} s and was stopped")
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(min(left, self.gate.stall)):
                raise Failed(f"{what} for {min(left, self.gate.stall):g} s and was stopped")

    def _check(self) -> None:
        code = self._ended(self.source, "the producer")
        program = str(self.source.args[0])  # type: ignore[index]
        if code != 0:
            raise failed(program, code, self.complaint.all())
        if not self.head.startswith(self.gate.header):
            raise Failed(f"{program} sent {self.head[:5]!r} where {self.gate.header!r} must stand: not a dump")
        if self.done.size < self.gate.floor:
            raise Failed(f"{program} sent {self.done.size} bytes, fewer than the floor of {self.gate.floor}")

    def _ended(self, process: "subprocess.Popen[bytes]", what: str) -> int:
        try:
            return process.wait(max(1.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(process)
            raise Failed(f"{what} did not end in time and was killed") from None

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
