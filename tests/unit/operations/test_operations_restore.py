"""A restore of the database asks for room before anything, also for what it needs beside the copy."""

import dataclasses
import re

import pytest
from unit_support import Events, fleet

from flotteq_tasks.commands import swapping
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.backup import BackupSet
from flotteq_tasks.model.errors import NotPutBack, PreflightFailed
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.stack import Service, Vhost
from flotteq_tasks.operations.backup import settling
from flotteq_tasks.operations.backup.restore import _Restore
from flotteq_tasks.operations.backup.swap import Exchange, Restored
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.lock import Keeper

GIB = 1 << 30
SET = BackupSet(
    "20261124T021700Z-aaaa", "2026-11-24T02:17:00Z", "manual", "v1", {"db": 7 * GIB}, 0, 0, verified=True,
    on_disk=10 * GIB,
)  # fmt: skip


@pytest.mark.parametrize(
    ("disk", "jobs", "on_disk", "needed"),
    [
        # A fifth more than it had; a GiB of log; the dump's file where there is one and backups are on the same disk.
        ("own-disk", 2, 10 * GIB, 13),
        ("same-disk", 2, 10 * GIB, 20),
        ("same-disk", 1, 10 * GIB, 13),
        ("own-disk", 1, GIB // 2, 1.1),
    ],
)
def test_what_a_restore_needs(disk: str, jobs: int, on_disk: int, needed: float) -> None:
    settings = fleet()
    settings = dataclasses.replace(settings, backup=dataclasses.replace(settings.backup, jobs=jobs))
    host = FakeHost({re.compile("df -PB1"): f"disk 1 2\n{disk}\n", "*": ""})
    site = Site(settings, host, ComposeEngine(host, settings), Events().report)
    for free, fits in ((int(needed * GIB), True), (int(needed * GIB) - GIB // 100, False)):
        chosen, keeper = dataclasses.replace(SET, on_disk=on_disk), Keeper.__new__(Keeper)
        run = _Restore(site, keeper, chosen, Facts(disk_free=free), skip_backup=False, name=chosen.id, to="")
        if fits:
            run.room(StepNote())
        else:
            with pytest.raises(PreflightFailed, match="a restore beside the live database needs"):
                run.room(StepNote())


def test_the_application_gets_as_long_to_end_as_in_a_deploy() -> None:
    settings = fleet()
    host = FakeHost({})
    site = Site(settings, host, ComposeEngine(host, settings), Events().report)
    assert settling.application(site, Facts()).grace == settings.deploy.stop_grace


def _exchange(settled: str | int) -> tuple[Exchange, FakeHost]:
    settings = fleet()
    host = FakeHost({"*pg_database_size*": "fleet 1\n", re.compile("restore.json"): settled})
    site = Site(settings, host, ComposeEngine(host, settings), Events().report)
    return Exchange(site, Facts(), Restored("", "fleet", "fleet_before_1"), next="fleet_restored_1"), host


def test_a_swap_that_stuck_with_the_names_as_they_were_is_cleared_up_behind() -> None:
    exchange, host = _exchange("state before\n")
    exchange.swap_back()
    assert len(host.transcript) == 2


@pytest.mark.parametrize(
    ("settled", "said"),
    [("state before\nunhealthy\n", "the maintenance page stays"), (swapping.STUCK, "cannot be brought to an end")],
)
def test_a_site_behind_its_maintenance_page_is_not_as_before(settled: str | int, said: str) -> None:
    exchange, _ = _exchange(settled)
    with pytest.raises(NotPutBack, match=said):
        exchange.swap_back()


@pytest.mark.parametrize(("vhosts", "found"), [(("web", "api"), "b"), (("web", "web"), "a")])
def test_without_migrations_the_api_uses_the_database_or_the_first_that_is_public(
    vhosts: tuple[Vhost, Vhost], found: str
) -> None:
    services = {
        name: Service(kind="rolling", image="i", port=80, subdomain=name, vhost=vhost)
        for name, vhost in zip(("a", "b"), vhosts, strict=True)
    }
    settings, host = fleet(services=services, migrations=None), FakeHost()
    assert settling.consumer(Site(settings, host, ComposeEngine(host, settings), Events().report)) == found
