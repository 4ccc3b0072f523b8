"""The edge under load: its own container replaced, the maintenance page, files of earlier releases."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.load import Load, fetch
from support.stack import API, DOMAINS, FRONTENDS, NEXT, VERSION, Stack, visits, wait_for, without_failure

pytestmark = pytest.mark.stack

APP = DOMAINS["frontend-client"]
# Seconds: edge.timeouts.upstream_fail, and what a name of Docker's DNS is kept for.
FORGET = 3
OTHER_MEMORY = {"FLOTTEQ__SERVICES__NGINX__MEMORY": "200m"}


def edge_of(stack: Stack) -> list[str]:
    """IDs of the edge's containers, running or not."""
    return [one["id"] for one in stack.containers() if one["service"] == "nginx"]


def status_of(stack: Stack, domain: str) -> int:
    """The status of a page; 0 while nothing answers."""
    try:
        return stack.get(domain)[0]
    except OSError:
        return 0


@contextmanager
def new_connections(stack: Stack, waits: list[float]) -> Iterator[None]:
    """Clients that open a connection for each request; nothing of it may fail."""
    stop, wrong = threading.Event(), []
    edge, context, requests = stack.sandbox.edge, stack.trust(), visits()

    def ask(number: int) -> None:
        while not stop.is_set():
            request = requests[number % len(requests)]
            number += 1
            started = time.monotonic()
            try:
                code, _, body = fetch(request, address=edge.address, port=edge.https_port, context=context)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(repr(error))
            else:
                wrong.extend([f"{code}"] if code != 200 or request.expect(body) else [])
            waits.append(time.monotonic() - started)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not wrong, f"{len(wrong)} of {len(waits)}: {wrong[:5]}"


def test_the_edge_is_replaced_while_everybody_opens_new_connections(stack: Stack) -> None:
    before, waits = edge_of(stack), []
    load = stack.load(threads=10)
    with without_failure(load), new_connections(stack, waits):
        done = stack.inv("nginx.upgrade", variables=OTHER_MEMORY).ok()
    assert "new connections waited" in done.out and "0 failed of" in done.out
    after = edge_of(stack)
    assert len(after) == 1 and after != before
    # A packet that was dropped is sent again after 1 s, then after 3 s.
    assert max(load.result.slowest, *waits) < 8
    assert "flotteq_hold" not in stack.host("nft list tables").out
    assert stack.inv("plan", "--version", stack.status()["version"], variables=OTHER_MEMORY).ok()


def test_an_edge_that_is_as_configured_stays(stack: Stack) -> None:
    stack.inv("nginx.upgrade", variables=OTHER_MEMORY).ok()
    before = edge_of(stack)
    assert "nothing to do" in stack.inv("nginx.upgrade", variables=OTHER_MEMORY).ok().out
    assert edge_of(stack) == before
    stack.inv("nginx.upgrade").ok()


def test_an_edge_that_cannot_start_is_put_back_without_a_failed_request(stack: Stack) -> None:
    before = edge_of(stack)
    with without_failure(stack.load(threads=10)):
        done = stack.inv("nginx.upgrade", variables={"FLOTTEQ__SERVICES__NGINX__MEMORY": "6m"}).ended(3)
    assert "put back" in done.sentence
    assert edge_of(stack) == before
    assert "flotteq_hold" not in stack.host("nft list tables").out
    assert stack.inv("plan", "--version", stack.status()["version"]).ok()


def test_an_app_that_is_gone_is_missed_on_its_own_domain_only(stack: Stack) -> None:
    domain, edge = DOMAINS["frontend-internal"], stack.sandbox.edge
    others = [one for one in visits() if one.domain != domain]
    load = Load(others, address=edge.address, port=edge.https_port, context=stack.trust())
    name = next(one for one in stack.ids() if one.startswith("flotteq-frontend-internal-"))
    with without_failure(load, at_least=300):
        stack.host(f"docker stop --time 1 {name}")
        try:
            wait_for(lambda: stack.get(domain)[0] == 502, "the app to be gone")
            _, headers, body = stack.get(domain)
        finally:
            stack.host(f"docker start {name}")
        wait_for(lambda: stack.get(domain)[0] == 200, "the app to be back")
    assert (headers["retry-after"], headers["x-frame-options"], b"<html" in body) == ("5", "DENY", True)


