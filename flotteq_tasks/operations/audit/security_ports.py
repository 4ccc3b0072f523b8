"""Which ports of the host take connections from this machine."""

import asyncio
import re
from collections.abc import Iterable

from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.security import Risk
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates.probe import addresses

# Seconds until a port counts as closed: one that a firewall drops never answers.
PATIENCE = 2.0
# Below what a client may have open.
AT_ONCE = 400
ALL = range(1, 65_536)


def wanted(text: str, *, full: bool) -> tuple[int, ...]:
    """The ports that a person names: ``22,8000-8100``; none: what flotteq.toml has.

    Raises:
        UsageError: it is no list of ports.
    """
    if full:
        return tuple(ALL)
    found: list[int] = []
    for word in filter(None, text.replace(" ", "").split(",")):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not match or not 1 <= first <= last <= 65_535:
            raise UsageError(f"--ports {word!r} is no port", hint="write it like --ports 22,8000-8100")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def scan(settings: Settings, ports: Iterable[int]) -> Risk:
    """Try ports of the host by connecting, and nothing more.

    Args:
        ports: those that may be open need not be among them.
    """
    public = next(iter(settings.public.values()), settings.host.address)
    address = addresses(settings, public)[0]
    may = {settings.edge.http_port, settings.edge.https_port, settings.host.port}
    tried = sorted(set(ports) - may)
    found = asyncio.run(_open(address, tried))
    said = f"open: {', '.join(map(str, found))}" if found else f"none of {len(tried)} ports of {address}"
    return Risk("PORTS", "nothing but SSH and the edge is reached from outside", said, not found, "error",
                "close what listens there, or a firewall in front: Docker publishes past ufw",
                tuple(f"{address}:{port}" for port in found))  # fmt: skip


async def _open(address: str, ports: Iterable[int]) -> list[int]:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(port: int) -> int:
        async with turn:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), PATIENCE)
            except (OSError, TimeoutError):
                return 0
            writer.close()
            return port

    return [port for port in await asyncio.gather(*(one(port) for port in ports)) if port]
