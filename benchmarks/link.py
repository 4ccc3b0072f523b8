"""A relay between a client and sshd that can break the link in the two ways in which links break."""

import contextlib
import select
import socket
import struct
import threading
from types import TracebackType
from typing import Self

CHUNK = 1 << 16
LOOK = 0.2


class Link:
    """Relays connections to an address until its block ends, when all are closed.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, address: str, port: int) -> None:
        self._far = (address, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._silent, self._stop = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._server.close()
        for one in self._sockets:
            one.close()

    def cut(self) -> None:
        """Forward nothing more, in no direction, and close nothing: neither side hears of the other's end."""
        self._silent.set()

    def reset(self) -> None:
        """Break every connection at both ends, as a router that forgot them does; new ones may be made."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._server], [], [], LOOK)[0]:
                continue
            near, _ = self._server.accept()
            self._sockets.append(near)
            if self._silent.is_set():
                continue
            far = socket.create_connection(self._far, 10)
            self._sockets.append(far)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = threading.Thread(target=self._forward, args=(near, far))
            self._threads.append(pair)
            pair.start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                for source in select.select([near, far], [], [], LOOK)[0]:
                    if self._silent.is_set():
                        return
                    data = source.recv(CHUNK)
                    if not data:
                        raise ConnectionResetError
                    (far if source is near else near).sendall(data)
        if not self._silent.is_set():
            for one in (near, far):
                one.close()
