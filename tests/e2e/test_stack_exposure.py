"""What must be found nowhere: secrets in what can be read, and ports that only containers may reach."""

import asyncio
import socket

import pytest
from support.stack import Stack
from support.watch import CommandLines

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox.docker import Docker

pytestmark = pytest.mark.stack

# Everything that somebody may read, send to somebody or find in a bug report; not the secret files themselves.
_READABLE = """
docker ps --all --quiet | xargs docker inspect
docker images --quiet | sort -u | xargs docker inspect
docker volume ls --quiet | xargs docker volume inspect
docker network ls --quiet | xargs docker network inspect
for id in $(docker ps --all --quiet); do docker logs "$id" 2>&1; docker top "$id" axww -o args; done
ps axww -o args
journalctl --no-pager
find /opt/flotteq /var/backups/flotteq /var/log /tmp -path /opt/flotteq/secrets -prune -o -type f -print0 | xargs -0 cat
"""
# A name that is not a value: the search itself must be able to find something.
_CONTROL = "com.docker.compose.project"


def test_no_secret_can_be_read_anywhere(stack: Stack) -> None:
    values = _values(stack)
    assert len(values) >= 9
    with CommandLines() as lines:
        stack.inv("secrets.check").ok()
        stack.inv("psql", "--command", "select 1").ok()
        stack.inv("redis-cli", "--command", "ping").ok()
        readable = stack.host(_READABLE, timeout=300).out
    said = "\n".join(f"{one.out}\n{one.err}" for one in stack.inv.log)
    assert _CONTROL in readable
    for name, value in values.items():
        assert value not in readable, f"{name} can be read on the host"
        assert value not in said, f"{name} was printed"
        assert not [line for line in lines.seen if value in line], f"{name} was in a command line"


def test_secret_files_are_not_for_everybody(stack: Stack) -> None:
    place = "/opt/flotteq/secrets"
    modes = stack.host(f"stat -c '%a %U' {place}; find {place} -type f -printf '%m %u %f\\n'").out
    folder, *files = modes.splitlines()
    assert folder == "700 root"
    assert {line.rpartition(" ")[0] for line in files} == {"440 root"}
    stack.host("su nosudo -c 'cat /opt/flotteq/secrets/db_password' && exit 1 || exit 0")


def test_only_ssh_and_the_edge_can_be_reached_from_outside(stack: Stack) -> None:
    address = _outer_address(stack)
    if not _reachable(address):
        pytest.skip("this machine has no route into Docker's network (Docker Desktop)")
    assert asyncio.run(_open_ports(address)) == [22, 80, 443]


def _values(stack: Stack) -> dict[str, str]:
    folder = stack.secret_file("any").parent
    return {file.name: file.read_text() for file in folder.iterdir() if not file.name.startswith(".")}


def _outer_address(stack: Stack) -> str:
    found = Docker(LocalHost()).inspect("container", stack.sandbox.host_container) or {}
    return str(next(iter(found["NetworkSettings"]["Networks"].values()))["IPAddress"])


def _reachable(address: str) -> bool:
    try:
        socket.create_connection((address, 22), 3).close()
    except OSError:
        return False
    return True


async def _open_ports(address: str) -> list[int]:
    """Try every port of the sandbox host, which is on this machine."""
    turn = asyncio.Semaphore(400)

    async def one(port: int) -> int | None:
        async with turn:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 2)
            except OSError:
                return None
            writer.close()
            return port

    found = await asyncio.gather(*(one(port) for port in range(1, 65536)))
    return [port for port in found if port]
