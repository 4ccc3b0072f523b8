"""Which release a rollback means, which migrations it crosses, and the dump from before them."""

from dataclasses import replace

import pytest

from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.release import FAILED, Release
from flotteq_tasks.operations.releases import Listed, choose, crossed, difference, first_with
from flotteq_tasks.operations.retention import kept_releases

OLD = Release("1-v1", "v1", {}, migrations=("a",))
FAILING = Release("2-v2", "v2", {}, migrations=("a", "b"), result=FAILED)
MIDDLE = Release("3-v2", "v2", {}, migrations=("a", "b"))
LIVE = Release("4-v3", "v3", {}, migrations=("a", "b", "c"))
KNOWN = [Listed(LIVE, True), Listed(MIDDLE, False), Listed(FAILING, False), Listed(OLD, False)]


@pytest.mark.parametrize(("to", "found"), [("", MIDDLE), ("v1", OLD), ("3-v2", MIDDLE), ("v2", MIDDLE), ("v3", LIVE)])
def test_the_release_that_is_meant(to: str, found: Release) -> None:
    assert choose(KNOWN, to) is found


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [("v9", 1, "no good release v9"), ("2-v2", 1, "no good release 2-v2")],
)
def test_a_release_that_cannot_be_gone_back_to(to: str, code: int, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        choose(KNOWN, to)
    assert caught.value.exit_code == code


def test_an_unknown_release_cannot_be_compared_and_what_exists_is_listed() -> None:
    with pytest.raises(UsageError, match="there is no release v9") as caught:
        difference(KNOWN, "v1", "v9")
    assert (caught.value.exit_code, caught.value.hint) == (1, "releases on the host: v3, v2, v1")


BACK = Release("5-v2", "v2", {}, previous="4-v3", again="3-v2")


def test_a_second_rollback_goes_further_back_and_not_to_what_was_rolled_back_from() -> None:
    chain = [replace(MIDDLE, previous="1-v1"), replace(LIVE, previous="3-v2")]
    known = [Listed(BACK, True), *(Listed(one, False) for one in reversed(chain)), Listed(OLD, False)]
    assert choose(known, "") is OLD


def test_after_a_deploy_upon_a_rollback_the_way_back_is_the_rollback() -> None:
    next_one = Release("6-v4", "v4", {}, previous="5-v2")
    assert choose([Listed(next_one, True), Listed(BACK, False), *map(_past, KNOWN)], "") is BACK


def test_where_retention_took_the_release_from_before_the_next_older_one_is_meant() -> None:
    known = [Listed(replace(LIVE, previous="gone"), True), Listed(MIDDLE, False), Listed(OLD, False)]
    assert choose(known, "") is MIDDLE


def test_after_a_rollback_to_the_oldest_there_is_nothing_earlier() -> None:
    back = Release("5-v1", "v1", {}, previous="4-v3", again="1-v1")
    with pytest.raises(UsageError, match="no earlier good release"):
        choose([Listed(back, True), *map(_past, KNOWN)], "")


def _past(one: Listed) -> Listed:
    return replace(one, live=False)


def test_what_is_crossed_is_what_the_target_does_not_know() -> None:
    assert crossed(LIVE, OLD) == ["b", "c"]
    assert crossed(LIVE, Release("0", "v0", {})) == [], "a release that told no migrations crosses nothing"


def test_the_dump_from_before_is_that_of_the_first_release_that_applied_one() -> None:
    assert first_with(KNOWN, ["b", "c"]) is FAILING
    assert first_with(KNOWN, ["c"]) is LIVE
    assert first_with(KNOWN, []) is None


def test_many_releases_of_one_version_do_not_push_out_another_version() -> None:
    many = [Listed(Release(f"{number}-v2", "v2", {}), number == 9) for number in range(9, 3, -1)]
    kept = kept_releases([*many, *map(_past, KNOWN)], 3)
    assert [one.release.id for one in kept] == ["9-v2", "8-v2", "7-v2", "4-v3", "1-v1", "2-v2"]
