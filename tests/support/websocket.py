"""As much of RFC 6455 and of Socket.IO's transport as it takes to hold a live connection open."""

import base64
import os
import socket
import ssl
import struct
import threading
import time
from types import TracebackType
from typing import Self

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class LiveConnection:
    """A Socket.IO client on one WebSocket."""

    def __init__(self, domain: str, address: str, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection((address, port), 10)
        self._socket = context.wrap_socket(plain, server_hostname=domain)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {domain}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert self.hear().startswith("0")
        self.say("40")
        assert self.hear().startswith("40")

    def say(self, text: str) -> None:
        """Send one text frame."""
        data, mask = text.encode(), os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self._socket.sendall(bytes([0x80 | TEXT, 0x80 | len(data)]) + mask + masked)

    def hear(self, *, timeout: float = 30) -> str:
        """Return the next text; the server's heartbeats are answered on the way.

        Raises:
            ConnectionError: the server has closed it.
        """
        self._socket.settimeout(timeout)
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._exactly(2))
            text = self._exactly(length).decode(errors="replace")
            kind = first & 0x0F
            if kind == CLOSE:
                raise ConnectionError("closed by the server")
            if kind == TEXT and text == "2":
                self.say("3")
            elif kind == TEXT:
                return text

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the connection has ended")
            data += more
        return data


class HeldConnection:
    """A live connection that somebody holds for the length of a block, and the moment at which it ended."""

    def __init__(self, domain: str, address: str, port: int, context: ssl.SSLContext) -> None:
        self._live = LiveConnection(domain, address, port, context)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._closing = False
        self.ended: float | None = None

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._live.close()

    def wait(self, timeout: float) -> float:
        """Return the moment (``time.monotonic``) at which the server ended it."""
        self._listener.join(timeout)
        assert self.ended is not None, f"still open after {timeout:g} s"
        return self.ended

    def _listen(self) -> None:
        try:
            while True:
                self._live.hear(timeout=120)
        except (OSError, ConnectionError):
            if not self._closing:
                self.ended = time.monotonic()
