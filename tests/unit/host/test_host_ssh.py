"""What is judged without a connection: what sudo says, a time-out, and a known_hosts that is damaged."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import paramiko
import pytest

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host import connection
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.channel import ChannelPeer
from flotteq_tasks.host.keys import HostKey, trust
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.host.target import Target
from flotteq_tasks.model.errors import AccessDenied, CommandTimedOut, SettingsError

HOST = SshHost(Target(host="vps", user="deploy", known_hosts=Path("/none"), sudo=True))
WARNING = "sudo: unable to resolve host vps: Name or service not known\n"


def test_a_host_that_does_not_know_its_own_name_does_not_refuse() -> None:
    for code, err in ((1, WARNING), (1, f"{WARNING}Error: No such image: x\n"), (127, f"{WARNING}sh: x: not found\n")):
        done = Done(Command("docker", "image", "inspect", "x"), code, err=err)
        assert HOST._judge(done) is done


@pytest.mark.parametrize("before", ["", WARNING])
def test_a_sudo_that_wants_a_password_refuses(before: str) -> None:
    with pytest.raises(AccessDenied, match="no root rights without a password: sudo: a password is required"):
        HOST._judge(Done(Command("true"), 1, err=f"{before}sudo: a password is required\n"))


class _Late:
    """A channel to a host that runs a command at once, which ends with 124, and whose reply comes late."""

    exit_status = 124

    def __init__(self, delay: float) -> None:
        self.delay, self.status_event = delay, threading.Event()

    def exec_command(self, _: str) -> None:
        time.sleep(self.delay)
        self.status_event.set()

    def recv(self, _: int) -> bytes:
        return b""

    recv_stderr = recv

    def close(self, *_: object) -> None:
        return

    shutdown_write = set_combine_stderr = close


def _run(delay: float, timeout: float) -> Done:
    def start(text: str, **options: object) -> ChannelPeer:
        return ChannelPeer(_Late(delay), text, **options)  # type: ignore[arg-type]

    host = SshHost(HOST.target)
    host._link = SimpleNamespace(alive=True, start=start)  # type: ignore[assignment]
    return host.run(Command("sleep", "9"), timeout=timeout, check=False)


def test_a_time_out_is_one_also_where_the_hosts_reply_came_late() -> None:
    with pytest.raises(CommandTimedOut, match=r"did not end within 0\.2 s, killed: sleep 9"):
        _run(0.2, 0.2)


def test_a_commands_own_124_is_no_time_out() -> None:
    assert _run(0.2, 60).code == 124


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"vps ssh-ed25519 AAAAC3!\n", "no key in the line 'vps ssh-ed25519 AAAAC3!'"), (b"# caf\xe9\n", "codec")],
)
def test_a_known_hosts_that_is_damaged_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "known_hosts").write_bytes(content)
    target = replace(HOST.target, known_hosts=tmp_path / "known_hosts")
    with pytest.raises(SettingsError) as caught:
        connection._open(SimpleNamespace(client=paramiko.SSHClient()), target)
    assert caught.value.message.startswith(f"{tmp_path}/known_hosts cannot be read: ") and why in caught.value.message


def test_a_comment_in_another_encoding_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(b"# caf\xe9\n")
    trust(path, HostKey("vps", "ssh-ed25519", "AAAA", "SHA256:x"))
    assert path.read_bytes() == b"# caf\xe9\nvps ssh-ed25519 AAAA\n"
