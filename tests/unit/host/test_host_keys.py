"""known_hosts: what trust writes, and that it replaces nothing silently."""

import base64
import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from flotteq_tasks.host.keys import HostKey, trust
from flotteq_tasks.model.errors import AccessDenied


def _key(host: str = "example.com", content: bytes = b"one", kind: str = "ssh-ed25519") -> HostKey:
    fingerprint = base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return HostKey(host, kind, base64.b64encode(content).decode(), f"SHA256:{fingerprint}")


def _hashed(host: str) -> str:
    salt = b"salt" * 5
    digest = hmac.new(salt, host.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def test_a_new_file_is_private(tmp_path: Path) -> None:
    known = tmp_path / "keys" / "known_hosts"
    trust(known, _key(), _key("[example.com]:2222", b"two"))
    assert known.read_text() == "example.com ssh-ed25519 b25l\n[example.com]:2222 ssh-ed25519 dHdv\n"
    assert stat.S_IMODE(known.stat().st_mode) == 0o600
    assert list(known.parent.iterdir()) == [known]


@pytest.mark.parametrize("name", ["example.com", "other.org,example.com", _hashed("example.com")])
def test_known_keys_are_no_change(tmp_path: Path, name: str) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"# pinned by hand\n{name} ssh-ed25519 b25l a comment")
    inode = known.stat().st_ino
    trust(known, _key())
    assert known.stat().st_ino == inode


@pytest.mark.parametrize("name", ["example.com", "other.org,example.com", _hashed("example.com")])
def test_a_changed_key_is_refused_unless_asked_for(tmp_path: Path, name: str) -> None:
    known = tmp_path / "known_hosts"
    before = f"@revoked example.com ssh-ed25519 b25l\n{name} ssh-ed25519 b25l\nthird.net ssh-ed25519 b25l\n"
    known.write_text(before)
    with pytest.raises(AccessDenied) as caught:
        trust(known, _key(content=b"two"))
    assert _key().fingerprint in caught.value.message
    assert _key(content=b"two").fingerprint in caught.value.message
    assert known.read_text() == before
    trust(known, _key(content=b"two"), replace=True)
    rest = "other.org ssh-ed25519 b25l\n" if "," in name else ""
    assert known.read_text() == (
        f"@revoked example.com ssh-ed25519 b25l\n{rest}third.net ssh-ed25519 b25l\nexample.com ssh-ed25519 dHdv\n"
    )


def test_another_kind_or_port_is_no_change_of_the_key(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    trust(known, _key())
    trust(known, _key(content=b"two", kind="ssh-rsa"), _key("[example.com]:22022", b"three"))
    assert len(known.read_text().splitlines()) == 3
