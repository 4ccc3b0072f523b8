"""Opens SSH connections and watches over them. Imported when the first connection is made: it loads Fabric."""

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import paramiko
from fabric import Config, Connection
from paramiko.hostkeys import InvalidHostKey
from paramiko.ssh_exception import (
    BadHostKeyException,
    ChannelException,
    NoValidConnectionsError,
    PasswordRequiredException,
)

from flotteq_tasks.host.channel import ChannelPeer
from flotteq_tasks.host.faults import BusyError, LostError
from flotteq_tasks.host.target import Target
from flotteq_tasks.host.terminal import attach
from flotteq_tasks.model.errors import AccessDenied, FlotteqError, HostUnreachable, SecretError, SettingsError
from flotteq_tasks.model.secret import Secret

# Rekeying is left to the server: a transfer that meets paramiko's own at 2^29 bytes dies (paramiko #822).
paramiko.packet.Packetizer.REKEY_BYTES = 2**40
# Without a handler, logging prints paramiko's tracebacks to stderr; the errors raised here say the same in words.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

# 16 MiB fill 1 Gbit/s at 100 ms; the default of 2 MiB ends at 30 MB/s and 50 ms.
WINDOW = 16 << 20
_ANSWER_WITHIN = 15.0


class Link:
    """An open connection that notices when its peer is dead.

    paramiko's keepalive never counts answers (paramiko #918), so a request that OpenSSH must answer is sent every
    ``keepalive`` seconds, and the transport is closed when no packet at all came for ``dead_after`` seconds.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = dial(target)
        transport = self._connection.transport
        if transport is None:
            raise HostUnreachable(f"cannot connect to {target.name}")
        self._transport: paramiko.Transport = transport
        self._closed = threading.Event()
        self._heard = time.monotonic()
        self._listen()
        threading.Thread(target=self._probe, name=f"probe {target.name}", daemon=True).start()
        threading.Thread(target=self._watch, name=f"watch {target.name}", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether new channels may be tried."""
        return self._transport.is_active()

    def start(self, text: str, *, combine: bool, end: Callable[[], None]) -> ChannelPeer:
        """Run ``text`` in the login shell on a new channel; see ``ChannelPeer``.

        Raises:
            BusyError: the server has too many channels already.
            LostError: the connection is gone.
        """
        return ChannelPeer(self._open(), text, combine=combine, end=end)

    def attach(self, text: str) -> int:
        """Run ``text`` with the user's terminal; return its exit code. Errors as in ``start``."""
        channel = self._open()
        try:
            code = attach(channel, text)
        except (paramiko.SSHException, EOFError) as error:
            raise LostError(started=True) from error
        finally:
            channel.close()
        if code < 0:
            raise LostError(started=True)
        return code

    def close(self) -> None:
        """Close it and the jump hosts behind it."""
        self._closed.set()
        self._transport.close()
        hang_up(self._connection)

    def _open(self) -> paramiko.Channel:
        try:
            return self._transport.open_session(window_size=WINDOW, timeout=_ANSWER_WITHIN)
        except (paramiko.SSHException, OSError, EOFError) as error:
            # Of two threads that are refused, one may get the other's exception and the other a nameless one.
            if self.alive and "Timeout" not in str(error):
                raise BusyError from error
            raise LostError(started=False) from error

    def _listen(self) -> None:
        packetizer = self._transport.packetizer
        read = packetizer.read_message

        def read_message() -> tuple[int, paramiko.Message]:
            message = read()
            self._heard = time.monotonic()
            return message

        packetizer.read_message = read_message  # type: ignore[method-assign]

    def _probe(self) -> None:
        interval = min(self._target.keepalive, self._target.dead_after / 3)
        while not self._closed.wait(interval) and self._transport.is_active():
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
                self._transport.global_request("keepalive@openssh.com", wait=True)

    def _watch(self) -> None:
        # A thread of its own: the probe blocks when the socket's send buffer is full.
        tick = self._target.dead_after / 20
        before = time.monotonic()
        while not self._closed.wait(tick) and self._transport.is_active():
            now = time.monotonic()
            if now - before > self._target.dead_after / 2:
                # This process was stopped (laptop lid, SIGSTOP): the silence was ours.
                self._heard = now
            before = now
            if now - self._heard > self._target.dead_after:
                self._transport.close()


