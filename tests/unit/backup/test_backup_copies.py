"""Copies elsewhere: how they are opened, what goes, what is remembered."""

import base64
import dataclasses
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import copies
from flotteq_backup.copies import Copy
from flotteq_backup.errors import Failed, Unknown
from flotteq_backup.ledger import Ledger
from flotteq_backup.pace import FULL, Pace
from flotteq_backup.restic import Restic

SFTP = Copy("offsite", "sftp:me@host:/flotteq", ssh_key="key", host_key="ssh-ed25519 AAAA")


@dataclass
class Away:
    """A repository of snapshots in memory; a copy gets a new id and remembers the first one."""

    known: list[dict[str, Any]] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    broken: str = ""
    pace: Pace = FULL

    def ensure(self, like: object = None) -> bool:
        if self.broken:
            raise Failed(self.broken)
        return False

    def snapshots(self, *tags: str) -> list[dict[str, Any]]:
        return [one for one in self.known if set(tags) <= set(one["tags"])]

    def copy(self, source: "Away", snapshots: Iterable[str]) -> None:
        ids = list(snapshots)
        self.calls += [ids] if ids else []
        for one in source.known:
            if one["id"] in ids:
                self.known.append({**one, "id": f"copy-{one['id']}", "original": one.get("original", one["id"])})


def stored(*runs: str) -> Away:
    return Away(
        [{"id": f"{run}-{part}", "tags": [f"run={run}", f"part={part}"]} for run in runs for part in ("db", "manifest")]
    )


def known(path: Path, *runs: str, verified: bool = True) -> Ledger:
    ledger = Ledger(path / "ledger.jsonl")
    for run in runs:
        parts = {"db": {"snapshot": f"{run}-db"}}
        ledger.add("set", id=run, manifest=f"{run}-manifest", parts=parts, verified=verified)
    return ledger


def send(store: Away, away: Away, ledger: Ledger) -> list[str]:
    return copies.send(store, away, "vault", ledger)  # type: ignore[arg-type]


def test_verified_sets_go_once_with_the_manifests_last(tmp_path: Path) -> None:
    store, away, ledger = stored("a", "b"), Away(), known(tmp_path, "a", "b")
    assert send(store, away, ledger) == ["a", "b"]
    assert away.calls == [["a-db", "b-db"], ["a-manifest", "b-manifest"]]
    assert [one["copies"] for one in ledger.sets().values()] == [["vault"], ["vault"]]
    assert send(store, away, ledger) == []
    assert len(ledger.events()) == 4


def test_what_is_not_verified_stays_here(tmp_path: Path) -> None:
    away = Away()
    assert send(stored("a"), away, known(tmp_path, "a", verified=False)) == []
    assert away.known == []


def test_what_retention_removed_there_does_not_come_back(tmp_path: Path) -> None:
    store, away, ledger = stored("a", "b"), Away(), known(tmp_path, "a", "b")
    send(store, away, ledger)
    away.known = [one for one in away.known if "run=a" not in one["tags"]]
    for _ in range(2):
        assert send(store, away, ledger) == []
    assert ledger.sets()["a"]["copies"] == []


def test_what_only_the_other_side_had_and_removed_is_not_looked_for_any_more(tmp_path: Path) -> None:
    store, away, ledger = stored("a", "b"), Away(), known(tmp_path, "a", "b")
    send(store, away, ledger)
    ledger.add("removed", id="a")
    store.known = [one for one in store.known if "run=a" not in one["tags"]]
    send(store, away, ledger)
    assert ledger.sets(gone=True)["a"]["copies"] == ["vault"]
    away.known = [one for one in away.known if "run=a" not in one["tags"]]
    send(store, away, ledger)
    assert ledger.sets(gone=True)["a"]["copies"] == []


def test_a_repository_says_what_it_has_by_its_list_of_snapshots() -> None:
    away = Away()
    for part, held in (("db", {"summary": {"total_bytes_processed": 7}}), ("certs", {}), ("manifest", {})):
        away.known.append(
            {"id": part, "time": "2026-11-01T03:17:00.123456789+01:00", "tags": ["run=a", f"part={part}"], **held}
        )
    away.known.append({"id": "half", "time": "2026-11-02T00:00:00Z", "tags": ["run=b", "part=db"]})
    assert copies.whole(away) == [  # type: ignore[arg-type]
        {"id": "a", "created": "2026-11-01T02:17:00Z", "parts": {"db": 7, "certs": 0}}
    ]


def test_a_store_that_lost_everything_gets_everything_again(tmp_path: Path) -> None:
    store, away, ledger = stored("a", "b"), Away(), known(tmp_path, "a", "b")
    send(store, away, ledger)
    away.known = []
    assert send(store, away, ledger) == ["a", "b"]
    assert ledger.sets()["a"]["copies"] == ["vault"]


def test_a_copy_that_is_not_whole_is_not_noted(tmp_path: Path) -> None:
    store, ledger = stored("a"), known(tmp_path, "a")
    store.known = store.known[1:]
    with pytest.raises(Failed, match="set a is not whole after it was copied"):
        send(store, Away(), ledger)
    assert "copies" not in ledger.sets()["a"]


