"""Moves bytes between a running command and its caller, within limits. SSH and local hosts share it."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import BinaryIO, Protocol

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import CommandTimedOut

CHUNK = 1 << 17
_QUEUED_CHUNKS = 64
_LONGEST_LINE = 1 << 16
_LINES_KEPT = 200


class Peer(Protocol):
    """A running command: its three streams, its end. Each stream is used by one thread."""

    def read(self) -> bytes:
        """Return the next bytes of standard output, nothing at its end."""

    def read_error(self) -> bytes:
        """Return the next bytes of standard error, nothing at its end."""

    def write(self, data: bytes) -> None:
        """Send all bytes to standard input. Raises OSError when the command no longer reads."""

    def close_input(self) -> None:
        """End standard input."""

    def wait(self, timeout: float) -> int | None:
        """Return the exit code, or None where it does not come within ``timeout`` seconds."""

    def kill(self) -> None:
        """End the command; its streams end, too."""


class OverdueError(Exception):
    """A limit passed; the command was killed.

    Args:
        reason: what did not happen in which time.
        error: standard error so far.
    """

    def __init__(self, reason: str, error: bytes) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error

    def explain(self, where: str, command: Command) -> CommandTimedOut:
        """Return the error for people."""
        return CommandTimedOut(
            f"{where}: {self.reason}, killed: {command.brief()}",
            hint="look at the load of the machine (`uptime`, `df -h`), or raise the limit, then run it again",
            details="\n".join(text(self.error).strip().splitlines()[-20:]),
        )


class Tail:
    """Keeps the end of a byte stream: ``limit`` bytes at most, all of it where that is None."""

    def __init__(self, limit: int | None = None) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._limit = limit

    def add(self, data: bytes) -> None:
        """Append and forget what is too old."""
        self._chunks.append(data)
        self._size += len(data)
        while self._limit is not None and self._size - len(self._chunks[0]) >= self._limit:
            self._size -= len(self._chunks.popleft())

    def value(self) -> bytes:
        """Return what is kept."""
        whole = b"".join(self._chunks)
        return whole if self._limit is None else whole[-self._limit :]


class Lines:
    """Cuts a byte stream into lines of text and hands each over; remembers the last 200."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self._kept: deque[str] = deque(maxlen=_LINES_KEPT)

    def add(self, data: bytes) -> None:
        """Hand over the lines that ``data`` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._emit(line)
        if len(self._rest) > _LONGEST_LINE:
            self.end()

    def end(self) -> None:
        """Hand over what stands without a line feed."""
        rest, self._rest = self._rest, b""
        if rest:
            self._emit(rest)

    def value(self) -> str:
        """Return the last lines."""
        return "\n".join(self._kept)

    def _emit(self, line: bytes) -> None:
        shown = text(line.removesuffix(b"\r"))
        self._kept.append(shown)
        self._on_line(shown)


def text(data: bytes) -> str:
    """Decode output; bytes that are no UTF-8 become replacement characters."""
    return data.decode("utf-8", "replace")


def pump(
    peer: Peer,
    sink: Callable[[bytes], object],
    *,
    source: BinaryIO | None = None,
    idle: float | None = None,
    limit: float,
    keep_error: int | None = None,
) -> tuple[int, bytes]:
    """Feed ``source`` to the command, its output to ``sink`` (called in this thread) until it ends.

    Args:
        idle: seconds without a byte in any direction after which it is killed; None: no such limit.
        limit: seconds for the whole.
        keep_error: bytes of standard error to keep; None keeps all.

    Returns:
        The exit code and standard error.

    Raises:
        OverdueError: a limit passed.
        Interrupted: a signal asked this process to stop.
        OSError: ``source`` or ``sink`` failed. After any exception (KeyboardInterrupt, too) the command was killed.
    """
    transfer = _Transfer(peer, Tail(keep_error), time.monotonic() + limit, limit, idle)
    try:
        transfer.start(source)
        return transfer.drain(sink), transfer.error.value()
    except BaseException:
        transfer.abort()
        raise


class _Transfer:
    """One run of ``pump``: three worker threads fill a queue, the caller's thread empties it and watches the clock."""

    def __init__(self, peer: Peer, error: Tail, deadline: float, limit: float, idle: float | None) -> None:
        self.error = error
        self._peer = peer
        self._deadline = deadline
        self._limit = limit
        self._idle = idle
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(_QUEUED_CHUNKS)
        self._active = time.monotonic()
        self._stopped = threading.Event()

    def start(self, source: BinaryIO | None) -> None:
        """Start the workers."""
        self._spawn(self._read_output)
        self._spawn(self._read_error)
        if source is None:
            self._peer.close_input()
        else:
            self._spawn(lambda: self._feed(source))

    def drain(self, sink: Callable[[bytes], object]) -> int:
        """Empty the queue until both streams have ended; return the exit code."""
        streams = 2
        while streams:
            item = self._next()
            if item is None:
                streams -= 1
            elif isinstance(item, Exception):
                raise item
            else:
                sink(item)
                self._active = time.monotonic()
        code = self._peer.wait(max(0.0, self._deadline - time.monotonic()))
        if code is None:
            raise self._overdue()
        return code

    def abort(self) -> None:
        """Kill the command and let the workers go."""
        self._stopped.set()
        self._peer.kill()
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    def _next(self) -> bytes | Exception | None:
        while True:
            interruption.check()
            now = time.monotonic()
            if now >= self._deadline:
                raise self._overdue()
            until = self._deadline
            if self._idle is not None:
                until = min(until, self._active + self._idle)
                if now >= until:
                    raise OverdueError(f"not a byte for {self._idle:g} s", self.error.value())
            try:
                return self._queue.get(timeout=min(until - now, interruption.LOOK))
            except queue.Empty:
                continue

    def _overdue(self) -> OverdueError:
        return OverdueError(f"did not end within {self._limit:g} s", self.error.value())

    def _read_output(self) -> None:
        while data := self._peer.read():
            self._put(data)
        self._put(None)

    def _read_error(self) -> None:
        while data := self._peer.read_error():
            self.error.add(data)
            self._active = time.monotonic()
        self._put(None)

    def _feed(self, source: BinaryIO) -> None:
        while not self._stopped.is_set():
            # When this raises, the input stays open: its end would make a truncated upload look complete.
            data = source.read(CHUNK)
            try:
                if not data:
                    self._peer.close_input()
                    return
                self._peer.write(data)
            except OSError:
                # The command reads no further; its exit code says whether that is a failure.
                return
            self._active = time.monotonic()

    def _put(self, item: bytes | Exception | None) -> None:
        if not self._stopped.is_set():
            self._queue.put(item)

    def _spawn(self, work: Callable[[], None]) -> None:
        threading.Thread(target=self._guard, args=[work], daemon=True).start()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it is raised again in the caller's thread
            self._put(error)
