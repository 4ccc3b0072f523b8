"""From a bare host to nine healthy containers behind TLS, and what a busy site must survive there."""

import json
import socket

import pytest
from support.load import Request, fetch
from support.stack import API, DOMAINS, NEXT, SERVICES, VERSION, Stack, wait_for, without_failure

from flotteq_tasks.operations.sandbox import lifecycle

pytestmark = pytest.mark.stack


def test_certificate_before_anything_is_deployed(stack: Stack) -> None:
    if not stack.fresh:
        pytest.skip("the kept sandbox has a certificate already")
    assert "the certificate of 5 names is in use" in stack.first["ssl"].out


def test_first_deploy(stack: Stack) -> None:
    if not stack.fresh:
        pytest.skip("the kept sandbox has a release already")
    done = stack.first["deploy"]
    assert f"{VERSION} live in" in done.out
    assert "5 domains answer over verified TLS" in done.out
    assert "first installation" in done.err


def test_nine_healthy_containers(stack: Stack) -> None:
    found = stack.containers()
    assert sorted(one["service"] for one in found) == sorted(SERVICES)
    assert {(one["state"], one["health"]) for one in found} == {("running", "healthy")}
    status = stack.status()
    assert status["ok"] is True
    assert status["version"] == VERSION


@pytest.mark.parametrize("domain", DOMAINS.values())
def test_domain_over_verified_tls(stack: Stack, domain: str) -> None:
    code, headers, _ = stack.get(domain, "/api/health" if domain == API else "/")
    assert code == 200
    assert headers["strict-transport-security"].startswith("max-age=63072000")
    assert headers["x-frame-options"] == "DENY"


def test_plain_http_leads_to_https(stack: Stack) -> None:
    edge = stack.sandbox.edge
    with socket.create_connection((edge.address, edge.http_port), 5) as plain:
        plain.sendall(f"GET /somewhere HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n".encode())
        answer = plain.makefile("rb").read().decode()
    assert answer.split()[1] in ("301", "308")
    assert f"location: https://{API}/somewhere" in answer.lower()


def test_database_is_connected(stack: Stack) -> None:
    health = stack.health()
    assert health["database"] == "connected"
    assert health["version"] == VERSION


def test_deploy_of_what_is_live_changes_nothing(stack: Stack) -> None:
    before = stack.ids()
    done = stack.inv("deploy", "--version", VERSION).ok()
    assert "already live" in done.out
    assert stack.ids() == before


def test_scale_to_four_and_back_under_load(stack: Stack) -> None:
    with without_failure(stack.load(), at_least=500):
        stack.inv("scale", "--service", "backend", "--replicas", "4").ok()
        assert _replicas(stack) == 4
        wait_for(lambda: len(_answering(stack)) == 4, "all four replicas to serve")
        stack.inv("scale", "--service", "backend", "--replicas", "1").ok()
    assert _replicas(stack) == 1
    assert len(_answering(stack)) == 1


def test_next_version_under_load(stack: Stack) -> None:
    if not stack.published(NEXT):
        stack.publish(NEXT, frontends=True)
    before = stack.ids()
    with without_failure(stack.load(threads=8), at_least=2000) as load:
        done = stack.inv("deploy", "--version", NEXT).ok()
    assert f"{NEXT} live in" in done.out
    assert load.result.versions[-1] == NEXT
    assert stack.health()["version"] == NEXT
    after = stack.ids()
    kept = {name for name in after if before.get(name) == after[name]}
    assert {name.removeprefix("flotteq-").rpartition("-")[0] for name in kept} == {
        "postgres", "redis", "nginx", "certbot",
    }  # fmt: skip
    assert len(after) == len(SERVICES)


def test_reboot_of_the_host(stack: Stack) -> None:
    version = stack.health()["version"]
    lifecycle.reboot(instance=stack.sandbox.instance)
    wait_for(lambda: _answers(stack), "the site to answer after a reboot", timeout=120)
    wait_for(lambda: stack.status()["ok"], "all nine services to be healthy", timeout=120)
    assert stack.health()["version"] == version
    assert "already live" in stack.inv("deploy", "--version", version).ok().out


def _replicas(stack: Stack) -> int:
    return sum(1 for one in stack.containers() if one["service"] == "backend" and one["state"] == "running")


def _answering(stack: Stack) -> set[str]:
    """Host names of the containers that answer."""
    return {json.loads(stack.get(API, "/api/whoami")[2])["hostname"] for _ in range(40)}


def _answers(stack: Stack) -> bool:
    edge = stack.sandbox.edge
    try:
        codes = [
            fetch(Request(domain, "/"), address=edge.address, port=edge.https_port, context=stack.trust())[0]
            for domain in DOMAINS.values()
            if domain != API
        ]
        return set(codes) == {200} and stack.health()["database"] == "connected"
    except (OSError, AssertionError, ValueError):
        return False
