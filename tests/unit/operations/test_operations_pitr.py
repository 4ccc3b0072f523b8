"""The receiver of the write-ahead log in a deploy: let in before it starts, removed with its slot when it is off."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_world import World
from unit_support import instance

from flotteq_tasks.engines.base import Change, Staged
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.model.errors import PutBack, Unhealthy, UsageError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import RECEIVER, BackupSettings, Service, ServiceBuild
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations import verification
from flotteq_tasks.operations.backup import pitr
from flotteq_tasks.operations.backup.restore import source
from flotteq_tasks.operations.deploy import DeployRequest, deploy, run
from flotteq_tasks.operations.deploy.rehearsal import rehearse
from flotteq_tasks.operations.probing import Tally

REQUEST = DeployRequest(Version("v2"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path)
    monkeypatch.setattr(verification, "ask", found.answer)
    monkeypatch.setattr(run, "probing", lambda *_, **__: nullcontext(Tally()))
    return found


def on(world: World) -> None:
    settings = replace(world.settings, backup=BackupSettings(pitr=True))
    world.site = replace(world.site, settings=settings)


def place(world: World, words: str) -> int:
    return next((at for at, entry in enumerate(world.host.transcript) if words in entry), -1)


def test_the_receiver_is_let_in_before_anything_starts(world: World) -> None:
    on(world)
    deploy(world.site, REQUEST, {})
    assert 0 < place(world, "samenet md5") < place(world, "engine start_beside")
    assert place(world, "pg_drop_replication_slot") == -1


def test_where_it_is_off_the_server_is_not_asked(world: World) -> None:
    deploy(world.site, REQUEST, {})
    assert (place(world, "samenet"), place(world, "wal_receiver")) == (-1, -1)


def test_switched_off_it_goes_when_the_release_is_live_and_the_same_version_is_a_deploy(world: World) -> None:
    deploy(world.site, REQUEST, {})
    world.instances.append(instance(RECEIVER))
    count = len(world.host.transcript)
    assert deploy(world.site, REQUEST, {}).already is False
    entries = world.host.transcript[count:]
    recorded = max(at for at, entry in enumerate(entries) if "current.json" in entry and entry.startswith("write"))
    dropped = next(at for at, entry in enumerate(entries) if "pg_drop_replication_slot" in entry)
    assert dropped > recorded


@pytest.mark.parametrize("there", [False, True])
def test_a_deploy_that_fails_drops_the_slot_only_where_there_was_none(
    world: World, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    on(world)
    if there:
        world.instances.append(instance(RECEIVER))

    def refuse(*_: object, **__: object) -> None:
        raise Unhealthy("no")

    monkeypatch.setattr(world.engine, "start_beside", refuse)
    with pytest.raises(PutBack):
        deploy(world.site, REQUEST, {})
    assert place(world, "samenet md5") > 0
    assert (place(world, "pg_drop_replication_slot") > 0) is not there


def test_a_rehearsal_says_both(world: World) -> None:
    world.instances.append(instance(RECEIVER))
    said = rehearse(world.site, REQUEST, {})
    assert [step for step, text in said if "pg_drop_replication_slot" in text] == ["clean up"]
    on(world)
    said = rehearse(world.site, REQUEST, {})
    assert [step for step, text in said if "samenet" in text] == ["services"]


def test_a_slot_is_left_where_the_live_release_had_a_receiver(world: World) -> None:
    live = Release("r1", "v1", {RECEIVER: "image"})
    assert pitr.is_left(world.site, Facts(release=live))
    assert not pitr.is_left(world.site, Facts(release=replace(live, images={})))
    on(world)
    assert not pitr.is_left(world.site, Facts(release=live))


def test_a_moment_without_its_log_is_refused_before_the_host_is_asked(world: World) -> None:
    with pytest.raises(UsageError, match="point-in-time recovery is off"):
        source(world.site, "", "2026-11-22 14:03")
    with pytest.raises(UsageError, match="exclude each other"):
        source(world.site, "latest", "2026-11-22 14:03")
    on(world)
    with pytest.raises(UsageError, match="is no moment"):
        source(world.site, "", "noon")
    assert world.host.transcript == []


def test_an_earlier_release_from_before_it_leaves_the_receiver_alone(world: World) -> None:
    on(world)
    job = Service("job", "fleet-backup", build=ServiceBuild("compose/backup"))
    settings = replace(world.site.settings, services={"backup": job}).with_receiver()
    engine = ComposeEngine(world.host, settings)
    known = {"backup": "image", RECEIVER: "image"}
    release = Release("r1", "v1", known)
    live = Facts(release=release)
    without = Staged(Release("r2", "v0", {"backup": "image"}), {}, {})
    assert engine.changes(without, live) == []
    assert engine.changes(replace(without, release=release), live) == [Change(RECEIVER, "not running")]