def test_one_that_fails_does_not_keep_the_others_from_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"first": Away(broken="no answer"), "second": Away()}
    monkeypatch.setattr(Copy, "open", lambda self, host, **_: places[self.name])
    both = [dataclasses.replace(SFTP, name=name) for name in places]
    with pytest.raises(Failed, match="the copy first failed: no answer") as caught:
        copies.send_all(copies.Settings(), stored("a"), known(tmp_path, "a"), both)  # type: ignore[arg-type]
    assert "untouched" in caught.value.hint
    assert len(places["second"].known) == 2


def test_a_set_comes_back_by_the_beginning_of_its_id_or_as_the_newest() -> None:
    away = Away()
    away.copy(stored("20261101T0", "20261102T0"), ["20261101T0-db", "20261101T0-manifest", "20261102T0-manifest"])
    for wanted, run in (("latest", "20261102T0"), ("20261101", "20261101T0")):
        assert copies.bring(Away(), away, SFTP, wanted, "fleet") == run  # type: ignore[arg-type]
    with pytest.raises(Unknown, match="more than one set 2026 of fleet in offsite"):
        copies.bring(Away(), away, SFTP, "2026", "fleet")  # type: ignore[arg-type]
    with pytest.raises(Unknown, match="no set 19") as caught:
        copies.bring(Away(), away, SFTP, "19", "fleet")  # type: ignore[arg-type]
    assert "20261102T0" in caught.value.hint


def test_the_newest_set_is_no_base_backup_which_has_a_word_of_its_own() -> None:
    away = stored("20261101T0")
    away.known += [
        {"id": f"20261102T0-{part}", "tags": ["run=20261102T0", f"part={part}"]} for part in ("base", "manifest")
    ]
    for wanted, run in (("latest", "20261101T0"), ("base", "20261102T0")):
        assert copies.bring(Away(), away, SFTP, wanted, "fleet") == run  # type: ignore[arg-type]


def test_a_set_that_came_back_is_known_there(tmp_path: Path) -> None:
    """Here it has other snapshots than there, and both have others than where it was taken."""
    away, here = Away(), Away()
    away.copy(stored("a"), ["a-db", "a-manifest"])
    copies.bring(here, away, SFTP, "a", "fleet")  # type: ignore[arg-type]
    ledger = Ledger(tmp_path / "ledger.jsonl")
    parts = {"db": {"snapshot": "copy-copy-a-db"}}
    ledger.add("set", id="a", manifest="copy-copy-a-manifest", parts=parts, verified=True)
    assert send(here, away, ledger) == []
    assert ledger.sets()["a"]["copies"] == ["vault"]


def test_sftp_uses_its_own_key_and_trusts_one_host_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(base64.b64encode(b"PRIVATE\n").decode())
    store = SFTP.open("fleet", tmp_path, tmp_path / "keys")
    (args,) = [one for one in store.options if one.startswith("sftp.args=")]
    assert (
        f"UserKnownHostsFile={tmp_path}/keys/offsite.known -o HostKeyAlias=offsite -i {tmp_path}/keys/offsite" in args
    )
    assert "StrictHostKeyChecking=yes" in args and "BatchMode=yes" in args
    assert (tmp_path / "keys/offsite.known").read_text() == "offsite ssh-ed25519 AAAA\n"
    key = tmp_path / "keys/offsite"
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (b"PRIVATE\n", 0o600)
    assert not store.own and store.key == str(tmp_path / "restic_password")


def test_a_key_that_is_no_base64_and_a_secret_that_is_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="the secret key of the copy offsite is not there"):
        SFTP.open("fleet", tmp_path, tmp_path / "keys")
    (tmp_path / "key").write_text("-----BEGIN")
    with pytest.raises(Failed, match="no SSH key in one line of base64"):
        SFTP.open("fleet", tmp_path, tmp_path / "keys")


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        copy = Copy("vault", f"rest:http://127.0.0.1:{port}/flotteq/")
        assert copy.open("fleet", tmp_path).place == copy.repository
    with pytest.raises(Failed, match=r"127\.0\.0\.1 does not answer: Connection refused"):
        copy.open("fleet", tmp_path)


def test_credentials_are_variables_of_restic_and_never_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user").write_text("me\n")
    told = json.dumps(
        {"name": "vault", "repository": "s3:s3.example.com/bucket", "credentials": {"RESTIC_REST_USERNAME": "user"}}
    )
    store = Copy.read(told).open("fleet", tmp_path, tmp_path / "keys")
    seen: list[Any] = []
    monkeypatch.setattr("flotteq_backup.process.run", lambda words, **more: seen.append((words, more)) or "")
    local = Restic("fleet", place="/backups/restic", key="/run/secrets/restic_password")
    store.copy(local, ["a"])
    local.copy(store, ["b"])
    where = ["--repo", "s3:s3.example.com/bucket", "--password-file", f"{tmp_path}/restic_password"]
    source = ["--from-repo", "/backups/restic", "--from-password-file", "/run/secrets/restic_password"]
    assert seen[0][0] == ["restic", "--quiet", *where, "copy", "--retry-lock", "10m", *source, "a"]
    assert [one[1]["environment"] for one in seen] == [{"RESTIC_REST_USERNAME": "me"}] * 2
    assert "me" not in seen[0][0] and "me" not in repr(store)