class _Refuse(paramiko.RejectPolicy):
    """Refuses unknown host keys and says which key it saw."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        """Raise AccessDenied."""
        raise AccessDenied(
            f"{self._target.name}: its host key {key.fingerprint} ({key.get_name()}) is not in known_hosts "
            f"({self._target.known_hosts})",
            hint=self._target.trust_hint,
        )


def dial(target: Target) -> Connection:
    """Log in, through the jump hosts where there are any. Host keys are strict: Fabric's default trusts every one.

    Raises:
        AccessDenied: unknown or changed host key, refused login.
        HostUnreachable: no connection.
        SettingsError: the private key cannot be used.
    """
    gateway = dial(target.jump) if target.jump else None
    try:
        # Built without the user's Fabric, Invoke and ssh configuration: the target says everything.
        config = Config(lazy=True, ssh_config=paramiko.SSHConfig())
        connection = Connection(
            target.host,
            user=target.user,
            port=target.port,
            config=config,
            gateway=gateway,
            connect_kwargs=_credentials(target),
        )
        _open(connection, target)
        _send_at_once(connection)
    except BaseException:
        if gateway:
            hang_up(gateway)
        raise
    return connection


def hang_up(connection: Connection) -> None:
    """Close a connection and its gateways, whatever state they are in."""
    while isinstance(connection, Connection):
        connection.client.close()
        connection = connection.gateway


def explain(target: Target, error: Exception) -> FlotteqError:
    """Return what a failed connection means for people."""
    found = _explained(target, error)
    if target.absent:
        found.hint = f"{target.absent}, which says where the host is, does not exist; for the sandbox: inv sandbox.up"
    return found


def _explained(target: Target, error: Exception) -> FlotteqError:
    where = target.name
    by_hand = f"by hand: ssh -p {target.port} {target.user}@{target.host} true"
    if isinstance(error, FlotteqError):
        return error
    if isinstance(error, BadHostKeyException):
        return AccessDenied(
            f"{where}: its host key changed: {target.known_hosts} has {error.expected_key.fingerprint}, "
            f"the server shows {error.key.fingerprint}",
            hint=f"somebody may be in between; if the server was reinstalled: {target.trust_hint}",
        )
    if denied := _denied(target, error):
        return denied
    if isinstance(error, ChannelException) and target.jump:
        return HostUnreachable(f"{where}: {target.jump.name} cannot reach it ({error.text})", hint=by_hand)
    return HostUnreachable(f"cannot connect to {where}: {_why(target, error)}", hint=by_hand)


def _denied(target: Target, error: Exception) -> AccessDenied | None:
    if isinstance(error, PasswordRequiredException):
        return AccessDenied(
            f"{target.name}: the private key has a passphrase",
            hint="ssh-add, so that the agent has it; or host.key_file: one without a passphrase",
        )
    if isinstance(error, paramiko.AuthenticationException) and "timeout" not in str(error).lower():
        return AccessDenied(f"{target.name}: the login was refused ({error})", hint=_login_hint(target))
    if "No authentication methods available" in str(error):
        return AccessDenied(f"{target.name}: there is no key to log in with", hint=_login_hint(target))
    return None


def _open(connection: Connection, target: Target) -> None:
    if target.known_hosts.exists():
        _load(connection.client, target)
    connection.client.set_missing_host_key_policy(_Refuse(target))
    try:
        connection.open()
    except (paramiko.SSHException, OSError, EOFError, FlotteqError) as error:
        connection.client.close()
        raise explain(target, error) from error
    except BaseException:
        connection.client.close()
        raise


def _load(client: paramiko.SSHClient, target: Target) -> None:
    try:
        client.load_host_keys(str(target.known_hosts))
    except (InvalidHostKey, ValueError, OSError) as error:
        why = f"no key in the line {error.line!r}" if isinstance(error, InvalidHostKey) else _reason(error)
        raise SettingsError(
            f"{target.known_hosts} cannot be read: {why}", hint=f"correct or remove that line; then {target.trust_hint}"
        ) from error


def _send_at_once(connection: Connection) -> None:
    """Else the second of two short messages waits 40 ms for the peer's delayed acknowledgement (RFC 896, 1122)."""
    peer = connection.transport.sock
    # Behind a jump host it is a channel: that host's own connection counts.
    if isinstance(peer, socket.socket):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _credentials(target: Target) -> dict[str, object]:
    if target.key_file and not target.key_file.is_file():
        raise SettingsError(
            f"SSH key {target.key_file} does not exist", hint=f"ssh-keygen -t ed25519 -f {target.key_file}"
        )
    given: dict[str, object] = {}
    if target.key_file:
        given["key_filename"] = str(target.key_file)
    if target.key_text:
        given["pkey"] = load_key(target.key_text)
    return {
        **given,
        # Not as connect_timeout: Fabric cuts that to whole seconds, and 0 means for ever.
        "timeout": target.connect_timeout,
        "allow_agent": target.use_agent,
        "look_for_keys": target.usual_keys,
        "banner_timeout": _ANSWER_WITHIN,
        "auth_timeout": _ANSWER_WITHIN,
        "channel_timeout": _ANSWER_WITHIN,
    }


def load_key(secret: Secret) -> paramiko.PKey:
    r"""Return a private key from its text; ``\n`` for line ends and a missing last one are forgiven.

    Raises:
        SecretError: it is no Ed25519, ECDSA or RSA key, or it has a passphrase.
    """
    lines = secret.reveal().replace("\\n", "\n").replace("\r\n", "\n").strip() + "\n"
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(lines))
        except paramiko.PasswordRequiredException as error:
            raise SecretError(
                "the SSH key given as text has a passphrase",
                hint="make one without for CI: ssh-keygen -t ed25519 -N ''",
            ) from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise SecretError(
        "the SSH key given as text is no Ed25519, ECDSA or RSA private key",
        hint="give the whole file, from -----BEGIN to -----END lines: ssh-keygen -t ed25519 -N '' -f key; cat key",
    )


def _login_hint(target: Target) -> str:
    key = f"-i {target.key_file} " if target.key_file else ""
    return f"give the user {target.user} your public key: ssh-copy-id {key}-p {target.port} {target.user}@{target.host}"


def _why(target: Target, error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host name"
    if isinstance(error, TimeoutError):
        return f"no answer within {target.connect_timeout:g} s"
    causes = error.errors.values() if isinstance(error, NoValidConnectionsError) else [error]
    return "; ".join(sorted({_reason(cause) for cause in causes})) or "it closed the connection"


def _reason(error: Exception) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
