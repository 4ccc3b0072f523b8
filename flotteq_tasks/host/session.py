"""A conversation in lines with a running command. SSH and local hosts share it."""

import queue
import threading
from collections.abc import Callable

from flotteq_tasks.host.faults import LostError
from flotteq_tasks.host.pump import Lines, Peer
from flotteq_tasks.model.errors import HostUnreachable

_END_WITHIN = 10.0


class PeerSession:
    """A running command that is talked to; see ``Session``.

    Args:
        peer: the command; its standard error is thrown away.
        where: the host's name.
        on_close: called once, when the session was closed.
    """

    def __init__(self, peer: Peer, where: str, on_close: Callable[[], None] = lambda: None) -> None:
        self._peer = peer
        self._where = where
        self._on_close = on_close
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended = False
        self._code: int | None = None
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._drop_errors, daemon=True).start()

    def send(self, line: str) -> None:
        """Send one line."""
        try:
            self._peer.write(line.encode() + b"\n")
        except (OSError, ValueError) as error:
            raise self._gone("it takes no more input") from error

    def receive(self, *, timeout: float) -> str | None:
        """Return the next line, or None at the end."""
        if self._ended:
            return None
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise self._gone(f"no answer within {timeout:g} s") from None
        if line is not None:
            return line
        self._ended = True
        try:
            self._peer.wait(0)
        except LostError as error:
            raise self._gone("connection lost") from error
        return None

    def close(self) -> int:
        """End its input and return its exit code; after ten seconds it is killed and the code is -1."""
        if self._code is None:
            self._code = self._finish()
            self._on_close()
        return self._code

    def _finish(self) -> int:
        self._peer.close_input()
        try:
            code = self._peer.wait(_END_WITHIN)
        except LostError:
            return -1
        if code is None:
            self._peer.kill()
            return -1
        return code

    def _read(self) -> None:
        lines = Lines(self._lines.put)
        while data := self._peer.read():
            lines.add(data)
        lines.end()
        self._lines.put(None)

    def _drop_errors(self) -> None:
        while self._peer.read_error():
            pass

    def _gone(self, why: str) -> HostUnreachable:
        return HostUnreachable(f"lost the conversation with {self._where}: {why}")
