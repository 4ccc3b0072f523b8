"""Escrow kits: sealed for people, complete, compared; and the first backup that waits for one."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyrage
import pytest
from unit_support import Events, fleet

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.base import File
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, SecretError, Unhealthy, UsageError
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import BackupSettings
from flotteq_tasks.operations.backup import escrow, kit
from flotteq_tasks.operations.context import Site
from flotteq_tasks.settings import secrets as store

ANNE, BERT = (pyrage.x25519.Identity.generate() for _ in range(2))
FILES = {".secrets/production/restic_password": b"s3same", "flotteq.toml": "é".encode()}
RECORD = "/srv/fleet/state/escrow.json"


def public(identity: pyrage.x25519.Identity) -> str:
    return str(identity.to_public())


def test_each_recipient_opens_a_kit_alone_and_nobody_else() -> None:
    sealed = kit.seal(FILES, [public(ANNE), public(BERT)])
    assert sealed.startswith(b"age-encryption.org/v1") and b"s3same" not in sealed
    for one in (ANNE, BERT):
        assert kit.opened(sealed, f"# created: today\n{one}\n") == FILES
    with pytest.raises(FlotteqError, match="does not open with this identity"):
        kit.opened(sealed, str(pyrage.x25519.Identity.generate()))


def test_what_is_in_a_kit_is_its_owners_alone_and_hooks_can_run() -> None:
    sealed = kit.seal({**FILES, "hooks/pre-deploy": b"#!"}, [public(ANNE)], programs=["hooks/pre-deploy"])
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(sealed, [ANNE]))) as archive:
        modes = {one.name: one.mode for one in archive}
    assert modes == {**dict.fromkeys(FILES, 0o600), "hooks/pre-deploy": 0o700}


@pytest.mark.parametrize("damaged", [b"", b"age", kit.seal(FILES, [public(ANNE)])[:-1]])
def test_a_damaged_kit_does_not_open(damaged: bytes) -> None:
    with pytest.raises(FlotteqError, match="does not open"):
        kit.opened(damaged, str(ANNE))


def test_a_kit_for_nobody_or_for_a_private_key_is_refused_and_the_key_is_not_shown() -> None:
    with pytest.raises(UsageError, match="nobody could open the kit"):
        kit.seal(FILES, [])
    with pytest.raises(UsageError, match="'age1x' is no age public key"):
        kit.seal(FILES, ["age1x"])
    with pytest.raises(UsageError) as caught:
        kit.seal(FILES, [str(ANNE)])
    assert str(ANNE) not in caught.value.message
    with pytest.raises(UsageError, match="no age private key"):
        kit.opened(b"", public(ANNE))


def site(root: Path, **changes: Any) -> tuple[Site, FakeHost]:
    settings, host = fleet(root, **changes), FakeHost({})
    return Site(settings, host, ComposeEngine(host, settings), Events().report), host


def test_the_first_backup_waits_for_a_kit(tmp_path: Path) -> None:
    where, host = site(tmp_path)
    with pytest.raises(PreflightFailed, match="no escrow kit was written yet") as caught:
        escrow.require(where, {}, first=True, without=False)
    assert "--without-escrow backs up all the same" in caught.value.hint
    assert host.read(RECORD) is None
    # A host that has sets has made its choice long ago; the doctor speaks of it.
    escrow.require(where, {}, first=False, without=False)


def test_doing_without_is_a_decision_that_is_remembered(tmp_path: Path) -> None:
    where, host = site(tmp_path)
    escrow.require(where, {}, first=True, without=True)
    escrow.require(where, {}, first=True, without=False)
    assert json.loads(host.read(RECORD) or b"")["without"] is True


def test_a_throwaway_host_needs_none(tmp_path: Path) -> None:
    where, host = site(tmp_path, backup=BackupSettings(escrow=False))
    escrow.require(where, {}, first=True, without=False)
    assert host.read(RECORD) is None


@pytest.mark.parametrize("recipients", [[], ["age1x"]])
def test_a_kit_for_nobody_is_refused_before_the_host_is_asked(tmp_path: Path, recipients: list[str]) -> None:
    where, host = site(tmp_path)
    with pytest.raises(UsageError):
        escrow.write(where, recipients, str(tmp_path / "kit.age"), {})
    assert host.transcript == []


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, FakeHost, Path]:
    """A kit of a project whose host has a newer value of one secret; the host's lock is the tests' own."""
    where, host = site(tmp_path, backup=BackupSettings(recipients=(public(BERT),)))
    (tmp_path / "flotteq.toml").write_text("[project]\n")
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose/own.yml").write_text("x")
    store.write(tmp_path, "production", "db_password", store.Secret("here"))
    store.write(tmp_path, "production", "mail_password", store.Secret("mail"))
    host.write("/srv/fleet/secrets/db_password", File(b"there"))
    monkeypatch.setattr(escrow, "locked", Unlocked)
    release = Release("r7", "v1.2.0", {"core": "fleet-core@sha256:00"})
    monkeypatch.setattr(ComposeEngine, "facts", lambda self: type("Facts", (), {"release": release}))
    path = tmp_path / "kit.age"
    escrow.write(where, [public(ANNE)], str(path), {})
    return where, host, path


class Unlocked:
    """In place of the lock."""

    def __init__(self, *_: object) -> None:
        self.write = lambda *_, **__: None

    def __enter__(self) -> "Unlocked":
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_kit_has_the_hosts_secrets_and_the_project(written: tuple[Site, FakeHost, Path]) -> None:
    _, host, path = written
    found = kit.opened(path.read_bytes(), str(BERT))
    assert found[".secrets/production/db_password"] == b"there"
    assert found[".secrets/production/mail_password"] == b"mail"
    assert {"flotteq.toml", "compose/own.yml"} < set(found)
    assert json.loads(found["escrow.json"])["version"] == "v1.2.0"
    assert path.stat().st_mode & 0o777 == 0o600
    record = json.loads(host.read(RECORD) or b"")
    assert record["recipients"] == [public(BERT), public(ANNE)]
    assert record["secrets"]["db_password"] == store.fingerprint("db_password", store.Secret("there"))
    assert "there" not in json.dumps(record)


def test_a_kit_is_never_written_over(written: tuple[Site, FakeHost, Path]) -> None:
    where, _, path = written
    with pytest.raises(UsageError, match="exists"):
        escrow.write(where, [public(ANNE)], str(path), {})


def test_a_secret_that_is_nowhere_is_named(written: tuple[Site, FakeHost, Path], tmp_path: Path) -> None:
    where, _, _ = written
    (tmp_path / ".secrets/production/mail_password").unlink()
    with pytest.raises(SecretError, match="missing, here and on"):
        escrow.write(where, [public(ANNE)], str(tmp_path / "other.age"), {})


def test_an_old_kit_is_found_out(
    written: tuple[Site, FakeHost, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, _, path = written
    key = tmp_path / "key.txt"
    key.write_text(str(ANNE))
    marks = {"db_password": store.fingerprint("db_password", store.Secret("there"))}
    facts = type("Facts", (), {"secrets": marks})
    monkeypatch.setattr(ComposeEngine, "facts", lambda self: facts)
    assert escrow.check(where, str(path), str(key)) == ["db_password"]
    marks["db_password"] = "0" * 12
    with pytest.raises(Unhealthy, match=r"kit.age is older than the secrets of .*: db_password"):
        escrow.check(where, str(path), str(key))
    with pytest.raises(UsageError, match=r"--identity .*/absent: cannot be read: No such file"):
        escrow.check(where, str(path), str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"--kit .*/absent: cannot be read: No such file"):
        escrow.check(where, str(tmp_path / "absent"), str(key))
