"""Volumes: only the project's own can be looked at."""

import pytest
from unit_support import Events, fleet

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.control import inspect_volume


class _Engine(ComposeEngine):
    def facts(self) -> Facts:
        return Facts(volumes=frozenset({"fleet_store_data", "fleet_cache_data", "ab12cd", "other_store_data"}))


def _site() -> Site:
    host, settings = FakeHost({"docker inspect *": '{"Name": "it"}'}), fleet()
    return Site(settings, host, _Engine(host, settings), Events().report)


@pytest.mark.parametrize("name", ["nope", "ab12cd", "other_store_data"])
def test_a_volume_of_somebody_else_is_neither_shown_nor_suggested(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        inspect_volume(_site(), name)
    assert caught.value.message == f"volume '{name}' does not exist"
    assert not {"ab12cd", "other_store_data"} & set(caught.value.hint.replace(",", "").split())


@pytest.mark.parametrize("name", ["store_data", "fleet_store_data"])
def test_a_volume_is_named_with_or_without_the_project(name: str) -> None:
    site = _site()
    assert inspect_volume(site, name) == {"Name": "it"}
    assert site.host.transcript[-1].endswith(" fleet_store_data")  # type: ignore[attr-defined]
