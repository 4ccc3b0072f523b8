"""What a sandbox leaves in the repository, ignored by git: keys, certificates, the overlay of the settings."""

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flotteq_tasks.host.base import File
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox.environment import Value, ca_bundle, to_toml
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.sandbox.network import Edge
from flotteq_tasks.operations.sandbox.services import ACME_DIRECTORY, REGISTRY_SERVER
from flotteq_tasks.operations.wait import wait_until

_LOCK_LIMIT = 900
_ROOTS_KEPT = 5
_END = "-----END CERTIFICATE-----"
_SSH = 22
_KEY, _KNOWN_HOSTS, _ACME_CA, _ACME_ROOT, _ENVIRONMENT = FILES = (
    "id_ed25519", "known_hosts", "acme-ca.pem", "acme-root.pem", "environment.toml",
)  # fmt: skip


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is up.

    Args:
        instance: its name.
        state: directory of its keys and files.
        ssh_address: where ssh is reached from this machine.
        ssh_port: same.
        edge: where HTTP and HTTPS are reached from this machine.
        push_server: the registry as this machine sees it.
        dns: its DNS server as this machine sees it; empty where containers are not reached by their addresses.
        build_args: build arguments for sample applications.
    """

    instance: str
    state: Path
    ssh_address: str
    ssh_port: int
    edge: Edge
    push_server: str
    dns: str
    build_args: dict[str, str]

    @property
    def host_container(self) -> str:
        """The container that is the VPS."""
        return Names(self.instance).host

    @property
    def key_file(self) -> Path:
        """The private SSH key that is let in as deploy, nosudo and root."""
        return self.state / _KEY

    @property
    def known_hosts(self) -> Path:
        """The VPS's host keys."""
        return self.state / _KNOWN_HOSTS

    @property
    def acme_ca(self) -> Path:
        """The CA of the ACME server's own HTTPS."""
        return self.state / _ACME_CA

    @property
    def acme_root(self) -> Path:
        """The root of the certificates that the VPS gets."""
        return self.state / _ACME_ROOT

    @property
    def environment(self) -> Path:
        """The overlay for the settings loader."""
        return self.state / _ENVIRONMENT


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the lock of all sandboxes of this repository: two that build at once would build twice."""
    folder = root / ".sandbox"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        wait_until(
            lambda: _locked(lock.fileno()), timeout=_LOCK_LIMIT, what="another inv sandbox.* of this repository to end"
        )
        yield


def _locked(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return True


def ensure_identity(key_file: Path) -> str:
    """Return the public key of the sandbox's SSH identity, which is made when it is not there."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not key_file.exists():
        made = Ed25519PrivateKey.generate()
        text = made.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        LocalHost().write(str(key_file), File(text, mode=0o600))
    key = form.load_ssh_private_key(key_file.read_bytes(), password=None)
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return f"{public.decode()} flotteq-sandbox"


def write_known_hosts(sandbox: Sandbox, keys: list[tuple[str, str]]) -> None:
    """Write the VPS's host keys in the form that ssh reads."""
    address, port = sandbox.ssh_address, sandbox.ssh_port
    host = address if port == _SSH else f"[{address}]:{port}"
    _write(sandbox.known_hosts, "".join(f"{host} {kind} {key}\n" for kind, key in keys))


def write_certificates(sandbox: Sandbox, server_ca: str, root: str) -> None:
    """Write the CA of the ACME server and the root of what it issues.

    The server has a new root after each start, and the VPS keeps certificates of the one before: both stay trusted.
    """
    _write(sandbox.acme_ca, server_ca)
    before = sandbox.acme_root.read_text() if sandbox.acme_root.exists() else ""
    roots = [f"{part.strip()}\n{_END}\n" for part in f"{root}{before}".split(_END) if part.strip()]
    _write(sandbox.acme_root, "".join(list(dict.fromkeys(roots))[:_ROOTS_KEPT]))


def write_environment(root: Path, sandbox: Sandbox) -> None:
    """Write the overlay for the settings loader; its paths are relative to the repository."""
    bundle = ca_bundle()
    tables: dict[str, dict[str, Value]] = {
        "host": {
            "address": sandbox.ssh_address,
            "port": sandbox.ssh_port,
            "user": "deploy",
            "key_file": _relative(sandbox.key_file, root),
            "known_hosts": _relative(sandbox.known_hosts, root),
        },
        "edge": {
            "address": sandbox.edge.address,
            "http_port": sandbox.edge.http_port,
            "https_port": sandbox.edge.https_port,
        },
        # Its own sshd does not know on which port it is reached from here.
        "server": {"ssh_port": _SSH},
        "registry": {"server": REGISTRY_SERVER, "push_server": sandbox.push_server, "insecure": True},
        "acme": {
            "directory": ACME_DIRECTORY,
            "ca_file": _relative(sandbox.acme_ca, root),
            "root_file": _relative(sandbox.acme_root, root),
            "resolvers": [sandbox.dns] if sandbox.dns else [],
        },
        "build": {"ca_bundle": bundle} if bundle else {},
        "build.args": dict(sandbox.build_args),
    }
    _write(sandbox.environment, to_toml(tables))


def remove(state: Path) -> None:
    """Remove the files of one sandbox, and its directory when nothing else lies in it."""
    for name in FILES:
        (state / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        state.rmdir()


def _relative(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _write(file: Path, text: str) -> None:
    LocalHost().write(str(file), File(text.encode()))
