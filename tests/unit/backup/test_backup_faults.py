"""What goes wrong around a restore is refused in one sentence, and the database that was being filled is gone."""

import argparse
import copy
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import __main__ as program
from flotteq_backup import backup, postgres, process, restore
from flotteq_backup.errors import Failed, NotVerified
from flotteq_backup.ledger import Ledger
from flotteq_backup.relay import Gate, relay
from flotteq_backup.restic import Restic
from flotteq_backup.settings import Settings
from unit_support import fake_program

DUMP = b"PGDMP" + bytes(range(256)) * 40
FACTS: dict[str, Any] = {
    "server": "15.18 (Debian)", "tables": {"public.a": [2, "7"]}, "extensions": {"plpgsql": "1.0", "postgis": "3"},
    "encoding": "UTF8", "collate": "C", "ctype": "C", "relations": {"r": 1}, "sequences": {},
}  # fmt: skip
PART: dict[str, Any] = {
    "snapshot": "s", "path": "/flotteq.dump", "size": len(DUMP), "sha256": hashlib.sha256(DUMP).hexdigest(),
    "facts": FACTS,
}  # fmt: skip
DOCUMENT = {"id": "set-1", "parts": {"db": PART}}


class Store(Restic):
    """Gives back what it is told to, whatever was written."""

    def __init__(self, content: bytes) -> None:
        super().__init__("fleet-test")
        object.__setattr__(self, "content", content)

    def fetch(self, snapshot: str, path: str, target: Path, *, limit: float = 0) -> tuple[str, int]:
        content: bytes = self.content  # type: ignore[attr-defined]
        target.write_bytes(content)
        return hashlib.sha256(content).hexdigest(), len(content)

    def pour(self, snapshot: str, path: str, consumer: Sequence[str], gate: Gate, **_: Any) -> None:
        content: bytes = self.content  # type: ignore[attr-defined]
        take = "import sys; sys.stdin.buffer.read()"
        relay([sys.executable, "-c", f"import os; os.write(1, {content!r})"], [sys.executable, "-c", take], gate)


