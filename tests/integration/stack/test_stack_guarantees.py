"""What visitors may rely on while releases come and go: no failed request from far away, nothing cut off half-way."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from support.load import Load
from support.relay import delayed
from support.stack import API, Stack, visits, wait_for, without_failure
from support.websocket import LiveConnection

pytestmark = pytest.mark.stack

VERSIONS = ("v5.0.0", "v5.1.0")
ROUND_TRIP = 0.06


@pytest.fixture(scope="module", autouse=True)
def versions(stack: Stack) -> None:
    for version in VERSIONS:
        if not stack.published(version):
            stack.publish(version)
    stack.inv("deploy", "--version", VERSIONS[0]).ok()


@pytest.fixture
def far_away(stack: Stack) -> Iterator[Load]:
    """Visitors with 60 ms round trip and kept connections."""
    edge = stack.sandbox.edge
    with delayed(edge.address, edge.https_port, ROUND_TRIP) as port:
        yield Load(visits(), address="127.0.0.1", port=port, context=stack.trust(), threads=24, pause=0.01)


def _other(stack: Stack) -> str:
    return VERSIONS[1] if stack.health()["version"] == VERSIONS[0] else VERSIONS[0]


def test_deploy_and_rollback_for_visitors_far_away(stack: Stack, far_away: Load) -> None:
    before = stack.health()["version"]
    with without_failure(far_away, at_least=5000) as load:
        stack.inv("deploy", "--version", _other(stack)).ok()
        stack.inv("rollback").ok()
    assert len(load.result.versions) == 2
    assert stack.health()["version"] == before


def test_renewal_of_the_certificate_for_visitors_far_away(stack: Stack, far_away: Load) -> None:
    conf = "/opt/flotteq/certbot/conf/renewal/flotteq.conf"
    serial = json.loads(stack.inv("ssl.status", "--json").ok().out)["names"][0]["serial"]
    stack.host(f"grep -q renew_before_expiry {conf} || sed -i '1i renew_before_expiry = 3650 days' {conf}")
    try:
        with without_failure(far_away):
            assert "is in use" in stack.inv("ssl.renew").ok().out
    finally:
        stack.host(f"sed -i '/^renew_before_expiry/d' {conf}")
    assert json.loads(stack.inv("ssl.status", "--json").ok().out)["names"][0]["serial"] != serial


def test_a_request_that_runs_during_the_switch_ends(stack: Stack) -> None:
    edge = stack.sandbox.edge
    slow = [one for one in visits() if "slow" in one.path]
    patient = [type(slow[0])(API, "/api/slow?ms=2000", method="POST", body=b"{}")]
    load = Load(patient, address=edge.address, port=edge.https_port, context=stack.trust(), threads=12, pause=0.05)
    with load:
        load.wait_for(12)
        stack.inv("deploy", "--version", _other(stack)).ok()
        load.wait_for(12)
    assert not load.result.failed, str(load.result)


def test_a_websocket_lives_until_the_drain_time(stack: Stack) -> None:
    edge = stack.sandbox.edge
    live = LiveConnection(API, edge.address, edge.https_port, stack.trust())
    ended: list[float] = []

    def hold() -> None:
        try:
            while True:
                live.hear(timeout=120)
        except (OSError, ConnectionError):
            ended.append(time.monotonic())

    listener = threading.Thread(target=hold, daemon=True)
    listener.start()
    client = stack.inv.spawn("deploy", "--version", _other(stack))
    wait_for(lambda: "✓ switch" in client.said() or client.process.poll() is not None, "the switch", timeout=120)
    switched = time.monotonic()
    done = client.wait().ok()
    listener.join(60)
    live.close()
    assert ended
    # The tests' deploy.drain is 15 s; the release was live long before the last of its visitors had gone.
    assert 10 < ended[0] - switched < 20
    assert done.err.index("✓ record") < done.err.index("✓ clean up")


def test_a_container_that_crashes_is_back_within_five_seconds(stack: Stack) -> None:
    """Docker gives it another address: the edge follows, and never sends its visitors to somebody else."""
    name = next(one for one in stack.ids() if one.startswith("flotteq-frontend-driver-"))
    stack.host(f"docker stop -t 0 {name}; docker run -d --rm --name stranger --network flotteq_network nginx:1.30")
    try:
        started = time.monotonic()
        stack.host(f"docker start {name}")
        deadline = started + 30
        while time.monotonic() < deadline:
            code, _, body = stack.get("driver.flotteq.localhost")
            assert b"Welcome to nginx" not in body
            if code == 200:
                break
            time.sleep(0.1)
        took = time.monotonic() - started
    finally:
        stack.host("docker rm -f stranger", check=False)
    assert took < 5
    wait_for(lambda: stack.status()["ok"], "all to be healthy")


def test_a_registry_that_is_down_stops_before_the_switch(stack: Stack) -> None:
    ids, live = stack.ids(), stack.health()["version"]
    with without_failure(stack.load(threads=2)):
        done = stack.inv(
            "deploy", "--version", "v5.9.9", variables={"FLOTTEQ__REGISTRY__SERVER": "127.0.0.1:9"}
        ).ended(1)  # fmt: skip
    assert "could not be fetched; nothing was changed" in done.sentence
    assert (stack.ids(), stack.health()["version"]) == (ids, live)


def test_one_line_of_the_edge_changes_and_nothing_restarts(stack: Stack) -> None:
    ids, version = stack.ids(), str(stack.health()["version"])
    changed = {"FLOTTEQ__LIMITS__UPLOAD_MB": "51"}
    with without_failure(stack.load(threads=2)):
        done = stack.inv("deploy", "--version", version, variables=changed).ok()
    assert "edge (configuration)" in done.err
    assert stack.ids() == ids
    stack.inv("deploy", "--version", version).ok()
