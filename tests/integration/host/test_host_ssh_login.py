"""Logging in over SSH: host keys, keys, jump hosts, sudo."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback_sshd import Server, make_key

from flotteq_tasks.commands.shell import Command, Raw
from flotteq_tasks.host.base import File
from flotteq_tasks.host.keys import scan, trust
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.host.target import Target
from flotteq_tasks.model.errors import AccessDenied, CommandFailed, HostUnreachable, SecretError, SettingsError
from flotteq_tasks.model.secret import Secret

Connect = Callable[..., SshHost]
ID = Command("id", "-un")


def test_importing_it_loads_no_ssh_library() -> None:
    code = "import sys, flotteq_tasks.host.ssh, flotteq_tasks.host.keys as k; sys.exit('paramiko' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_unknown_key_is_refused(connect: Connect, tmp_path: Path, server: Server) -> None:
    host = connect(known_hosts=tmp_path / "none", trust_hint="inv host.trust --env staging")
    with pytest.raises(AccessDenied, match="is not in known_hosts") as caught:
        host.run(ID)
    assert caught.value.hint == "inv host.trust --env staging"
    assert _fingerprint(server.directory / "host_ed25519.pub") in caught.value.message
    assert host.connections == 0


def test_changed_key_is_refused(connect: Connect, tmp_path: Path, server: Server) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {other.read_text()}")
    with pytest.raises(AccessDenied, match="changed") as caught:
        connect(known_hosts=known).run(ID)
    assert _fingerprint(other) in caught.value.message
    assert _fingerprint(server.directory / "host_ed25519.pub") in caught.value.message


def test_hashed_known_hosts(connect: Connect, tmp_path: Path, server: Server) -> None:
    known = tmp_path / "known"
    known.write_text(server.known_hosts.read_text())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    assert connect(known_hosts=known).run(ID).out == "root\n"


def test_refused_login(connect: Connect, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    with pytest.raises(AccessDenied, match="the login was refused") as caught:
        connect(key_file=stranger).run(ID)
    assert "ssh-copy-id" in caught.value.hint
    with pytest.raises(AccessDenied, match="no key to log in with"):
        connect(key_file=None).run(ID)
    with pytest.raises(SettingsError, match="does not exist"):
        connect(key_file=tmp_path / "none").run(ID)


def test_the_usual_keys_are_offered_as_ssh_does(
    connect: Connect, client_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    usual = tmp_path / ".ssh/id_ed25519"
    usual.write_bytes(client_key.read_bytes())
    assert connect(key_file=None, usual_keys=True).run(ID).out == "root\n"
    with pytest.raises(AccessDenied, match="no key to log in with"):
        connect(key_file=None).run(ID)
    usual.unlink()
    make_key(usual, passphrase="tr0ub4dor")
    with pytest.raises(AccessDenied, match="the private key has a passphrase") as caught:
        connect(key_file=None, usual_keys=True).run(ID)
    assert "ssh-add" in caught.value.hint


def test_nobody_answers(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(HostUnreachable, match="connection refused"):
        connect(port=1).run(ID)
    with pytest.raises(HostUnreachable, match="no such host name"):
        connect(host="nowhere.invalid").run(ID)


def test_the_network_is_silent(connect: Connect) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # A full backlog drops what comes next, like a firewall.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with pytest.raises(HostUnreachable, match=r"no answer within 0\.3 s"):
            connect(port=listener.getsockname()[1], connect_timeout=0.3).run(ID)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_key_from_text(connect: Connect, server: Server, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / kind, kind)
    with server.authorized_keys.open("a") as authorized:
        authorized.write(key.with_suffix(".pub").read_text())
    # As a secret of a CI system arrives: without the last line end, or on one line.
    for text in (key.read_text().rstrip(), key.read_text().replace("\n", "\\n")):
        assert connect(key_file=None, key_text=Secret(text)).run(ID).out == "root\n"


def test_bad_key_texts(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no Ed25519") as caught:
        connect(key_file=None, key_text=Secret("nonsense")).run(ID)
    assert "nonsense" not in str(caught.value)
    locked = make_key(tmp_path / "locked", passphrase="tr0ub4dor")
    with pytest.raises(SecretError, match="passphrase"):
        connect(key_file=None, key_text=Secret(locked.read_text())).run(ID)


def test_jump_host(connect: Connect, target: Callable[..., Target], start_server: Callable[..., Server]) -> None:
    inner = start_server()
    host = connect(port=inner.port, known_hosts=inner.known_hosts, jump=target())
    assert host.run(ID).out == "root\n"
    closed = start_server("PermitOpen none")
    jump = target(port=closed.port, known_hosts=closed.known_hosts)
    with pytest.raises(HostUnreachable, match=f"root@127.0.0.1:{closed.port} cannot reach it"):
        connect(port=inner.port, known_hosts=inner.known_hosts, jump=jump).run(ID)
    with pytest.raises(AccessDenied, match="not in known_hosts"):
        connect(jump=target(known_hosts=Path("/dev/null"))).run(ID)


def test_sudo(connect: Connect, users: dict[str, str], tmp_path: Path) -> None:
    host = connect(user=users["sudo"], sudo=True)
    assert host.run(Command("cat", Raw("; id -un")), stdin=b"input ").out == "input root\n"
    host.write(str(tmp_path / "file"), File(b"secret", mode=0o600))
    assert (tmp_path / "file").stat().st_uid == 0
    assert host.read(str(tmp_path / "file")) == b"secret"


def test_no_sudo(connect: Connect, users: dict[str, str]) -> None:
    host = connect(user=users["plain"], sudo=True)
    with pytest.raises(AccessDenied, match="no root rights without a password") as caught:
        host.run(ID)
    assert f"{users['plain']} ALL=(ALL) NOPASSWD: ALL" in caught.value.hint
    with pytest.raises(AccessDenied, match="no root rights"):
        host.follow(ID, lambda _: None, timeout=5)


def test_plain_user(connect: Connect, users: dict[str, str]) -> None:
    host = connect(user=users["plain"])
    assert host.run(ID).out == f"{users['plain']}\n"
    host.write("notes/todo", File(b"mine", mode=0o640))
    assert host.read("notes/todo") == b"mine"
    assert host.read("notes/none") is None
    with pytest.raises(AccessDenied, match="cannot read /etc/shadow"):
        host.read("/etc/shadow")
    for path in ("/root/none", "/etc/file"):
        with pytest.raises(AccessDenied):
            host.write(path, File(b""))
    with pytest.raises(AccessDenied, match="cannot read"):
        host.read("/root/none")
    with pytest.raises(AccessDenied):
        host.write("group", File(b"", group="root"))
    with pytest.raises(AccessDenied):
        host.write_tree("/etc", {"flotteq/x": File(b"")})
    with pytest.raises(CommandFailed):
        host.run(Command("test", "-e", "group"))


def test_scan_and_trust(target: Callable[..., Target], server: Server, tmp_path: Path, connect: Connect) -> None:
    known = tmp_path / "keys" / "known_hosts"
    keys = scan(target(known_hosts=known))
    assert [key.kind for key in keys] == ["ssh-ed25519", "ecdsa-sha2-nistp256"]
    assert keys[0].fingerprint == _fingerprint(server.directory / "host_ed25519.pub")
    assert keys[0].line == server.known_hosts.read_text().strip()
    trust(known, *keys)
    assert connect(known_hosts=known).run(ID).ok
    jumped = scan(target(jump=target()))
    assert jumped == keys
    with pytest.raises(HostUnreachable, match="connection refused"):
        scan(target(port=1))


def _fingerprint(public: Path) -> str:
    shown = subprocess.run(["ssh-keygen", "-lf", str(public)], check=True, capture_output=True, text=True).stdout
    return shown.split()[1]