class Session:
    """Answers like a server of version 15 without PostGIS."""

    said: list[str]
    available = ("plpgsql", "amcheck")
    version = "15.4"

    def __init__(self, *_: Any, **__: Any) -> None:
        return

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def ask(self, statement: str) -> list[str]:
        self.said.append(statement)
        if "pg_available_extensions" in statement:
            return list(self.available)
        return [self.version] if statement.startswith("show") else []


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that Postgres was sent; its programs succeed."""
    monkeypatch.setattr(Session, "said", [], raising=False)
    monkeypatch.setattr(postgres, "Session", Session)
    monkeypatch.setattr(
        process, "run", lambda words, **_: "pg_dump (PostgreSQL) 15.18" if words[0] == "pg_dump" else ""
    )
    monkeypatch.setattr(Session, "available", ("plpgsql", "postgis"))
    monkeypatch.setattr(postgres, "contents", lambda *_: FACTS)
    return Session.said


def beside(place: Path, content: bytes = DUMP, *, jobs: int = 2) -> restore.Beside:
    return restore.Beside(Settings(name="fleet-test", place=place, jobs=jobs), Store(content), DOCUMENT, "new")


def dropped(said: list[str]) -> bool:
    """Whether the last word was to remove the database that was being filled."""
    return said[-1] == 'drop database if exists "new" with (force)'


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "one byte less": lambda whole: whole[:-1],
    "one per cent less": lambda whole: whole[: len(whole) * 99 // 100],
    "one per cent of it": lambda whole: whole[: len(whole) // 100],
    "nothing": lambda _: b"",
    "one bit flipped": lambda whole: whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
    "line ends of a terminal": lambda whole: whole.replace(b"\n", b"\r\n"),
    "another dump of the same size": lambda whole: b"PGDMP" + b"x" * (len(whole) - 5),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=list(CUTS))
def test_a_dump_that_is_not_what_was_written_is_restored_into_nothing(
    tmp_path: Path, said: list[str], cut: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(NotVerified, match="the dump of set set-1 is not what was written: nothing of it is used"):
        beside(tmp_path, cut(DUMP)).make()
    assert not [one for one in said if one.startswith("create database")]
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("cut", CUTS.values(), ids=list(CUTS))
def test_a_dump_that_comes_as_a_stream_and_is_not_what_was_written_leaves_no_database(
    tmp_path: Path, said: list[str], cut: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(NotVerified, match="the dump of set set-1 is not what was written: nothing of it is used"):
        beside(tmp_path, cut(DUMP), jobs=1).make()
    assert dropped(said)


def test_a_dump_that_comes_as_a_stream_needs_no_room(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _disk(monkeypatch, free=0)
    assert beside(tmp_path, jobs=1).make()["rows"] == 2


@pytest.mark.parametrize(
    ("rows", "sentence"), [([1, "7"], "has 1 rows instead of 2"), ([2, "8"], "has other contents")],
)  # fmt: skip
def test_a_dump_that_fills_half_of_it_is_seen_and_gone(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, rows: list[Any], sentence: str
) -> None:
    monkeypatch.setattr(postgres, "contents", lambda *_: {**FACTS, "tables": {"public.a": rows}})
    with pytest.raises(NotVerified, match=sentence):
        beside(tmp_path).make()
    assert dropped(said)


@pytest.mark.parametrize(("mark", "way"), [({}, "text"), ({"hashed": "column"}, "column")])
def test_rows_are_hashed_as_those_of_the_set_were(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, mark: dict[str, str], way: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(postgres, "contents", lambda *given: asked.append(given[1]) or FACTS)
    document = copy.deepcopy(DOCUMENT)
    document["parts"]["db"]["facts"].update(mark)
    restore.Beside(Settings(name="fleet-test", place=tmp_path, jobs=2), Store(DUMP), document, "new").make()
    assert asked == [way]


def test_a_pg_restore_that_fails_leaves_no_database(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(words: list[str], **_: Any) -> str:
        if words[0] == "pg_restore":
            raise Failed("pg_restore ended with exit code 1: No space left on device")
        return "pg_dump (PostgreSQL) 15.18"

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(Failed, match="No space left on device"):
        beside(tmp_path).make()
    assert dropped(said)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_restored_index_that_differs_from_its_table_is_seen_and_gone(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*_: Any, **__: Any) -> str:
        raise Failed("pg_amcheck ended with exit code 2")

    monkeypatch.setattr(postgres, "check_indexes", check)
    with pytest.raises(Failed, match="pg_amcheck"):
        beside(tmp_path).make()
    assert dropped(said)


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (("14.2", ("plpgsql", "postgis")), r"the server is Postgres 14\.2, the backup image has"),
        (("16.1", ("plpgsql", "postgis")), r"the server is Postgres 16\.1, the backup image has"),
        (("15.4", ("plpgsql",)), "the server lacks the extensions postgis"),
    ],
)
def test_a_server_that_cannot_take_the_set_is_refused_before_anything(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, server: Any, sentence: str
) -> None:
    monkeypatch.setattr(Session, "version", server[0])
    monkeypatch.setattr(Session, "available", server[1])
    with pytest.raises(Failed, match=sentence):
        beside(tmp_path).make()
    assert not [one for one in said if "database" in one]


def test_a_set_of_a_newer_server_is_refused(tmp_path: Path, said: list[str]) -> None:
    one = restore.Beside(
        Settings(name="fleet-test", place=tmp_path), Store(DUMP),
        {"id": "set-1", "parts": {"db": {**PART, "facts": {**FACTS, "server": "16.1"}}}}, "new",
    )  # fmt: skip
    with pytest.raises(Failed, match=r"the set is of Postgres 16\.1, the server is 15\.4"):
        one.make()


def _disk(monkeypatch: pytest.MonkeyPatch, *, free: int) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 << 20, 0, free))


def test_a_dump_without_room_beside_the_repository_is_not_fetched(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _disk(monkeypatch, free=len(DUMP) - 1)
    with pytest.raises(Failed, match="MiB are free for the dump"):
        beside(tmp_path).make()
    assert dropped(said)


@pytest.mark.parametrize(("free", "fits"), [(4 << 20, False), (6 << 20, True)])
def test_a_backup_leaves_a_reserve_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    _disk(monkeypatch, free=free)
    taking = backup.Taking(Settings(place=tmp_path), Store(b""), Ledger(tmp_path / "ledger.jsonl"))
    if fits:
        taking._room()
    else:
        with pytest.raises(Failed, match="4 MiB are free for backups, 5 are needed"):
            taking._room()


def test_snapshots_carry_a_name_that_does_not_change_with_the_container() -> None:
    """Retention would else find no two of one kind, and remove nothing for ever."""
    found: list[list[str]] = []

    class Listening(Restic):
        def _run(self, *words: str, **_: Any) -> str:
            found.append(list(words))
            return "[]"

    Listening("fleet-test").snapshots("part=db")
    assert found == [["snapshots", "--json", "--host", "fleet-test", "--tag", "part=db"]]


# Like restic: the snapshot exists, exit code 3 says that a file could not be read.
_RESTIC = """#!/bin/sh
case "$*" in
  *" ls "*|*dump*|*forget*) exit 0 ;;
  *) cat >/dev/null; echo '{"message_type": "error", "error": {"message": "x"}, "item": "/src/a.jpg"}' >&2
     echo '{"message_type": "summary", "snapshot_id": "s", "total_bytes_processed": '$SIZE', '\\
    '"total_files_processed": 2, "data_added": 1}'; case "$*" in *--stdin*) exit 0 ;; *) exit 3 ;; esac ;;
