"""Private sshds, throw-away users, and hosts that log in there."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback_sshd import SSHD, Server, make_key, start_sshd, stop_sshd
from support.packages import install_packages

from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.host.target import Target


@pytest.fixture(scope="session")
def client_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("client") / "id_ed25519")


@pytest.fixture(scope="session")
def start_server(
    tmp_path_factory: pytest.TempPathFactory, client_key: Path, say: Callable[[str], None]
) -> Iterator[Callable[..., Server]]:
    """Start as many servers as a test likes; extra lines go into sshd_config."""
    if os.geteuid() != 0:
        pytest.fail("these tests start sshd and make users: run them as root (a container will do)")
    if not Path(SSHD).exists() or not shutil.which("sudo"):
        install_packages("openssh-server", "sudo", say=say)
    Path("/run/sshd").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:

        def start(*lines: str) -> Server:
            server = start_sshd(tmp_path_factory.mktemp("sshd"), client_key, lines)
            stack.callback(stop_sshd, server)
            return server

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture
def target(server: Server, client_key: Path) -> Callable[..., Target]:
    """Build a target for the shared server; keywords replace its defaults."""

    def build(**changes: object) -> Target:
        defaults = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": "root",
            "known_hosts": server.known_hosts,
            "key_file": client_key,
        }
        return Target(**{**defaults, **changes})  # type: ignore[arg-type]

    return build


@pytest.fixture
def connect(target: Callable[..., Target]) -> Iterator[Callable[..., SshHost]]:
    """Build hosts that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def build(**changes: object) -> SshHost:
            host = SshHost(target(**changes))
            stack.callback(host.close)
            return host

        yield build


@pytest.fixture
def host(connect: Callable[..., SshHost]) -> SshHost:
    return connect()


@pytest.fixture(scope="session")
def users() -> Iterator[dict[str, str]]:
    """Make two users: one with sudo, one without."""
    if shutil.which("sudo") is None:
        pytest.fail("sudo is missing: apt-get install -y openssh-server sudo")
    names = {"sudo": f"fq-sudo-{os.getpid()}", "plain": f"fq-plain-{os.getpid()}"}
    rule = Path(f"/etc/sudoers.d/fq-{os.getpid()}")
    try:
        for name in names.values():
            # The password "*" matches nothing but does not lock the account as "!" does.
            subprocess.run(["useradd", "--system", "--create-home", "--shell", "/bin/sh", "-p", "*", name], check=True)
        rule.write_text(f"{names['sudo']} ALL=(ALL) NOPASSWD: ALL\n")
        rule.chmod(0o440)
        yield names
    finally:
        rule.unlink(missing_ok=True)
        for name in names.values():
            subprocess.run(["userdel", "--force", "--remove", name], check=True, capture_output=True)
