"""A peer that is frozen, gone or only slow."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from loopback_sshd import Server, wait_until

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import File
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.model.errors import HostUnreachable

DEAD_AFTER = 1.5


@pytest.fixture
def lonely(start_server: Callable[..., Server]) -> Server:
    """Return a server nobody else is connected to."""
    return start_server()


@pytest.fixture
def quick(lonely: Server, connect: Callable[..., SshHost]) -> SshHost:
    return connect(port=lonely.port, known_hosts=lonely.known_hosts, keepalive=0.4, dead_after=DEAD_AFTER)


@pytest.fixture
def freeze(lonely: Server) -> Iterator[Callable[[], None]]:
    frozen: list[int] = []

    def stop() -> None:
        for pid in lonely.children():
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)

    yield stop
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("call", ["run", "stream", "follow", "write", "session"])
def test_a_frozen_peer_is_noticed(quick: SshHost, freeze: Callable[[], None], lonely: Server, call: str) -> None:
    sleep = Command("sleep", "60")
    calls: dict[str, Callable[[], object]] = {
        "run": lambda: quick.run(sleep),
        "stream": lambda: quick.stream(sleep, source=open("/dev/zero", "rb")),  # noqa: SIM115
        "follow": lambda: quick.follow(sleep, print, timeout=60),
        "write": lambda: quick.write("/dev/shm/frozen", File(b"x" * 50_000_000)),
        "session": lambda: quick.open(sleep).receive(timeout=60),
    }
    quick.run(Command("true"))
    freezer = threading.Thread(target=lambda: (wait_until(lonely.at_work), freeze()))
    freezer.start()
    started = time.monotonic()
    with pytest.raises(HostUnreachable, match="lost") as caught:
        calls[call]()
    assert DEAD_AFTER * 0.9 < time.monotonic() - started < DEAD_AFTER + 1.5
    freezer.join()
    if call in {"run", "stream", "follow"}:
        assert "the outcome of the command is unknown: sleep 60" in caught.value.message


def test_it_connects_again(quick: SshHost, lonely: Server) -> None:
    quick.run(Command("true"))
    for pid in lonely.children():
        os.kill(pid, signal.SIGKILL)
    assert quick.run(Command("echo", "again")).out == "again\n"
    assert quick.connections == 2
    quick.close()
    assert quick.run(Command("echo", "again")).out == "again\n"
    assert quick.connections == 3


def test_a_frozen_connection_of_a_living_host_is_replaced(
    lonely: Server, connect: Callable[..., SshHost], freeze: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = connect(port=lonely.port, known_hosts=lonely.known_hosts)
    host.run(Command("true"))
    freeze()
    monkeypatch.setattr("flotteq_tasks.host.connection._ANSWER_WITHIN", 1.0)
    assert host.run(Command("echo", "again")).out == "again\n"
    assert host.connections == 2


def test_a_dropped_connection_is_no_failure_of_the_command(quick: SshHost, lonely: Server) -> None:
    def drop() -> None:
        wait_until(lonely.at_work)
        for pid in lonely.children():
            os.kill(pid, signal.SIGKILL)

    quick.run(Command("true"))
    threading.Thread(target=drop).start()
    with pytest.raises(HostUnreachable, match="the outcome of the command is unknown"):
        quick.run(Command("sleep", "60"), check=False)


def test_a_silent_command_on_a_living_peer_is_left_alone(quick: SshHost) -> None:
    assert quick.run(Command("sleep", str(DEAD_AFTER * 2))).ok
    assert quick.connections == 1
