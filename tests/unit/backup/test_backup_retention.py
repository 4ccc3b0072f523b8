"""What retention removes, and what it never does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flotteq_backup.errors import Failed
from flotteq_backup.retention import Keep, guard, plan
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
KEEP = Keep()


def one(days: float, *, verified: bool = True, parts: tuple[str, ...] = ("db",), keep_days: int = 0) -> dict[str, Any]:
    moment = NOW - timedelta(days=days)
    return {
        "id": f"{moment:%Y%m%dT%H%M%S}", "created": moment.isoformat(), "verified": verified,
        "parts": {part: {} for part in parts}, "keep_days": keep_days,
    }  # fmt: skip


def nightly(nights: int) -> list[dict[str, Any]]:
    return [one(day) for day in range(nights, 0, -1)]


def test_a_year_of_nights_shrinks_to_days_weeks_months() -> None:
    sets = nightly(400)
    found = plan(sets, KEEP, NOW)
    assert len(found.keep) == len(sets) - len(found.remove)
    assert 7 + 3 + 9 <= len(found.keep) <= 7 + 5 + 12 + 2
    assert sets[-1]["id"] in found.keep and sets[-7]["id"] in found.keep


@hypothesis(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 900), st.booleans(), st.sampled_from([("db",), ("uploads",), ("db", "certs")])),
             max_size=40),
    st.tuples(*[st.integers(0, 4)] * 5),
)  # fmt: skip
def test_the_newest_verified_set_of_every_part_always_stays(drawn: list[Any], numbers: tuple[int, ...]) -> None:
    sets = sorted((one(days, verified=good, parts=parts) for days, good, parts in drawn), key=lambda it: it["created"])
    found = plan(sets, Keep(*numbers), NOW)
    for part in ("db", "uploads", "certs"):
        good = [it["id"] for it in sets if it["verified"] and part in it["parts"]]
        assert not good or good[-1] in found.keep


def test_sets_that_are_not_verified_push_no_good_one_out() -> None:
    sets = [one(20), one(19), one(18), *[one(day, verified=False) for day in range(17, 2, -1)]]
    assert {it["id"] for it in sets[:3]} <= set(plan(sets, KEEP, NOW).keep)


def test_what_was_taken_before_a_deploy_stays_its_days() -> None:
    kept, gone = one(13, keep_days=14), one(15, keep_days=14)
    found = plan([gone, kept, *nightly(9)], Keep(1, 0, 0, 0, 0), NOW)
    assert kept["id"] in found.keep and gone["id"] in found.remove


def test_nothing_young_goes() -> None:
    sets = [one(hour / 24) for hour in range(47, 0, -1)]
    assert plan(sets, Keep(1, 0, 0, 0, 0), NOW).remove == []


@pytest.mark.parametrize(
    ("sets", "last", "sentence"),
    [
        ([*nightly(30), one(-2)], "", "from the future"),
        (nightly(30), (NOW + timedelta(hours=5)).isoformat(), "from the future"),
        ([*nightly(30), one(0.1, verified=False)], "", "is not verified"),
        (nightly(400), "", "would go at once"),
    ],
    ids=["a set of tomorrow", "clock moved back", "last run failed", "too many"],
)
def test_a_plan_that_only_a_mistake_explains_is_refused(sets: list[Any], last: str, sentence: str) -> None:
    found = plan(sets, Keep(1, 1, 0, 0, 0), NOW)
    assert found.remove
    with pytest.raises(Failed, match=sentence):
        guard(sets, found, last, NOW, many=False)


def test_many_may_go_when_a_person_says_so() -> None:
    sets = nightly(400)
    guard(sets, plan(sets, KEEP, NOW), NOW.isoformat(), NOW, many=True)


def test_a_usual_night_is_not_refused() -> None:
    sets = nightly(30)
    kept = plan(sets, KEEP, NOW)
    rest = [it for it in sets if it["id"] in kept.keep]
    later = NOW + timedelta(days=3)
    guard(rest, plan(rest, KEEP, later), NOW.isoformat(), later, many=False)
