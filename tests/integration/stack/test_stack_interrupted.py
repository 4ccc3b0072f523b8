"""Two clients at once, and clients that end in the middle."""

import signal
from collections.abc import Iterator

import pytest
from support.cli import Running
from support.stack import SERVICES, Stack, difference, wait_for, without_failure

pytestmark = pytest.mark.stack

SLOW = "v3.0.0-slow"


@pytest.fixture(scope="module")
def slow(stack: Stack) -> str:
    """A version that takes 20 s to start: time enough to interrupt it."""
    if not stack.published(SLOW):
        stack.publish(SLOW, "VARIANT=slow")
    return SLOW


@pytest.fixture
def running(stack: Stack, slow: str) -> Iterator[Running]:
    """A deploy whose new containers have been started and are waited for."""
    client = _started(stack, slow)
    yield client
    if client.process.poll() is None:
        client.kill(signal.SIGTERM)
        client.wait()


def test_second_deploy_at_once_names_the_first(stack: Stack, running: Running) -> None:
    done = stack.inv("deploy", "--version", "v1.0.0").ended(75)
    assert "is locked by" in done.sentence
    assert f"deploy {SLOW}" in done.sentence
    held = stack.inv("lock.status").ok().out
    assert "is locked by" in held
    assert f"deploy {SLOW}" in held
    assert running.process.poll() is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_client_that_is_told_to_stop(stack: Stack, slow: str, number: signal.Signals, code: int) -> None:
    before = stack.snapshot()
    with without_failure(stack.load(threads=2)):
        client = _started(stack, slow)
        client.kill(number)
        client.wait(120).ended(code)
    assert difference(before, stack.snapshot()) == []
    assert "is not locked" in stack.inv("lock.status").ok().out
    assert stack.status()["ok"] is True


def test_client_that_is_killed(stack: Stack, running: Running) -> None:
    live = str(stack.health()["version"])
    with without_failure(stack.load(threads=2)):
        running.kill(signal.SIGKILL)
        running.wait(10).ended(-9)
        assert len(stack.ids()) > len(SERVICES)
        free = "the dead client's lock to end"
        wait_for(lambda: "is locked by" not in stack.inv("lock.status").out, free, timeout=70)
        assert "was cut off before the end" in stack.inv("lock.status").ok().out
        assert stack.health()["version"] == live
        done = stack.inv("deploy", "--version", SLOW).ok()
    assert "repairing" in done.err
    assert stack.health()["version"] == SLOW
    found = stack.containers()
    assert sorted(one["service"] for one in found) == sorted(SERVICES)
    assert {one["health"] for one in found} == {"healthy"}
    assert {one["image"].rpartition("@")[0].rpartition(":")[2] for one in found if "flotteq/" in one["image"]} == {SLOW}
    assert "is not locked" in stack.inv("lock.status").ok().out


def _started(stack: Stack, version: str) -> Running:
    """Begin a deploy and return when new backends run beside the old ones: they take 20 s until they are healthy."""
    known = set(stack.ids())
    client = stack.inv.spawn("deploy", "--version", version)

    def new() -> bool:
        return any(name.startswith("flotteq-backend-") for name in set(stack.ids()) - known)

    wait_for(lambda: client.process.poll() is not None or new(), "new containers", timeout=90)
    assert client.process.poll() is None, client.said()
    return client
