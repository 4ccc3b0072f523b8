"""A relay on loopback that makes the way to the edge longer, as a visitor's is."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 1 << 16


@contextmanager
def delayed(address: str, port: int, round_trip: float) -> Iterator[int]:
    """Relay to an address with a delay in both directions; give the port on 127.0.0.1.

    Args:
        round_trip: seconds that the way there and back takes longer.
    """
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(server, address, port, round_trip / 2), daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


def _accept(server: socket.socket, address: str, port: int, delay: float) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return
        far = socket.create_connection((address, port), 10)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(None)
        _pipe(near, far, delay)
        _pipe(far, near, delay)


def _pipe(source: socket.socket, target: socket.socket, delay: float) -> None:
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        data = b"x"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + delay, data))

    def write() -> None:
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(OSError):
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)

    threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=write, daemon=True).start()
