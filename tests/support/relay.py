"""A relay on loopback in a process of its own: a visitor's long way, or a link that ends half-way."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 1 << 16


@contextmanager
def delayed(address: str, port: int, round_trip: float) -> Iterator[int]:
    """Relay to an address with a delay in both directions; give the port on 127.0.0.1.

    Args:
        round_trip: seconds that the way there and back takes longer.
    """
    with _process(address, port, delay=round_trip / 2, enough=0) as where:
        yield where


@contextmanager
def breaking(address: str, port: int, *, after: int) -> Iterator[int]:
    """Relay to an address until so many bytes came back; then every connection is reset, old and new ones.

    Args:
        after: bytes of all answers together.
    """
    with _process(address, port, delay=0.0, enough=after) as where:
        yield where


@contextmanager
def _process(address: str, port: int, *, delay: float, enough: int) -> Iterator[int]:
    words = [sys.executable, __file__, address, str(port), str(delay), str(enough)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Relay:
    """All connections of one relay."""

    def __init__(self, address: str, port: int, delay: float, enough: int) -> None:
        self.address, self.port, self.delay = address, port, delay
        self.limited, self.left = enough > 0, enough
        self.writers: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        self.writers.add(writer)
        try:
            if self.limited and self.left <= 0:
                return
            far_reader, far_writer = await asyncio.open_connection(self.address, self.port)
            self.writers.add(far_writer)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer, counted=True))
            await asyncio.sleep(self.delay)
            far_writer.close()
            self.writers.discard(far_writer)
        except OSError:
            writer.transport.abort()
        finally:
            writer.close()
            self.writers.discard(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(CHUNK):
            if counted and self.limited:
                self.left -= len(data)
                if self.left <= 0:
                    self._break()
                    return
            loop.call_later(self.delay, writer.write, data)
        loop.call_later(self.delay, _end, writer)

    def _break(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


def _end(writer: asyncio.StreamWriter) -> None:
    # The other side may have gone already.
    with suppress(OSError):
        if not writer.is_closing():
            writer.write_eof()


async def _serve(address: str, port: int, delay: float, enough: int) -> None:
    server = await asyncio.start_server(Relay(address, port, delay, enough).accept, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    where, number, seconds, amount = sys.argv[1:]
    asyncio.run(_serve(where, int(number), float(seconds), int(amount)))
