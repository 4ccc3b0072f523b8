"""Versions that cannot work: the old release serves throughout, the host is as before, the message says why."""

import pytest
from support.stack import Stack, difference, without_failure

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("variant", "service", "cause"),
    [
        ("crash", "backend", "its process ended"),
        ("unhealthy", "backend", "not healthy within 15 s"),
        ("disconnected", "flotteq-backend-", "database is 'disconnected"),
        ("bad-migration", "'migrations' failed", "no container was replaced"),
        ("memory-hog", "backend", "memory"),
    ],
)
def test_a_version_that_cannot_work(stack: Stack, variant: str, service: str, cause: str) -> None:
    version = stack.publish(f"v2.0.0-{variant}", f"VARIANT={variant}")
    before, live = stack.snapshot(), stack.health()["version"]
    # The others end by what happens to them, whenever a slow machine has started them.
    limit = {"FLOTTEQ__DEPLOY__HEALTH_TIMEOUT": "15" if variant == "unhealthy" else "60"}
    with without_failure(stack.load(threads=2)) as load:
        done = stack.inv("deploy", "--version", version, variables=limit).ended(3)
    assert load.result.versions == [live]
    assert "everything was put back" in done.sentence
    assert service in done.sentence
    assert cause in done.sentence
    _nothing_is_left(stack, before, str(live))


def test_a_version_that_errs_only_after_the_switch(stack: Stack) -> None:
    """Healthy by every check; what everybody is answered tells."""
    version = stack.publish("v2.0.0-errors-later", "VARIANT=errors-later")
    before, live = stack.snapshot(), stack.health()["version"]
    with stack.load(threads=2) as load:
        load.wait_for(50)
        done = stack.inv("deploy", "--version", version, "--soak", "20").ended(3)
        after = load.result.failed.total()
        load.wait_for(100)
    assert "after the switch" in done.sentence
    assert "ended in a 5xx" in done.sentence
    assert load.result.failed.total() == after, "the old version serves again"
    _nothing_is_left(stack, before, str(live))


def test_details_of_a_failed_migration(stack: Stack) -> None:
    done = next(one for one in stack.inv.log if one.words[:3] == ("deploy", "--version", "v2.0.0-bad-migration"))
    assert "severity: 'ERROR'" in done.err
    assert "the migration failed with exit code 1" in done.sentence
    pending = stack.inv("psql", "--command", "select count(*) from migrations where name like '%1999000000000%'").ok()
    assert " 0\n" in pending.out


def test_log_of_a_process_that_ended(stack: Stack) -> None:
    done = next(one for one in stack.inv.log if one.words[:3] == ("deploy", "--version", "v2.0.0-crash"))
    assert "crash by variant: giving up" in done.err


def test_disk_that_fills_up_during_the_dump(stack: Stack) -> None:
    version = stack.publish("v2.0.1")
    before, live = stack.snapshot(), stack.health()["version"]
    backups = "/var/backups/flotteq"
    stack.host(f"mkdir -p {backups}; mount -t tmpfs -o size=4k,mode=700 small {backups}")
    try:
        done = stack.inv("deploy", "--version", version).ended(3)
        left = stack.host(f"ls -A {backups}/restic/snapshots {backups}/manifests", check=False).out
    finally:
        stack.host(f"umount -l {backups}")
    assert "no space left on device" in done.sentence
    assert not [line for line in left.splitlines() if line and not line.endswith(":")]
    _nothing_is_left(stack, before, str(live))


def test_port_80_taken_on_a_host_without_an_edge(stack: Stack) -> None:
    live = str(stack.health()["version"])
    stack.inv("down", "--yes").ok()
    # Any other container that publishes the port.
    stack.host("docker run --detach --name squatter --publish 80:80 --entrypoint sleep nginx:1.30 600")
    before = stack.snapshot()
    try:
        done = stack.inv("deploy", "--version", live).ended(1)
        assert "port 80 on the host is taken by another program" in done.err
        assert "ss -ltnp" in done.err
        assert "port 80 on the host is taken" in stack.inv("ssl.init").ended(1).err
        assert difference(before, stack.snapshot()) == []
    finally:
        stack.host("docker rm --force --volumes squatter")
    stack.inv("deploy", "--version", live).ok()


def _nothing_is_left(stack: Stack, before: str, live: str) -> None:
    assert difference(before, stack.snapshot()) == []
    assert "is not locked" in stack.inv("lock.status").ok().out
    status = stack.status()
    assert (status["ok"], status["version"]) == (True, live)
