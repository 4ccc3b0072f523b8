"""Volumes: only the project's own can be looked at, and nothing is copied or exchanged under who writes to it."""

import re

import pytest
from unit_support import Events, fleet

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host import interruption
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.backup import BackupSet
from flotteq_tasks.model.errors import ExitCode, Interrupted, UsageError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.stack import Service, ServiceBuild
from flotteq_tasks.operations.backup import settling, trees, volumes
from flotteq_tasks.operations.backup.volumes import Volume
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.control import inspect_volume


class _Engine(ComposeEngine):
    def facts(self) -> Facts:
        own = frozenset({"fleet_store_data", "fleet_cache_data"})
        return Facts(volumes=own | {"ab12cd", "other_store_data", "fleet_staging_store_data"}, own_volumes=own)


def _site() -> Site:
    host, settings = FakeHost({"docker inspect *": '{"Name": "it"}'}), fleet()
    return Site(settings, host, _Engine(host, settings), Events().report)


@pytest.mark.parametrize("name", ["nope", "ab12cd", "other_store_data", "staging_store_data"])
def test_a_volume_of_somebody_else_is_neither_shown_nor_suggested(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        inspect_volume(_site(), name)
    assert caught.value.message == f"volume '{name}' does not exist"
    assert not {"ab12cd", "other_store_data", "staging_store_data"} & set(caught.value.hint.replace(",", "").split())


@pytest.mark.parametrize("name", ["store_data", "fleet_store_data"])
def test_a_volume_is_named_with_or_without_the_project(name: str) -> None:
    site = _site()
    assert inspect_volume(site, name) == {"Name": "it"}
    assert site.host.transcript[-1].endswith(" fleet_store_data")  # type: ignore[attr-defined]


def test_files_that_restores_of_another_project_put_aside_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    host, settings = FakeHost({"*": "fleet_cache_data\n"}), fleet()
    monkeypatch.setattr(trees, "mounted", lambda _, part: f"/srv/fleet/{part}")
    assert trees.clear(Site(settings, host, _Engine(host, settings), Events().report)) == ["cache_data"]
    assert host.transcript[-1].endswith(" /srv/fleet/uploads /srv/fleet/certs fleet_cache_data fleet_store_data")


JOB = Service(kind="job", image="fleet-backup", build=ServiceBuild(context="b"))
SET = BackupSet(
    id="20261124T021700Z-aaaa", created="2026-11-24T02:17:00+00:00", reason="manual", version="v1", size=1, added=1,
    parts={"volume-cache_data": 1}, verified=True,
)  # fmt: skip


def _backing_up(users: str) -> tuple[Site, FakeHost]:
    settings = fleet(services={**fleet().services, "backup": JOB})
    host = FakeHost({"docker ps --filter volume=*": users, re.compile("lock.json.new"): "held\n", "*": ""})
    return Site(settings, host, _Engine(host, settings), Events().report), host


def test_who_runs_on_a_volume_is_asked_of_the_engine() -> None:
    site, host = _backing_up("cache\ncache\nstranger\n")
    assert volumes.find(site, "fleet_cache_data") == Volume("cache_data", "fleet_cache_data", ("cache",))
    assert host.transcript == [
        "docker ps --filter volume=fleet_cache_data --format '{{.Label \"com.docker.compose.service\"}}'"
    ]


def test_a_copy_of_what_a_database_writes_to_is_refused() -> None:
    site, host = _backing_up("")
    with pytest.raises(UsageError, match="store writes to store_data: a copy of its files would be torn"):
        volumes.take(site, Volume("store_data", "fleet_store_data", ("store",)), {}, stop=False)
    assert host.transcript == []


def test_files_under_a_running_service_are_not_exchanged() -> None:
    site, host = _backing_up("")
    with pytest.raises(UsageError, match="core runs on cache_data; nothing was done"):
        volumes.restore(site, SET, Volume("cache_data", "fleet_cache_data", ("core",)), {}, stop=False)
    assert host.transcript == []


def test_a_dead_clients_volume_is_finished_and_its_services_started() -> None:
    site, host = _backing_up("")
    host.script = {re.compile("finish-tree"): '@@ok {"part": "volume-cache_data", "exchanged": true}\n', "*": ""}
    left = {"what": "restore", "part": "cache_data", "place": "fleet_cache_data", "stopped": "cache"}
    said = settling.settle(site, Facts(restoring=left))
    assert said == "a restore of cache_data did not end: the exchange is complete; started: cache"
    finish, start, forget = host.transcript
    assert "--volume=fleet_cache_data:/restore backup finish-tree cache_data" in finish
    assert start.endswith(" start cache") and forget == "rm -f /srv/fleet/state/restore.json"


def test_an_impatient_second_signal_leaves_nothing_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def signalled(*_: object, **__: object) -> str:
        interruption.ask(ExitCode.INTERRUPTED)
        interruption.check()
        return ""

    site, host = _backing_up("")
    host.script = {re.compile(r" start store$"): signalled, **host.script}
    monkeypatch.setattr(volumes, "run_job", signalled)
    monkeypatch.setattr(volumes, "locked", lambda *_: interruption.deferred())
    monkeypatch.setattr(volumes, "repair", lambda *_: None)
    monkeypatch.setattr(interruption, "_state", type(interruption._state)())
    with pytest.raises(Interrupted):
        volumes.take(site, Volume("store_data", "fleet_store_data", ("store",)), {}, stop=True)
    assert [one.rpartition(" ")[0].rpartition(" ")[2] for one in host.transcript if one.endswith(" store")] == [
        "stop", "start",
    ]  # fmt: skip
    assert host.transcript[-1] == f"rm -f /srv/fleet/state/{settling.MARKER}"
