"""Host keys: fetch them without logging in, and keep the trusted ones in a known_hosts file."""

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flotteq_tasks.host.target import Target
from flotteq_tasks.model.errors import AccessDenied, HostUnreachable

if TYPE_CHECKING:
    import paramiko

# One handshake each: a server shows one key per connection. RSA keys sign with SHA-2 names (RFC 8332).
_KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
_ANSWER_WITHIN = 15.0


@dataclass(frozen=True)
class HostKey:
    """A server's public key.

    Args:
        host: its name in known_hosts: ``name``, or ``[name]:port``.
        kind: ``ssh-ed25519`` and the like.
        blob: base64, as in known_hosts.
        fingerprint: ``SHA256:…`` as OpenSSH prints it.
    """

    host: str
    kind: str
    blob: str
    fingerprint: str

    @property
    def line(self) -> str:
        """Return its line for known_hosts."""
        return f"{self.host} {self.kind} {self.blob}"


def scan(target: Target) -> list[HostKey]:
    """Fetch the server's keys, one of each kind, without logging in there. A jump host is logged in to.

    What is fetched is not trusted yet: compare the fingerprints with the server's console
    (``ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub``) before ``trust``.

    Raises:
        HostUnreachable: nothing answers, or not as an SSH server.
        AccessDenied: the jump host refused.
    """
    from paramiko import SSHException, Transport
    from paramiko.ssh_exception import IncompatiblePeer

    from flotteq_tasks.host.connection import explain

    found: list[HostKey] = []
    try:
        with _way_to(target) as connect:
            for kinds in _KINDS:
                transport = Transport(connect())
                try:
                    transport.get_security_options().key_types = kinds
                    transport.start_client(timeout=_ANSWER_WITHIN)
                    found.append(_host_key(target, transport.get_remote_server_key()))
                except IncompatiblePeer:
                    continue
                finally:
                    transport.close()
    except (SSHException, OSError, EOFError) as error:
        raise explain(target, error) from error
    if not found:
        raise HostUnreachable(f"{target.name} shows no Ed25519, ECDSA or RSA host key")
    return found


def trust(known_hosts: Path, *keys: HostKey, replace: bool = False) -> None:
    """Write keys into a known_hosts file, atomically and with mode 0600. Keys that it has already are no change.

    Args:
        known_hosts: the file; it is made with its directory.
        replace: forget all other keys of these hosts.

    Raises:
        AccessDenied: the file has another key of the same kind for the host, and ``replace`` is not set.
    """
    lines = known_hosts.read_text(errors="surrogateescape").splitlines() if known_hosts.exists() else []
    kept: list[str] = []
    for line in lines:
        wanted = [key for key in keys if _is_for(line, key.host)]
        if replace and wanted:
            kept += _without(line, {key.host for key in wanted})
            continue
        for key in wanted:
            _refuse_change(known_hosts, line, key)
        kept.append(line)
    for key in keys:
        if not any(_is_for(line, key.host) and _key_of(line) == (key.kind, key.blob) for line in kept):
            kept.append(key.line)
    if kept != lines:
        _replace(known_hosts, "".join(f"{line}\n" for line in kept))


@contextlib.contextmanager
def _way_to(target: Target) -> "Iterator[Callable[[], socket.socket | paramiko.Channel]]":
    """Yield a function that opens a stream to the target's SSH port."""
    from flotteq_tasks.host.connection import dial, hang_up

    if target.jump is None:
        yield lambda: socket.create_connection((target.host, target.port), timeout=target.connect_timeout)
        return
    gateway = dial(target.jump)
    try:
        transport: paramiko.Transport = gateway.transport
        yield lambda: transport.open_channel(
            "direct-tcpip", (target.host, target.port), ("", 0), timeout=_ANSWER_WITHIN
        )
    finally:
        hang_up(gateway)


def _host_key(target: Target, key: "paramiko.PKey") -> HostKey:
    return HostKey(target.known_as, key.get_name(), key.get_base64(), key.fingerprint)


def _is_for(line: str, host: str) -> bool:
    """Return whether a line speaks of ``host``; comments and lines with a marker (``@revoked``) do not."""
    names, _, rest = line.partition(" ")
    if not rest or names.startswith(("#", "@")):
        return False
    return any(_names(name, host) for name in names.split(","))


def _names(name: str, host: str) -> bool:
    """Compare with a plain or a hashed name: ``|1|base64(salt)|base64(HMAC-SHA1(salt, host))``, sshd(8)."""
    fields = name.split("|")
    if len(fields) != 4 or fields[1] != "1":
        return name == host
    digest = hmac.new(base64.b64decode(fields[2]), host.encode(), hashlib.sha1).digest()
    return hmac.compare_digest(digest, base64.b64decode(fields[3]))


def _key_of(line: str) -> tuple[str, str]:
    fields = [*line.split(), "", ""]
    return fields[1], fields[2]


def _without(line: str, hosts: set[str]) -> list[str]:
    names, _, rest = line.partition(" ")
    others = [name for name in names.split(",") if not any(_names(name, host) for host in hosts)]
    return [f"{','.join(others)} {rest}"] if others else []


def _refuse_change(known_hosts: Path, line: str, key: HostKey) -> None:
    kind, blob = _key_of(line)
    if kind == key.kind and blob != key.blob:
        raise AccessDenied(
            f"{key.host}: {known_hosts} has another {kind} key: {_fingerprint(blob)}, the new one is {key.fingerprint}",
            hint="if the server was reinstalled, compare it with the server's console and replace it",
        )


def _fingerprint(blob: str) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")


def _replace(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", errors="surrogateescape") as temporary:
            temporary.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
