"""The client is killed at every boundary between two steps; the site serves, one command makes the host tidy."""

import json
import signal
import time

import pytest
from support.stack import SERVICES, Stack, wait_for, without_failure

pytestmark = pytest.mark.stack

VERSIONS = ("v4.0.0", "v4.1.0")
STEPS = (
    "preflight", "images", "plan", "files", "services", "backup", "migrations", "containers", "checks", "switch",
    "verify", "record", "clean up",
)  # fmt: skip
QUICK = ("--soak", "0")
SHORT = {"FLOTTEQ__DEPLOY__LEASE": "8"}
# Past sshd: two calls of `inv` after each of half a hundred kills would take minutes.
_LEFT = """
docker ps --all --format '{{.Label "com.docker.compose.service"}} {{.Status}}'
echo @@
cat /opt/flotteq/state/current.json
"""


@pytest.fixture(scope="module", autouse=True)
def versions(stack: Stack) -> None:
    for version in VERSIONS:
        if not stack.published(version):
            stack.publish(version)
    stack.inv("deploy", "--version", VERSIONS[0], *QUICK).ok()


def _other(stack: Stack) -> str:
    return VERSIONS[1] if stack.health()["version"] == VERSIONS[0] else VERSIONS[0]


def _begin(stack: Stack, step: str, number: signal.Signals) -> int:
    """Deploy the version that is not live and send the signal the moment a step is announced; return the exit code."""
    client = stack.inv.spawn("deploy", "--version", _other(stack), *QUICK)
    announced = f"  {step} …"
    deadline = time.monotonic() + 120
    while announced not in client.said() and client.process.poll() is None:
        assert time.monotonic() < deadline, client.said()
        time.sleep(0.005)
    client.kill(number)
    return client.wait(150).code


def _tidy(stack: Stack) -> None:
    """One release, nine healthy containers, nothing half-done, no lock."""
    listed, _, current = stack.host(_LEFT).out.partition("@@")
    found = [line.split(maxsplit=1) for line in listed.splitlines()]
    assert sorted(service for service, _ in found) == sorted(SERVICES)
    assert [line for line in found if not line[1].endswith("(healthy)")] == []
    said = stack.inv("deploy.status").ok().out
    assert "is not locked" in said
    assert "half-done" not in said
    assert json.loads(current)["version"] == stack.health()["version"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_client_that_is_told_to_stop_undoes(stack: Stack, step: str, number: signal.Signals, code: int) -> None:
    live = stack.health()["version"]
    with without_failure(stack.load(threads=2, pause=0.05)):
        ended = _begin(stack, step, number)
    # A release that was recorded is live: what is left is cleaning up, which the next command does.
    recorded = step == "clean up" or (step == "record" and stack.status()["version"] != live)
    assert ended in ((0, code) if recorded else (code,))
    assert recorded or stack.health()["version"] == live
    if step == "clean up":
        stack.inv("deploy.abort").ok()
    _tidy(stack)


@pytest.mark.parametrize("step", STEPS)
def test_what_a_killed_client_leaves_is_taken_back(stack: Stack, step: str) -> None:
    with without_failure(stack.load(threads=2, pause=0.05)):
        assert _begin(stack, step, signal.SIGKILL) == -9
        stack.inv("deploy.abort").ok()
    _tidy(stack)


@pytest.mark.parametrize("step", ["containers", "switch", "verify"])
def test_a_killed_deploy_goes_on(stack: Stack, step: str) -> None:
    wanted = _other(stack)
    with without_failure(stack.load(threads=2, pause=0.05)):
        assert _begin(stack, step, signal.SIGKILL) == -9
        stack.inv("deploy.resume").ok()
    assert stack.health()["version"] == wanted
    _tidy(stack)


@pytest.mark.parametrize("step", STEPS)
def test_a_link_that_is_cut_frees_the_lock_after_its_lease(stack: Stack, step: str) -> None:
    """The client's host vanishes: no packet arrives any more, nothing is closed."""
    with without_failure(stack.load(threads=2, pause=0.05)):
        client = stack.inv.spawn("deploy", "--version", _other(stack), *QUICK, variables=SHORT)
        wait_for(lambda: f"  {step} …" in client.said() or client.process.poll() is not None, step, timeout=120)
        client.kill(signal.SIGSTOP)
        held = stack.inv("deploy.abort")
        wait_for(lambda: "is locked by" not in stack.inv("lock.status").out, "the lease to end", timeout=90)
        taken = stack.inv("deploy.abort").ok()
        client.kill(signal.SIGKILL)
        client.wait(10)
    assert held.code == 75
    assert "took over the lock of" in taken.err and "whose client is gone" in taken.err
    _tidy(stack)
