"""What visitors may rely on while the host changes: no failed request from far away, nothing cut off half-way."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from support.cli import Cli
from support.load import Load, Request
from support.relay import delayed
from support.stack import API, Stack, visits, wait_for, without_failure
from support.websocket import HeldConnection

pytestmark = pytest.mark.stack

VERSIONS = ("v5.0.0", "v5.1.0")
ROUND_TRIP = 0.06
ENOUGH = 5000
# Seconds that an old worker of the edge ends requests and WebSockets; fewer than in the other tests, to wait less, and
# more than a kept connection may idle there.
DRAIN = 8
PATIENT = Request(API, "/api/slow?ms=2000", method="POST", body=b"{}")
SWITCH, INSTALL = "  switch …", "  put the certificate into use …"


@pytest.fixture(scope="module")
def site(stack: Stack) -> Iterator[Stack]:
    """The stack with a short drain time and two versions; the first is live."""
    quick = {**stack.inv.variables, "FLOTTEQ__DEPLOY__DRAIN": str(DRAIN)}
    for version in VERSIONS:
        if not stack.published(version):
            stack.publish(version)
    site = replace(stack, inv=Cli(stack.project, quick, stack.inv.log))
    site.inv("deploy", "--version", VERSIONS[0]).ok()
    # Another list of addresses needs a reload, which ends WebSockets: from here on it stays the same.
    site.inv("maintenance.on", "--yes").ok()
    site.inv("maintenance.off").ok()
    yield site
    stack.inv("nginx.upgrade").ok()
    stack.inv("nginx.reload").ok()


@dataclass
class Visitors:
    """Visitors 60 ms away: pages, lists and posts over kept connections; posts of two seconds; a WebSocket."""

    load: Load
    patient: Load
    websocket: HeldConnection


@pytest.fixture
def visitors(site: Stack) -> Iterator[Visitors]:
    edge, trust = site.sandbox.edge, site.trust()
    with (
        delayed(edge.address, edge.https_port, ROUND_TRIP) as port,
        HeldConnection(API, "127.0.0.1", port, trust) as websocket,
    ):
        load = Load(visits(), address="127.0.0.1", port=port, context=trust, threads=40, pause=0, faithful=True)
        patient = Load([PATIENT], address="127.0.0.1", port=port, context=trust, threads=6)
        yield Visitors(load, patient, websocket)


def deploy(site: Stack) -> float:
    wanted = _other(site)
    reloads = _reloads(site, "deploy", "--version", wanted)
    assert site.health()["version"] == wanted
    return reloads


def deploy_that_is_taken_back(site: Stack) -> float:
    """It has switched when the domains do not answer: this client looks for them at a wrong address."""
    before, elsewhere = site.snapshot(), {"FLOTTEQ__EDGE__ADDRESS": "127.0.0.254"}
    reloads = _reloads(site, "deploy", "--version", _other(site), code=3, variables=elsewhere)
    assert site.snapshot() == before
    return reloads


def rollback(site: Stack) -> float:
    before = site.health()["version"]
    reloads = _reloads(site, "rollback")
    assert site.health()["version"] != before
    return reloads


def scale_to_three_and_back(site: Stack) -> float:
    reloads = _reloads(site, "scale", "--service", "backend", "--replicas", "3")
    assert sum(1 for name in site.ids() if name.startswith("flotteq-backend-")) == 3
    site.inv("scale", "--service", "backend", "--replicas", "1").ok()
    assert sum(1 for name in site.ids() if name.startswith("flotteq-backend-")) == 1
    return reloads


def renewal_of_the_certificate(site: Stack) -> float:
    conf, before = "/opt/flotteq/certbot/conf/renewal/flotteq.conf", _serial(site)
    site.host(f"grep -q renew_before_expiry {conf} || sed -i '1i renew_before_expiry = 3650 days' {conf}")
    try:
        reloads = _reloads(site, "ssl.renew", announced=INSTALL)
    finally:
        site.host(f"sed -i '/^renew_before_expiry/d' {conf}")
    assert _serial(site) != before
    return reloads


def rotation_of_a_token_secret(site: Stack) -> float:
    before = site.secret("jwt_access_secret")
    reloads = _reloads(site, "secrets.generate", "--rotate", "jwt_access_secret", "--yes")
    assert site.secret("jwt_access_secret") != before
    return reloads


def replacement_of_the_edge(site: Stack) -> None:
    """Its container ends, and with it every WebSocket."""
    before = site.ids()
    site.inv("nginx.upgrade", variables={"FLOTTEQ__SERVICES__NGINX__MEMORY": "200m"}).ok()
    assert {name.rpartition("-")[0] for name, _ in site.ids().items() ^ before.items()} == {"flotteq-nginx"}


OPERATIONS = (
    deploy, deploy_that_is_taken_back, rollback, scale_to_three_and_back, renewal_of_the_certificate,
    rotation_of_a_token_secret, replacement_of_the_edge,
)  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.__name__)
def test_no_request_from_far_away_fails(
    site: Stack, visitors: Visitors, operation: Callable[[Stack], float | None]
) -> None:
    with without_failure(visitors.load, at_least=ENOUGH), visitors.patient as patient:
        patient.wait_for(6)
        reloads = operation(site)
        patient.wait_for(6)
    assert not patient.result.failed, str(patient.result)
    if reloads is not None:
        assert visitors.websocket.wait(DRAIN + 20) - reloads >= DRAIN


def test_no_request_from_far_away_fails_after_maintenance(site: Stack, visitors: Visitors) -> None:
    site.inv("maintenance.on", "--yes").ok()
    with visitors.load as load:
        load.wait_for(500)
        site.inv("maintenance.off").ok()
        # What had been sent before ends, one request a thread.
        load.wait_for(60)
        refused = load.result.failed.copy()
        load.wait_for(ENOUGH)
    assert set(refused) == {"5xx"}, "the page, and nothing else, while it was on"
    assert load.result.failed == refused, str(load.result)
    assert visitors.websocket.ended is None


def test_a_release_is_live_before_the_last_websocket_of_the_one_before_ends(site: Stack, visitors: Visitors) -> None:
    client = site.inv.spawn("deploy", "--version", _other(site))
    # The reload lies between these two, and the first of them is before it on every machine.
    announced, switched = client.says(SWITCH), client.says("✓ switch")
    done = client.wait().ok()
    ended = visitors.websocket.wait(DRAIN)
    assert ended - announced >= DRAIN and ended - switched < DRAIN + 5
    assert done.err.index("✓ record") < done.err.index("✓ clean up")


def test_a_container_that_crashes_is_back_within_five_seconds(site: Stack) -> None:
    """On another address, while a stranger has its old one: the edge follows, and never shows the stranger."""
    name = next(one for one in site.ids() if one.startswith("flotteq-frontend-driver-"))
    before = _address(site, name)
    site.host(f"docker kill {name}")
    try:
        _take(site, before)
        started = time.monotonic()
        site.host(f"docker start {name}")
        code = 0
        while code != 200 and time.monotonic() < started + 30:
            code, _, body = site.get("driver.flotteq.localhost")
            assert b"Welcome to nginx" not in body
            time.sleep(0.05)
        took = time.monotonic() - started
        assert _address(site, name) != before
    finally:
        site.host("docker ps -aq --filter name=stranger | xargs -r docker rm -f", check=False)
        site.host(f"docker start {name}", check=False)
    assert took < 5
    wait_for(lambda: site.status()["ok"], "all to be healthy")


def test_a_registry_that_is_down_stops_before_the_switch(site: Stack) -> None:
    ids, live = site.ids(), site.health()["version"]
    with without_failure(site.load(threads=2)):
        done = site.inv(
            "deploy", "--version", "v5.9.9", variables={"FLOTTEQ__REGISTRY__SERVER": "127.0.0.1:9"}
        ).ended(1)  # fmt: skip
    assert "could not be fetched; nothing was changed" in done.sentence
    assert (site.ids(), site.health()["version"]) == (ids, live)


def test_one_line_of_the_edge_changes_and_nothing_restarts(site: Stack) -> None:
    ids, version = site.ids(), str(site.health()["version"])
    changed = {"FLOTTEQ__LIMITS__UPLOAD_MB": "51"}
    with without_failure(site.load(threads=2)):
        done = site.inv("deploy", "--version", version, variables=changed).ok()
    assert "edge (configuration)" in done.err
    assert site.ids() == ids
    site.inv("deploy", "--version", version).ok()


def _take(site: Stack, address: str) -> None:
    """Start strangers until one of them has this address: Docker gives out what is free in an order of its own."""
    for number in range(20):
        site.host(f"docker run -d --rm --name stranger-{number} --network flotteq_web nginx:1.30")
        if _address(site, f"stranger-{number}") == address:
            return
    pytest.fail(f"no stranger got {address}")


def _other(site: Stack) -> str:
    return VERSIONS[1] if site.health()["version"] == VERSIONS[0] else VERSIONS[0]


def _reloads(
    site: Stack, *words: str, announced: str = SWITCH, code: int = 0, variables: dict[str, str] | None = None
) -> float:
    """Run a call to its end; return the moment at which it announced its first reload of the edge."""
    client = site.inv.spawn(*words, variables=variables)
    moment = client.says(announced)
    client.wait().ended(code)
    return moment


def _address(site: Stack, name: str) -> str:
    shape = '{{with index .NetworkSettings.Networks "flotteq_web"}}{{.IPAddress}}{{end}}'
    return site.host(f"docker inspect --format '{shape}' {name}").out.strip()


def _serial(site: Stack) -> str:
    return str(json.loads(site.inv("ssl.status", "--json").ok().out)["names"][0]["serial"])
