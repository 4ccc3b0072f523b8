"""The first message of a TLS connection, by hand: which group of key exchange a server takes.

Python's own TLS offers what its OpenSSL knows, and cannot be told less or more.
"""

import secrets
import socket

# RFC 8446 and draft-ietf-tls-ecdhe-mlkem: the hybrid that keeps recorded traffic from a later quantum computer.
X25519 = 0x001D
X25519MLKEM768 = 0x11EC
_HANDSHAKE, _CLIENT_HELLO, _SERVER_HELLO = 22, 1, 2
_TLS_12, _TLS_13 = 0x0303, 0x0304
_CIPHERS = (0x1301, 0x1302, 0x1303)
# ECDSA, RSA-PSS and RSA, with SHA-256 and more.
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601)
_SERVER_NAME, _GROUPS, _SIGNATURE_ALGORITHMS, _VERSIONS, _KEY_SHARE = 0, 10, 13, 43, 51
_HEAD = 5
# A record holds 16 KiB and what its encryption adds; an alert or a retry is far shorter.
_LARGEST = (1 << 14) + 256


def negotiates(opened: socket.socket, name: str, group: int) -> bool:
    """Whether a server takes a client that knows this group only.

    No key is sent: a server that knows the group asks for one (RFC 8446 §4.1.4), any other refuses.

    Args:
        opened: a connection on which nothing was said yet; nothing can be said on it afterwards.
        name: asked for in the handshake.
        group: its number at IANA.

    Raises:
        OSError: the connection broke.
    """
    opened.sendall(client_hello(name, group))
    kind, body = _record(opened)
    return kind == _HANDSHAKE and _wanted(body) == group


def client_hello(name: str, group: int) -> bytes:
    """Return the whole record. Pure, but for its random bytes."""
    host = name.encode("idna")
    extensions = b"".join((
        _extension(_SERVER_NAME, _sized(b"\0" + _sized(host, 2), 2)),
        _extension(_GROUPS, _sized(_number(group), 2)),
        _extension(_SIGNATURE_ALGORITHMS, _sized(b"".join(map(_number, _SIGNATURES)), 2)),
        _extension(_VERSIONS, _sized(_number(_TLS_13), 1)),
        _extension(_KEY_SHARE, _sized(b"", 2)),
    ))  # fmt: skip
    ciphers = _sized(b"".join(map(_number, _CIPHERS)), 2)
    session, compression = _sized(secrets.token_bytes(32), 1), _sized(b"\0", 1)
    body = _number(_TLS_12) + secrets.token_bytes(32) + session + ciphers + compression + _sized(extensions, 2)
    return bytes([_HANDSHAKE]) + _number(0x0301) + _sized(bytes([_CLIENT_HELLO]) + _sized(body, 3), 2)


def _wanted(body: bytes) -> int:
    """The group that the server's answer names; 0 for none."""
    if body[:1] != bytes([_SERVER_HELLO]):
        return 0
    # Type and length, version, random; then the session, the cipher and the compression.
    start = 4 + 2 + 32
    rest = body[start + 1 + body[start] + 2 + 1 + 2 :]
    while len(rest) >= 4:
        kind, length = int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])
        if kind == _KEY_SHARE:
            return int.from_bytes(rest[4:6])
        rest = rest[4 + length :]
    return 0


def _record(opened: socket.socket) -> tuple[int, bytes]:
    head = _exactly(opened, _HEAD)
    return head[0], _exactly(opened, min(int.from_bytes(head[3:]), _LARGEST))


def _exactly(opened: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = opened.recv(count - len(data))
        if not more:
            raise ConnectionResetError("closed without an answer")
        data += more
    return data


def _extension(kind: int, body: bytes) -> bytes:
    return _number(kind) + _sized(body, 2)


def _number(value: int) -> bytes:
    return value.to_bytes(2)


def _sized(body: bytes, width: int) -> bytes:
    return len(body).to_bytes(width) + body