def test_one_of_two_replicas_is_killed_and_hardly_anybody_notices(stack: Stack) -> None:
    stack.inv("scale", "--service", "backend", "--replicas", "2").ok()
    try:
        name = next(one for one in stack.ids() if one.startswith("flotteq-backend-"))
        with stack.load() as load:
            load.wait_for(200)
            stack.host(f"kill -KILL $(docker inspect --format '{{{{.State.Pid}}}}' {name})")
            forgotten = time.monotonic() + FORGET
            wait_for(lambda: time.monotonic() > forgotten, "the edge to have left it out")
            failed = load.result.failed.copy()
            load.wait_for(300)
        # Only what it was answering at that moment: a request that was sent is not sent again.
        assert failed.total() <= load.result.total / 100, str(load.result)
        assert load.result.failed == failed, str(load.result)
    finally:
        stack.inv("scale", "--service", "backend", "--replicas", "1").ok()


def test_maintenance_is_for_everybody_but_the_list_and_survives_a_deploy(stack: Stack) -> None:
    assert stack.inv("maintenance.on").ended(2).sentence
    assert "neither an IPv4" in stack.inv("maintenance.on", "--yes", "--allow", "10.0.0.300").ended(2).err
    stack.inv("maintenance.on", "--yes", "--allow", "203.0.113.7").ok()
    try:
        for domain in DOMAINS.values():
            code, headers, _ = stack.get(domain)
            assert (code, headers["retry-after"]) == (503, "60")
        assert stack.get(API, "/api/health")[1]["content-type"] == "application/json"
        assert "maintenance  on" in stack.inv("status").ok().out
        assert stack.status()["maintenance_allowed"] == ["203.0.113.7"]
        other = VERSION if stack.status()["version"] == NEXT else NEXT
        if not stack.published(other):
            stack.publish(other)
        stack.inv("deploy", "--version", other, "--skip-migrations", "--skip-backup").ok()
        stack.host("docker restart $(docker ps --quiet --filter label=com.docker.compose.service=nginx)")
        assert wait_for(lambda: status_of(stack, APP), "the edge to answer again") == 503
        stack.inv("maintenance.on", "--yes", "--allow", "0.0.0.0/0").ok()
        assert stack.get(APP)[0] == 200, "whoever is on the list sees the site"
    finally:
        stack.inv("maintenance.off").ok()
    assert stack.get(APP)[0] == 200


def test_the_files_of_an_earlier_release_are_still_there(stack: Stack) -> None:
    other = VERSION if stack.status()["version"] == NEXT else NEXT
    if not stack.published(other):
        stack.publish(other)
    live = {
        name: sorted(stack.host(
            f"docker exec $(docker ps --quiet --filter label=com.docker.compose.service={name} | head -n 1) "
            "sh -c 'cd /usr/share/nginx/html/assets && find . -type f'"
        ).out.split()) for name in FRONTENDS
    }  # fmt: skip
    stack.inv("deploy", "--version", other, "--skip-migrations", "--skip-backup").ok()
    for name, files in live.items():
        assert files
        kept = stack.host(f"cd /opt/flotteq/assets/{name}/assets && find . -type f").out.split()
        assert set(files) <= set(kept), name
    stack.host("echo 'old = 1;' > /opt/flotteq/assets/frontend-client/assets/old-AbCd1234.js")
    code, headers, body = stack.get(APP, "/assets/old-AbCd1234.js")
    assert (code, body) == (200, b"old = 1;\n")
    assert headers["content-type"] == "application/javascript"
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    for name in ("/assets/gone-AbCd1234.js", "/assets/", "/assets/../../etc/passwd-AbCd1234.js"):
        code, headers, _ = stack.get(APP, name)
        assert code in {400, 404}, name
        assert code == 400 or headers["cache-control"] == "no-store"
    assert stack.get(DOMAINS["frontend-partner"], "/assets/old-AbCd1234.js")[0] == 404, "each app has its own"


def test_the_outside_finds_nothing_wrong_and_the_log_says_whom_a_limit_would_refuse(stack: Stack) -> None:
    audit = json.loads(stack.inv("audit.edge", "--json").out)
    # What else listens on the tests' machine is not the edge's doing.
    assert [one for one in audit["checks"] if not one["ok"] and one["id"] != "ports"] == []
    assert {one["domain"] for one in audit["checks"]} == {"", *DOMAINS.values()}
    found = {}
    for words in ([], ["--dry-run"]):
        low = {"FLOTTEQ__LIMITS__WEB_RATE": "1", "FLOTTEQ__LIMITS__WEB_BURST": "1"}
        done = stack.inv("nginx.limits", *words, "--since", "2m", "--json", variables=low).ok()
        results = {one["limit"]: one for one in json.loads(done.out)["results"]}
        found[bool(words)] = results["web_rate"]["refused"]
    assert found[False] == 0 and found[True] > 5, "each of four apps was asked several times within a second"
