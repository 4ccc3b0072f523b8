"""A private sshd on loopback, and what tests ask about processes."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flotteq_tasks.host.target import Target

SSHD = "/usr/sbin/sshd"


@dataclass
class Server:
    """A running sshd."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def authorized_keys(self) -> Path:
        return self.directory / "authorized_keys"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def children(self) -> list[int]:
        """Return the sshd processes that serve a connection."""
        return [pid for pid in _below(self.process.pid) if _read(f"/proc/{pid}/comm").startswith("sshd")]

    def at_work(self) -> bool:
        """Whether a command runs for a connection."""
        return len(_below(self.process.pid)) > len(self.children())


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    size = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-f", str(path)], check=True)
    return path


def wait_until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait for a condition, looking fifty times a second."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not come true within {seconds:g} s")
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def client_process(target: Target, code: str, **popen: object) -> subprocess.Popen[bytes]:
    """Run code with a ``host`` in another process."""
    lines = [
        "from pathlib import Path, PosixPath",
        "from flotteq_tasks.commands.shell import Command, Raw",
        "from flotteq_tasks.host.base import File",
        "from flotteq_tasks.host.ssh import SshHost",
        "from flotteq_tasks.host.target import Target",
        f"host = SshHost(Target(host='127.0.0.1', port={target.port}, user='root', known_hosts={target.known_hosts!r},",
        f"    key_file={target.key_file!r}))",
        code,
    ]
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-c", "\n".join(lines)], cwd=root, **popen)  # type: ignore[call-overload, no-any-return]


def read_pid(directory: Path) -> int:
    """Return the number in the file ``pid``, 0 where it is not there yet."""
    try:
        return int((directory / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def start_sshd(directory: Path, client_key: Path, lines: tuple[str, ...]) -> Server:
    for kind in ("ed25519", "ecdsa"):
        make_key(directory / f"host_{kind}", kind)
    port = _free_port()
    authorized = directory / "authorized_keys"
    authorized.write_bytes(client_key.with_suffix(".pub").read_bytes())
    # Users other than root read their key there.
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(0o755)
    (directory / "sshd_config").write_text(
        "\n".join(
            [
                *lines,
                f"ListenAddress 127.0.0.1:{port}",
                *(f"HostKey {directory}/host_{kind}" for kind in ("ed25519", "ecdsa")),
                f"PidFile {directory}/pid",
                f"AuthorizedKeysFile {authorized}",
                "PermitRootLogin prohibit-password",
                "StrictModes no",
                "UsePAM no",
                "MaxStartups 100",
                "",
            ]
        )
    )
    public = (directory / "host_ed25519.pub").read_text().split()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    log = directory / "log"
    process = subprocess.Popen([SSHD, "-D", "-f", str(directory / "sshd_config"), "-E", str(log)])
    wait_until(lambda: log.exists() and "Server listening" in log.read_text())
    return Server(directory, port, process)


def stop_sshd(server: Server) -> None:
    for pid in server.children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    server.process.terminate()
    server.process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _below(pid: int) -> list[int]:
    found = [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]
    return found + [deeper for child in found for deeper in _below(child)]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
