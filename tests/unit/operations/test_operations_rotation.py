"""Passwords that servers know: after a rotation whose connection is lost, and in a rollback to before one."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit_support import Events, fleet, instance

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import FlotteqError, HostUnreachable, Locked
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import SecretSpec
from flotteq_tasks.operations import repair, secret_tasks
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.preparation import Preparation
from flotteq_tasks.operations.deploy.request import DeployRequest
from flotteq_tasks.settings import secrets

OLD, NEW = Secret("old value"), Secret("new value")
OLD_MARK, NEW_MARK = (secrets.fingerprint("db_password", one) for one in (OLD, NEW))


class World(ComposeEngine):
    """A host whose link to the newest value follows what is pushed."""

    def __init__(self, root: Path) -> None:
        spec = {"db_password": SecretSpec("generated", "postgres")}
        files = {f"/srv/fleet/secrets/db_password.{OLD_MARK}": "old value"}
        super().__init__(FakeHost({"*": ""}, files=files), fleet(root, secrets=spec))
        self.live, self.locks = Release("r1", "v1", {}, secrets={"db_password": OLD_MARK}), 0
        self.store = "running"
        self.site = Site(self.settings, self.host, self, Events().report)

    def facts(self) -> Facts:
        links = re.findall(r"db_password\.([0-9a-f]{12})", "\n".join(self.host.transcript))  # type: ignore[attr-defined]
        return Facts(
            release=self.live, secrets={"db_password": links[-1] if links else OLD_MARK},
            instances=(instance("store", state=self.store),),
        )  # fmt: skip

    @property
    def taught(self) -> str:
        """The password that Postgres got last."""
        return next(iter(self.host.inputs.values()), b"").decode().strip()  # type: ignore[attr-defined]

    @contextmanager
    def lock(self, *_: Any) -> Iterator[Any]:
        """Give the lock as often as somebody asks."""
        self.locks += 1
        yield type("Keeper", (), {"write": lambda *_, **__: True})()


def _rotate(world: World, patch: pytest.MonkeyPatch, deploy: Callable[..., None], kind: type[FlotteqError]) -> Any:
    patch.setattr(secret_tasks.files, "generate", lambda: NEW)
    patch.setattr(secret_tasks, "locked", world.lock)
    patch.setattr(secret_tasks, "repair", lambda *_: world.facts())
    patch.setattr(secret_tasks, "deploy_locked", deploy)
    with pytest.raises(kind) as caught:
        secret_tasks.rotate(world.site, "db_password", {})
    return caught.value


def test_a_value_that_is_live_is_not_taken_from_those_who_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def deploy(*_: Any, **__: Any) -> None:
        world.live = Release("r2", "v1", {}, secrets={"db_password": NEW_MARK})
        raise HostUnreachable("lost behind the record")

    _rotate(world, monkeypatch, deploy, HostUnreachable)
    assert (world.taught, world.locks) == ("new value", 2)


def test_a_value_that_did_not_go_live_is_taken_back_under_another_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def deploy(*_: Any, **__: Any) -> None:
        raise HostUnreachable("lost before the switch")

    _rotate(world, monkeypatch, deploy, HostUnreachable)
    assert (world.taught, world.locks) == ("old value", 2)


def test_where_somebody_else_has_the_lock_by_now_nothing_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def deploy(*_: Any, **__: Any) -> None:
        def lock(*_: Any) -> None:
            raise Locked("bob has it")

        monkeypatch.setattr(secret_tasks, "locked", lock)
        raise HostUnreachable("lost")

    error = _rotate(world, monkeypatch, deploy, HostUnreachable)
    assert (world.taught, error.message) == ("new value", "lost")
    assert "inv secrets.generate --rotate db_password" in error.hint


def _killed(world: World, patch: pytest.MonkeyPatch) -> None:
    """Push and teach a new value, then die as SIGKILL does it: nothing is taken back, nobody looks at the host."""

    def deploy(*_: Any, **__: Any) -> None:
        raise HostUnreachable("killed")

    patch.setattr(secret_tasks, "_settle", lambda *_: None)
    _rotate(world, patch, deploy, HostUnreachable)
    assert world.taught == "new value"


def test_the_next_operation_gives_the_server_the_live_value_again_after_a_client_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    _killed(world, monkeypatch)
    assert repair.needs_repair(world.settings, world.facts())
    assert repair.remedy(world.settings, world.facts()).startswith("a rotation of db_password: inv deploy.abort")
    with world.lock() as keeper:
        after = repair.repair(world.site, keeper)
    assert (world.taught, after.secrets) == ("old value", {"db_password": OLD_MARK})
    assert not repair.needs_repair(world.settings, after)


def test_a_server_that_does_not_run_is_left_with_the_value_that_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    _killed(world, monkeypatch)
    world.store = "exited"
    assert not repair.needs_repair(world.settings, world.facts())


def test_a_supplied_value_that_never_went_live_is_not_refused_as_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    _killed(world, monkeypatch)
    secrets.write(tmp_path, "production", "db_password", NEW)
    assert secret_tasks._supplied(world.site, "db_password") == NEW
    world.live = replace(world.live, secrets={"db_password": NEW_MARK})
    with pytest.raises(FlotteqError, match="the host has this value of db_password already"):
        secret_tasks._supplied(world.site, "db_password")


def test_a_rollback_to_before_a_rotation_uses_the_password_that_the_server_knows(tmp_path: Path) -> None:
    world = World(tmp_path)
    specs = {"db_password": SecretSpec("generated", "postgres"), "mail_password": SecretSpec("supplied")}
    site = replace(world.site, settings=replace(world.settings, secrets=specs))
    earlier = Release("r0", "v0", {}, secrets={"db_password": "before", "mail_password": "m1"})
    now = Facts(secrets={"db_password": "today", "mail_password": "m2"})
    marks, pushed = Preparation(site, DeployRequest.back_to(earlier), {}, now)._secrets()
    assert (marks, pushed) == ({"db_password": "today", "mail_password": "m1"}, {})
    release = replace(earlier, id="r2", secrets=marks)
    with suppress(IndexError):  # this host resolves no Compose file
        world.stage_again(release, earlier)
    told = world.host.transcript[0]  # type: ignore[attr-defined]
    assert told.endswith(" r0 r2 DB_PASSWORD_FILE=./secrets/db_password.today")


def test_a_database_that_a_rollback_leaves_as_it_is_is_not_another_one_by_hand(tmp_path: Path) -> None:
    world = World(tmp_path)
    earlier = Release("r0", "v0", {"store": "postgres:15@sha256:a", "core": "core:v0@sha256:b"})
    held = replace(earlier, id="r2", images={**earlier.images, "store": "postgres:16@sha256:c"})
    with suppress(IndexError):  # this host resolves no Compose file
        world.stage_again(held, earlier)
    told = world.host.transcript[0]  # type: ignore[attr-defined]
    assert told.endswith(" r0 r2 STORE_IMAGE=postgres:16@sha256:c")
