"""Manifests, the ledger, promises: what is compared and what counts."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import postgres
from flotteq_backup.errors import Busy
from flotteq_backup.ledger import Ledger, alone
from flotteq_backup.settings import Settings

from flotteq_tasks.model.backup import Away, choose, joined, promises, read_everything, read_ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "tables": {"public.vehicles": [2, "17"], "public.events": [0, "0"]},
    "extensions": {"plpgsql": "1.0"},
    "encoding": "UTF8",
    "collate": "C",
    "ctype": "C",
    "relations": {"r": 2},
    "sequences": {"public.vehicles_id_seq": 2, "public.fresh_seq": None},
}


def test_an_equal_database_has_no_differences() -> None:
    assert postgres.differences(FACTS, copy.deepcopy(FACTS)) == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("tables", "public.vehicles"), [1, "17"], "table public.vehicles has 1 rows instead of 2"),
        (("tables", "public.vehicles"), [2, "18"], "table public.vehicles has other contents"),
        (("tables", "public.more"), [1, "1"], "table public.more is not in the manifest"),
        (("extensions", "vector"), "0.8.0", "extensions: plpgsql, vector instead of plpgsql"),
        (("relations", "r"), 1, "relations: {'r': 1} instead of {'r': 2}"),
        (("sequences", "public.vehicles_id_seq"), 1, "sequence public.vehicles_id_seq stands at 1 instead of 2"),
        (("sequences", "public.vehicles_id_seq"), None, "sequence public.vehicles_id_seq stands at None instead of 2"),
    ],
)
def test_one_difference_is_one_sentence(path: tuple[str, str], value: object, sentence: str) -> None:
    found = copy.deepcopy(FACTS)
    found[path[0]][path[1]] = value
    assert postgres.differences(FACTS, found) == [sentence]


@pytest.mark.parametrize(("hashed", "set_"), [("text", False), ("column", False), ("qualified", True)])
def test_names_have_their_schema_whatever_the_database_is_set_to(hashed: str, set_: bool) -> None:
    said: list[str] = []

    class Server:
        def ask(self, statement: str) -> list[str]:
            said.append(statement)
            return ["{}" if "json_build_object" in statement else "[]"]

    postgres.contents(Server(), hashed)  # type: ignore[arg-type]
    assert (said[0] == "set search_path=pg_catalog") is set_


def test_an_extension_of_the_images_own_version_is_said_and_no_difference() -> None:
    found = copy.deepcopy(FACTS)
    found["extensions"]["plpgsql"] = "1.1"
    assert postgres.differences(FACTS, found) == []
    assert postgres.moved_extensions(FACTS, found) == "plpgsql 1.1 instead of 1.0"
    assert postgres.moved_extensions(FACTS, FACTS) == ""


def test_a_missing_table_is_named() -> None:
    found = copy.deepcopy(FACTS)
    del found["tables"]["public.vehicles"]
    assert postgres.differences(FACTS, found) == ["table public.vehicles is missing"]


@pytest.mark.parametrize(("now", "turning"), [(9, []), (1, ["public.vehicles_id_seq"])])
def test_a_sequence_that_went_on_during_the_dump_is_no_difference(now: int, turning: list[str]) -> None:
    found = copy.deepcopy(FACTS)
    found["sequences"]["public.vehicles_id_seq"], found["turning"] = now, turning
    assert postgres.differences(FACTS, found) == []


def test_a_sequence_that_lost_its_value_is_a_difference_whichever_way_it_counts() -> None:
    found = copy.deepcopy(FACTS)
    found["sequences"]["public.vehicles_id_seq"], found["turning"] = None, ["public.vehicles_id_seq"]
    assert len(postgres.differences(FACTS, found)) == 1


@pytest.mark.parametrize("name", ['a"b', "a b", "a'b", "ä"])
def test_names_and_texts_are_quoted(name: str) -> None:
    assert postgres.ident(name) == '"' + name.replace('"', '""') + '"'
    assert postgres.text(name) == "'" + name.replace("'", "''") + "'"


def test_a_database_is_filled_from_standard_input_or_by_several_from_a_file() -> None:
    settings = Settings(name="fleet", jobs=3)
    common = (
        f"pg_restore --exit-on-error --no-owner --no-acl --role={settings.user} --no-password "
        f"--host {settings.server} --username {settings.user} --dbname new"
    ).split()
    assert postgres.restore_words(settings, "new", None) == common
    assert postgres.restore_words(settings, "new", Path("/a.dump")) == [*common, "--jobs=3", "/a.dump"]
    assert postgres.restore_words(settings, "new", None, whole=True) == [*common, "--single-transaction"]


def written(path: Path, *events: dict[str, Any]) -> Ledger:
    ledger = Ledger(path / "ledger.jsonl")
    for one in events:
        ledger.add(one.pop("event"), **one)
    return ledger


def taken(name: str, *, hours: int = 1, verified: bool = True, **more: Any) -> dict[str, Any]:
    created = datetime.fromtimestamp(NOW.timestamp() - hours * 3600, UTC).isoformat()
    parts = {"db": {"snapshot": "s", "size": 10, "files": 1, "added": 5}}
    return {
        "event": "set", "id": name, "created": created, "reason": "manual", "version": "v1.0.0", "parts": parts,
        "size": 10, "added": 5, "verified": verified, "seconds": 1.5, **more,
    }  # fmt: skip


def test_the_host_and_the_container_read_the_same_ledger(tmp_path: Path) -> None:
    ledger = written(
        tmp_path,
        taken("a"),
        taken("b", verified=False, problem="bit flip"),
        {"event": "verified", "id": "b", "ok": True},
        {"event": "verified", "id": "a", "ok": False, "problem": "pack missing"},
        {"event": "drilled", "id": "b", "ok": True, "seconds": 41.0},
        {"event": "copied", "id": "b", "to": "offsite"},
        taken("c"),
        {"event": "removed", "id": "c"},
    )
    sets = read_ledger(ledger.path.read_text())
    assert [(one.id, one.verified, one.problem) for one in sets] == [("a", False, "pack missing"), ("b", True, "")]
    assert sets[1].drilled is not None and sets[1].drilled.seconds == 41.0
    assert sets[1].copies == ("offsite",)
    assert list(ledger.sets()) == ["a", "b"]
    assert ledger.sets()["a"]["verified"] is False


def test_an_old_set_that_was_brought_back_is_not_the_newest(tmp_path: Path) -> None:
    ledger = written(
        tmp_path,
        taken("gone", hours=900), {"event": "copied", "id": "gone", "to": "vault"}, {"event": "removed", "id": "gone"},
        taken("old", hours=30),
        taken("new", hours=1),
        taken("gone", hours=900, verified=False), {"event": "verified", "id": "gone", "ok": True},
        taken("strange", hours=800, verified=False), {"event": "verified", "id": "strange", "ok": True},
    )  # fmt: skip
    sets = read_ledger(ledger.path.read_text())
    assert [one.id for one in sets] == list(ledger.sets()) == ["gone", "strange", "old", "new"]
    assert choose(sets, "latest", "db").id == "new"
    (promise,) = promises(sets, {"db": 26}, NOW)
    assert (promise.set, promise.kept) == ("new", True)


def test_a_set_that_only_a_copy_has_still_is_known_and_does_not_count_as_one_of_the_host(tmp_path: Path) -> None:
    ledger = written(
        tmp_path,
        taken("a"), {"event": "copied", "id": "a", "to": "offsite"}, {"event": "removed", "id": "a"},
        taken("b"), {"event": "copied", "id": "b", "to": "offsite"}, {"event": "removed", "id": "b"},
        {"event": "lost", "id": "b", "to": "offsite"},
        taken("c"),
    )  # fmt: skip
    text = ledger.path.read_text()
    assert [(one.id, one.where) for one in read_everything(text)] == [("a", ("offsite",)), ("c", ("host",))]
    assert [one.id for one in read_ledger(text)] == list(ledger.sets()) == ["c"]
    assert ledger.sets(gone=True)["a"]["gone"] is True


def test_what_other_repositories_say_of_themselves_counts_more_than_the_ledger(tmp_path: Path) -> None:
    text = written(
        tmp_path, taken("a"), {"event": "copied", "id": "a", "to": "offsite"},
        {"event": "copied", "id": "a", "to": "vault"},
    ).path.read_text()  # fmt: skip
    there = Away("stranger", "2026-11-01T02:17:00Z", {"db": 7})
    found = joined(read_everything(text), {"offsite": [there], "usb": []})
    assert [(one.id, one.where) for one in found] == [("stranger", ("offsite",)), ("a", ("host", "vault"))]
    assert (found[0].here, found[0].size) == (False, 7)


def test_a_line_that_a_power_cut_left_unfinished_counts_as_none(tmp_path: Path) -> None:
    ledger = written(tmp_path, taken("a"))
    with ledger.path.open("a") as file:
        file.write('{"event": "set", "id": "b", "cre')
    assert [one.id for one in read_ledger(ledger.path.read_text())] == ["a"]
    assert list(ledger.sets()) == ["a"]


def test_the_line_behind_an_unfinished_one_counts(tmp_path: Path) -> None:
    ledger = written(tmp_path, taken("a"))
    with ledger.path.open("a") as file:
        file.write('{"at": "2026-11-24T0')
    written(tmp_path, taken("b"))
    assert list(ledger.sets()) == [one.id for one in read_ledger(ledger.path.read_text())] == ["a", "b"]


def test_a_promise_is_kept_by_the_newest_verified_set_only(tmp_path: Path) -> None:
    text = written(tmp_path, taken("old", hours=30), taken("bad", hours=1, verified=False)).path.read_text()
    broken, absent = promises(read_ledger(text), {"db": 26, "uploads": 192}, NOW)
    assert (broken.kept, broken.set, round(broken.age or 0)) == (False, "old", 30)
    assert (absent.kept, absent.age) == (False, None)
    (kept,) = promises(read_ledger(text), {"db": 31}, NOW)
    assert kept.kept


def test_a_copy_promises_what_the_host_promises(tmp_path: Path) -> None:
    ledger = written(
        tmp_path,
        taken("old", hours=30),
        {"event": "copied", "id": "old", "to": "offsite"},
        taken("new"),
        {"event": "copied", "id": "new", "to": "offsite"},
        {"event": "lost", "id": "new", "to": "offsite"},
    )
    found = promises(read_ledger(ledger.path.read_text()), {"db": 26}, NOW, ["offsite", "vault"])
    assert [(one.where, one.set, one.kept) for one in found] == [
        ("", "new", True), ("offsite", "old", False), ("vault", "", False),
    ]  # fmt: skip
    assert ledger.sets()["new"]["copies"] == []


def test_two_programs_do_not_work_on_one_repository(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(Busy), alone(tmp_path):
        raise AssertionError("two at once")
    with alone(tmp_path):
        assert (tmp_path / "lock").exists()


def test_the_ledger_is_json_a_line(tmp_path: Path) -> None:
    lines = written(tmp_path, taken("a\nb")).path.read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a\nb"]
