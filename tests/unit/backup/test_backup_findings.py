"""What the doctor of the backups sees."""

import dataclasses

import pytest

from flotteq_tasks.model.backup import BackupSet
from flotteq_tasks.operations.backup.findings import sizes

ONE = BackupSet("a", "2026-11-24T02:17:00Z", "manual", "v1.0.0", {"db": 100 << 10}, 0, 0, verified=True)


def night(kib: int, *, verified: bool = True) -> BackupSet:
    return dataclasses.replace(ONE, parts={"db": kib << 10}, verified=verified)


@pytest.mark.parametrize(
    ("nights", "good"),
    [
        ([100, 110, 105, 98], True),
        ([100, 110, 105, 49], False),
        ([100, 110, 105, 400], False),
        # Who shrinks it on purpose is told until the median has followed.
        ([100, 100, 100, 10, 10, 10, 10, 10], True),
    ],
)
def test_a_set_that_is_suddenly_of_another_size_is_seen(nights: list[int], good: bool) -> None:
    (found,) = sizes([night(one) for one in nights])
    assert (found.what, found.ok) == ("size of db", good)


def test_of_a_few_sets_nothing_is_said_and_what_is_not_verified_does_not_count() -> None:
    assert list(sizes([night(100), night(100), night(1)])) == []
    assert list(sizes([night(100), night(100), night(1, verified=False), night(100)])) == []
