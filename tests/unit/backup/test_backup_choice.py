"""Which set a person means, and how an answer's fields are compared."""

import dataclasses
import re
import subprocess

import pytest

from flotteq_tasks.commands import swapping
from flotteq_tasks.model.backup import BackupSet, choose
from flotteq_tasks.model.errors import UsageError


def one(name: str, *, verified: bool = True, reason: str = "manual", part: str = "db") -> BackupSet:
    return BackupSet(
        id=name, created="2026-11-24T02:17:00+00:00", reason=reason, version="v1.0.0", parts={part: 10}, size=10,
        added=5, verified=verified,
    )  # fmt: skip


SETS = [
    one("20261122T021700Z-aaaa"),
    one("20261123T021700Z-bbbb", reason="pre-deploy v1.2.0"),
    one("20261123T041700Z-cccc"),
    one("20261124T021700Z-dddd", part="uploads"),
    one("20261124T031700Z-eeee", verified=False),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("latest", "cccc"), ("pre-deploy", "bbbb"), ("20261122", "aaaa"), ("20261124T031700Z-eeee", "eeee")],
)
def test_the_newest_verified_set_or_the_one_that_was_named(wanted: str, found: str) -> None:
    assert choose(SETS, wanted, "db").id.endswith(found)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("1999", "there is no set 1999 with db"),
        ("20261123", "more than one set begins with 20261123"),
        ("20261124T021700Z-dddd", "there is no set 20261124T021700Z-dddd with db"),
        ("", "there is no set  with db"),
    ],
)
def test_what_is_not_there_is_refused_with_the_newest_names(wanted: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        choose(SETS, wanted, "db")
    assert "20261124T031700Z-eeee" in caught.value.hint


def test_a_set_that_only_a_copy_has_is_refused_with_the_command_that_brings_it() -> None:
    away = dataclasses.replace(one("20261101T021700Z-ffff"), here=False, copies=("offsite",))
    with pytest.raises(UsageError, match="does not have set 20261101T021700Z-ffff any more, only offsite") as caught:
        choose([away, *SETS], "20261101", "db")
    assert caught.value.hint == "inv backup.fetch --copy offsite --set 20261101T021700Z-ffff"


def test_latest_is_never_a_set_that_is_not_verified() -> None:
    with pytest.raises(UsageError, match="there is no verified set latest"):
        choose(SETS[-1:], "latest", "db")


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ('{"status":"ok","database":"connected"}', True),
        ('{ "status": "ok", "database" : "connected", "x": 1 }', True),
        ('{"status":"ok","database":"disconnected: connected"}', False),
        ('{"status":"ok","database":"connectedly"}', False),
        ('{"status":"okay","database":"connected"}', False),
    ],
)
def test_fields_of_an_answer_are_compared_whole(body: str, good: bool) -> None:
    patterns = swapping.field_patterns({"status": "ok", "database": "connected"})
    found = [
        subprocess.run(["grep", "-qE", one], input=body, text=True, check=False).returncode == 0 for one in patterns
    ]
    assert all(found) is good


def test_special_characters_of_a_value_are_not_a_pattern() -> None:
    (pattern,) = swapping.field_patterns({"a.version": "1.2+x"})
    assert re.search(r'"version"', pattern) and "1\\.2\\+x" in pattern
