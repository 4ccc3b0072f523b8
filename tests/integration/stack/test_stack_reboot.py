"""The host or its engine dies: all comes back by itself, on other addresses; nobody is shown another's app."""

import json
import signal
import time

import pytest
from support.cli import Running
from support.stack import API, DOMAINS, FRONTENDS, SERVICES, Stack, wait_for

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox import machine
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names

pytestmark = pytest.mark.stack

VERSIONS = ("v6.0.0", "v6.1.0")
QUICK = ("--soak", "0", "--skip-backup", "--skip-migrations")
APPS = {DOMAINS[name]: name.removeprefix("frontend-") for name in FRONTENDS}

# In the network in which the edge finds the apps.
_ADDRESSES = """
format='{{.Name}}{{with index .NetworkSettings.Networks "flotteq_web"}} {{.IPAddress}}{{end}}'
docker ps --quiet | xargs -r docker inspect --format "$format"
"""

# systemd starts it again, and it starts what had not been stopped by hand.
_KILL_ENGINE = "kill -KILL $(cat /run/docker.pid)"

# Strangers take the lowest addresses of the network, which were the old containers'.
_SHUFFLE = """
ids=$(docker ps --quiet)
docker stop --time 1 $ids >/dev/null
for number in 1 2 3; do
  docker run --detach --rm --name "stranger-$number" --network flotteq_web nginx:1.30 >/dev/null
done
echo "$ids" | shuf | xargs -n 1 docker start >/dev/null
"""
_NO_STRANGERS = "docker ps --all --quiet --filter name=stranger- | xargs -r docker rm --force"


@pytest.fixture(scope="module", autouse=True)
def versions(stack: Stack) -> None:
    for version in VERSIONS:
        if not stack.published(version):
            stack.publish(version)
    stack.inv("deploy", "--version", VERSIONS[0], *QUICK).ok()


def test_an_engine_that_is_killed_comes_back_with_shuffled_addresses(stack: Stack) -> None:
    live = str(stack.health()["version"])
    try:
        _dies(stack)
        _comes_back(stack, live)
        _shuffle(stack)
        _comes_back(stack, live)
    finally:
        stack.host(_NO_STRANGERS)
    stack.inv("deploy", "--version", _other(stack), *QUICK).ok()
    _tidy(stack)


@pytest.mark.parametrize("step", ["containers", "verify"])
def test_an_engine_that_dies_with_the_client_during_a_deploy(stack: Stack, step: str) -> None:
    """Whom the edge's file names serves, be it the new release; it was not verified, so it is taken back."""
    live, wanted = str(stack.health()["version"]), _other(stack)
    client = _begin(stack, step, wanted)
    client.kill(signal.SIGKILL)
    client.wait(10)
    serving = live if step == "containers" else wanted
    try:
        _dies(stack)
        _comes_back(stack, serving)
        _shuffle(stack)
        _comes_back(stack, serving)
    finally:
        stack.host(_NO_STRANGERS)
    stack.inv("deploy.abort").ok()
    assert stack.health()["version"] == live
    _tidy(stack)


def test_a_host_that_loses_its_power_during_a_deploy_keeps_the_queue(stack: Stack) -> None:
    """The queue was pushed to, and its container replaced, before that."""
    wanted = _other(stack)
    stack.inv("redis-cli", "--command", "rpush kept one two").ok()
    stack.host(
        "cd /opt/flotteq; docker compose -f docker-compose.production.yml up -d --no-deps --force-recreate redis"
    )
    wait_for(lambda: _queue(stack) == ["one", "two"], "the replaced Redis to have it")
    stack.inv("redis-cli", "--command", "rpush kept three").ok()
    # Every second is what it promises; here the page cache outlives the power.
    client = _begin(stack, "verify", wanted)
    _loses_power(stack)
    client.wait(120).ended(69)
    _comes_back(stack, wanted)
    assert _queue(stack) == ["one", "two", "three"]
    stack.inv("redis-cli", "--command", "del kept").ok()
    stack.inv("deploy", "--version", wanted, *QUICK).ok()
    assert stack.health()["version"] == wanted
    _tidy(stack)


def _queue(stack: Stack) -> list[str]:
    return stack.inv("redis-cli", "--command", "lrange kept 0 -1").out.split()


def _other(stack: Stack) -> str:
    return VERSIONS[1] if stack.health()["version"] == VERSIONS[0] else VERSIONS[0]


def _begin(stack: Stack, step: str, version: str) -> Running:
    """A deploy that has begun a step; at ``containers`` some of the new ones run already."""
    known = set(stack.ids())
    # A soak that does not end keeps it in its verification.
    client = stack.inv.spawn("deploy", "--version", version, *QUICK[2:], "--soak", "120")
    client.says(f"  {step} …")
    wait_for(lambda: set(stack.ids()) - known, "new containers", timeout=90)
    assert client.process.poll() is None, client.said()
    return client


def _dies(stack: Stack) -> None:
    stack.host(_KILL_ENGINE)
    wait_for(lambda: stack.host("docker info", check=False).ok, "the engine to come back", timeout=90)


def _loses_power(stack: Stack) -> None:
    docker, names = Docker(LocalHost()), Names(stack.sandbox.instance)
    docker.run("kill", names.host)
    docker.run("start", names.host)
    machine.wait_for_machine(docker, names)


def _shuffle(stack: Stack) -> None:
    before = _addresses(stack)
    stack.host(_SHUFFLE)
    after = _addresses(stack)
    moved = {name for name in before if before[name] and name in after and not before[name] & after[name]}
    assert len(moved) > len(APPS) // 2, f"{before} {after}"
    strangers = {one for name, found in after.items() if name.startswith("stranger") for one in found}
    assert strangers & {one for found in before.values() for one in found}, "a stranger has an app's old address"


def _addresses(stack: Stack) -> dict[str, set[str]]:
    lines = [line.split() for line in stack.host(_ADDRESSES).out.splitlines()]
    return {name.lstrip("/"): set(found) for name, *found in lines}


def _comes_back(stack: Stack, version: str) -> None:
    """Without anybody's help: the right app on every domain, never a stranger, never another version."""
    deadline = time.monotonic() + 120
    while not _right(stack, version):
        assert time.monotonic() < deadline, "the site did not come back"
        time.sleep(0.2)
    for _ in range(20):
        assert _right(stack, version)


def _right(stack: Stack, version: str) -> bool:
    """Whether everything answers; whatever answers must be what belongs there."""
    ready = True
    for domain, app in APPS.items():
        code, body = _ask(stack, domain, "/")
        assert b"Welcome to nginx" not in body
        assert code != 200 or f'data-app="{app}"'.encode() in body, f"{domain} shows {body[:200]!r}"
        ready = ready and code == 200
    code, body = _ask(stack, API, "/api/health")
    if code != 200:
        return False
    found = json.loads(body)
    assert found["version"] == version
    return ready and found["database"] == "connected"


def _ask(stack: Stack, domain: str, path: str) -> tuple[int, bytes]:
    try:
        code, _, body = stack.get(domain, path)
    except OSError:
        return 0, b""
    return code, body


def _tidy(stack: Stack) -> None:
    found = stack.containers()
    assert sorted(one["service"] for one in found) == sorted(SERVICES)
    assert {one["health"] for one in found} == {"healthy"}
    assert "half-done" not in stack.inv("deploy.status").ok().out
    assert stack.status()["ok"] is True