esac
"""


def test_a_file_that_could_not_be_read_makes_a_set_that_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uploads").mkdir()
    program = tmp_path / "bin" / "restic"
    program.parent.mkdir()
    program.write_text(_RESTIC.replace("$SIZE", "0"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    saved = Restic("fleet-test").save_tree(str(tmp_path / "uploads"), ["part=uploads"])
    assert saved.complete is False
    settings = Settings(place=tmp_path, state=tmp_path, sources={"uploads": str(tmp_path / "uploads")})
    ledger = Ledger(tmp_path / "ledger.jsonl")
    monkeypatch.setattr(backup.manifest, "save", lambda *_: "m")
    with pytest.raises(NotVerified, match=r"files of uploads could not be read, the first of 1: /src/a\.jpg"):
        backup.Taking(settings, Restic("fleet-test"), ledger).take(["uploads"])
    (entry,) = ledger.sets().values()
    assert (entry["verified"], entry["problem"]) == (
        False, "files of uploads could not be read, the first of 1: /src/a.jpg",
    )  # fmt: skip


def test_a_visitors_file_keeps_no_directory_out_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    body = (
        f'echo "$*" >{said}; echo {{\\"message_type\\": \\"summary\\", \\"snapshot_id\\": \\"s\\", '
        '\\"total_bytes_processed\\": 0, \\"total_files_processed\\": 0}'
    )
    fake_program(tmp_path / "bin", "restic", body)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert Restic("fleet-test").save_tree("/src/uploads", ["part=uploads"]).complete
    words = [word for word in said.read_text().split() if word.startswith("--exclude")]
    assert words == ["--exclude=/src/uploads/.flotteq-restore"]


@pytest.mark.parametrize("hurt", [["old"], ["old", "new"], []])
def test_what_a_check_finds_is_said_of_the_sets_that_lack_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hurt: list[str]
) -> None:
    work = program.Program(Settings(place=tmp_path))
    for day, name in enumerate(("old", "new"), 1):
        created, parts = f"2026-11-0{day}T00:00:00Z", {"db": {"snapshot": name}}
        work.ledger.add("set", id=name, created=created, verified=True, manifest=name, parts=parts, reason="manual")
    read: list[str] = []

    def read_back(store: Restic, document: dict[str, Any]) -> str:
        # The first look goes through the cache.
        if "--no-cache" in store.options:
            read.append(document["id"])
            if document["id"] in hurt:
                raise Failed("a piece is missing")
        return ""

    def check(*_: Any, **__: Any) -> None:
        raise Failed("repository contains errors")

    monkeypatch.setattr(Restic, "check", check)
    monkeypatch.setattr(program.Program, "learn", lambda _: None)
    monkeypatch.setattr(program.Program, "document", lambda _, one, *__: {"id": one["id"], "parts": one["parts"]})
    monkeypatch.setattr(backup, "verify", read_back)
    with pytest.raises(NotVerified, match="damaged"):
        work.verify(argparse.Namespace(id="latest", data="100%", to=[]))
    assert read == ["new", "old"]
    assert [name for name, one in work.ledger.sets().items() if not one["verified"]] == hurt


def test_a_program_that_is_watched_ends_when_the_watch_says_so() -> None:
    def full() -> None:
        raise Failed("12 MiB left")

    started = time.monotonic()
    with pytest.raises(Failed, match="12 MiB left"):
        process.run(["sleep", "30"], watch=full)
    assert time.monotonic() - started < 20
    assert process.run(["cat"], text="said once", watch=lambda: None) == "said once"


def test_a_program_whose_time_is_over_is_stopped_and_its_last_words_are_the_reason() -> None:
    words = ["sh", "-c", "echo 'retrying: the bucket does not exist' >&2; sleep 30"]
    with pytest.raises(Failed, match="sh did not end within 1 s and was stopped: retrying: the bucket does not exist"):
        process.run(words, limit=1)


@pytest.mark.parametrize(("free", "fits"), [(63 << 20, False), (64 << 20, True)])
def test_a_restore_does_not_fill_the_disk_of_the_server(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    _disk(monkeypatch, free=free)
    (tmp_path / "data").mkdir()
    settings = Settings(name="fleet-test", place=tmp_path, data=tmp_path / "data")
    one = restore.Beside(settings, Store(DUMP), DOCUMENT, "new")
    if fits:
        one.make()
    else:
        with pytest.raises(Failed, match="the database's disk has 63 MiB left, 64 stay free"):
            one.make()
        assert not [word for word in said if word.startswith("create database")]
        assert dropped(said)


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, "psql", "read one; read two; echo @@; sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    began = time.monotonic()
    with postgres.Session(Settings(), "x", limit=0.5) as session, pytest.raises(Failed) as caught:
        session.ask("select pg_sleep(60)")
    assert caught.value.message == "Postgres did not answer within 0.5 s"
    assert time.monotonic() - began < 10


def test_notices_do_not_hold_up_a_session_and_its_last_words_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = "read one; read two; echo @@"
    notices = "i=0; while [ $i -lt 4000 ]; do echo 'NOTICE:  a column is skipped, one of many' >&2; i=$((i+1)); done"
    end = "read one; echo 'ERROR:  out of memory' >&2; exit 3"
    fake_program(tmp_path, "psql", f"{answer}; {notices}; {answer}; {end}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with postgres.Session(Settings(), "x", limit=5) as session:
        assert session.ask("vacuum") == []
        with pytest.raises(Failed) as caught:
            session.ask("select 1")
    assert caught.value.message == "psql ended with exit code 3: ERROR:  out of memory"


def test_a_program_without_an_end_is_a_result_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(*_: Any) -> None:
        raise subprocess.TimeoutExpired(["restic", "backup"], 14400)

    monkeypatch.setattr(Settings, "read", lambda _: Settings(place=tmp_path))
    monkeypatch.setattr(program, "give_credentials", lambda _: None)
    monkeypatch.setattr(program.Program, "copy", late)
    assert program.main(["copy"], {}) == 1
    assert capsys.readouterr().out == '@@failed {"message": "restic did not end within 14400 s and was killed"}\n'


def test_the_reason_of_a_locked_repository_is_who_holds_it() -> None:
    held = "unable to create lock in backend: repository is already locked exclusively by PID 7 on a by root"
    error = process.failed("restic", 11, f"{held}\nthe `unlock` command can be used to remove stale locks")
    assert error.message == f"restic ended with exit code 11: {held}"
    assert process.failed("pg_amcheck", 2, "").message == "pg_amcheck ended with exit code 2"
