"""Which release a rollback means, which migrations it crosses, and the dump from before them."""

import pytest

from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.release import FAILED, Release
from flotteq_tasks.operations.releases import Listed, choose, crossed, first_with

OLD = Release("1-v1", "v1", {}, migrations=("a",))
FAILING = Release("2-v2", "v2", {}, migrations=("a", "b"), result=FAILED)
MIDDLE = Release("3-v2", "v2", {}, migrations=("a", "b"))
LIVE = Release("4-v3", "v3", {}, migrations=("a", "b", "c"))
KNOWN = [Listed(LIVE, True), Listed(MIDDLE, False), Listed(FAILING, False), Listed(OLD, False)]


@pytest.mark.parametrize(("to", "found"), [("", MIDDLE), ("v1", OLD), ("3-v2", MIDDLE), ("v2", MIDDLE)])
def test_the_release_that_is_meant(to: str, found: Release) -> None:
    assert choose(KNOWN, to) is found


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [("v3", 2, "v3 is live already"), ("v9", 1, "no good release v9"), ("2-v2", 1, "no good release 2-v2")],
)
def test_a_release_that_cannot_be_gone_back_to(to: str, code: int, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        choose(KNOWN, to)
    assert caught.value.exit_code == code


def test_what_is_crossed_is_what_the_target_does_not_know() -> None:
    assert crossed(LIVE, OLD) == ["b", "c"]
    assert crossed(LIVE, Release("0", "v0", {})) == [], "a release that told no migrations crosses nothing"


def test_the_dump_from_before_is_that_of_the_first_release_that_applied_one() -> None:
    assert first_with(KNOWN, ["b", "c"]) is FAILING
    assert first_with(KNOWN, ["c"]) is LIVE
    assert first_with(KNOWN, []) is None
