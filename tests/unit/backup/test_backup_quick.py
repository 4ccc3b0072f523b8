"""The set of a deploy: its manifest waits beside the repository until the next run of the program."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import backup, manifest
from flotteq_backup.__main__ import Program
from flotteq_backup.errors import Failed
from flotteq_backup.restic import Restic, Saved
from flotteq_backup.settings import Settings

DOCUMENT = {"id": "20261125T010203Z-aaaa", "name": "fleet-test"}


class Store(Restic):
    """Keeps what it is asked to save; refuses as long as there is no repository."""

    def __init__(self, *, there: bool = True) -> None:
        super().__init__("fleet-test")
        object.__setattr__(self, "there", there)
        object.__setattr__(self, "asked", [])

    def ensure(self) -> bool:
        self.asked.append("ensure")
        object.__setattr__(self, "there", True)
        return True

    def save_stream(self, producer: Any, path: str, tags: Any, gate: Any) -> Saved:
        self.asked.append(path)
        if not self.there:
            raise Failed("restic ended with exit code 10: unable to open config file")
        return Saved(f"s{len(self.asked)}", 600, 1, 100, sha256="h")

    def snapshots(self, *tags: str) -> list[dict[str, Any]]:
        return []

    def forget(self, snapshots: Any, *, prune: bool = False) -> None:
        self.asked.append("forget")


class Session:
    def __init__(self, *_: Any, **__: Any) -> None:
        return

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def ask(self, statement: str) -> list[str]:
        return ["15.1"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr(backup.postgres, "Session", Session)
    monkeypatch.setattr(backup.postgres, "require_same_major", lambda _: "15.1")
    monkeypatch.setattr(backup.postgres, "contents", lambda *_: {"tables": {"public.a": [2, "7"]}, "size": 9})
    made = Program(Settings(name="fleet-test", place=tmp_path, state=tmp_path))
    made.store = Store()
    made.settings.repository.mkdir()
    (made.settings.repository / "config").touch()
    return made


def given(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"reason": "pre-deploy r2", "keep_days": 14, "quick": True, "part": ["db"], **changes})


def test_one_run_of_restic_is_enough(program: Program) -> None:
    found = program.run(given())
    assert program.store.asked == ["/flotteq.dump"]  # type: ignore[attr-defined]
    assert (found["verified"], found["reason"], found["keep_days"]) == (True, "pre-deploy r2", 14)
    (path,) = manifest.waiting(program.settings.place)
    assert json.loads(path.read_text())["parts"]["db"]["sha256"] == "h"
    assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0


def test_a_repository_is_made_where_there_is_none(program: Program) -> None:
    program.store = Store(there=False)
    assert program.run(given())["id"]
    assert program.store.asked == ["/flotteq.dump", "forget", "ensure", "/flotteq.dump"]


def test_of_a_database_without_a_table_there_is_no_set(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup.postgres, "contents", lambda *_: {"tables": {}, "size": 9})
    assert program.run(given()) == {"id": "", "parts": {}}
    assert program.ledger.sets() == {}


def test_the_next_run_puts_the_manifest_into_the_repository(program: Program) -> None:
    name = program.run(given())["id"]
    assert program.ledger.sets()[name]["manifest"] == ""
    assert program.choose("pre-deploy", "db")["manifest"] == "s2"
    assert manifest.waiting(program.settings.place) == []
    assert program.store.asked == ["/flotteq.dump", "/flotteq.manifest"]  # type: ignore[attr-defined]


def test_another_failure_is_no_reason_to_try_again(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Saved:
        raise Failed("pg_dump ended with exit code 1")

    monkeypatch.setattr(Store, "save_stream", fails)
    with pytest.raises(Failed, match="pg_dump ended"):
        program.run(given())
    assert manifest.waiting(program.settings.place) == []
