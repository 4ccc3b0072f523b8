"""Images that cannot be had: the link to the registry breaks half-way, or an old release's image is gone everywhere."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.relay import breaking
from support.stack import FRONTENDS, NEXT, VERSION, Stack, difference, wait_for

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names

pytestmark = pytest.mark.stack

LARGE = "v7.0.0"
# Bytes of a layer that the host has not, and after how many the link breaks.
LAYER, ENOUGH = 48 << 20, 16 << 20
PORT = 5999
QUICK = ("--soak", "0", "--skip-backup", "--skip-migrations")


@pytest.fixture(scope="module")
def large(stack: Stack) -> str:
    """A version whose backend has a large layer of its own."""
    if not stack.published(LARGE):
        docker, server = Docker(LocalHost()), stack.sandbox.push_server
        backend, made = f"{server}/flotteq/flotteq-backend", f"{stack.sandbox.instance}-large"
        docker.run("rm", "--force", made, check=False)
        docker.run("run", "--name", made, "--entrypoint", "sh", f"{backend}:{VERSION}", "-c",
                   f"head -c {LAYER} /dev/urandom >/tmp/ballast")  # fmt: skip
        found = docker.inspect("image", f"{backend}:{VERSION}") or {}
        changes = [
            f"ENTRYPOINT {json.dumps(found['Config']['Entrypoint'])}",
            f"CMD {json.dumps(found['Config']['Cmd'])}",
        ]
        docker.run("commit", [f"--change={one}" for one in changes], made, f"{backend}:{LARGE}")
        docker.run("rm", "--force", made)
        for name in (*FRONTENDS, "backup"):
            docker.run("tag", f"{server}/flotteq/flotteq-{name}:{VERSION}", f"{server}/flotteq/flotteq-{name}:{LARGE}")
        stack.inv("push", "--version", LARGE, timeout=300).ok()
    return LARGE


def test_a_pull_that_breaks_half_way_stops_before_anything_is_touched(stack: Stack, large: str) -> None:
    before = stack.snapshot()
    address, _, port = stack.sandbox.push_server.rpartition(":")
    with breaking(address, int(port), after=ENOUGH) as broken, _reverse(stack, broken):
        variables = {"FLOTTEQ__REGISTRY__SERVER": f"127.0.0.1:{PORT}", "FLOTTEQ__DEPLOY__PULL_TIMEOUT": "8"}
        done = stack.inv("deploy", "--version", large, *QUICK, variables=variables).ended(1)
    assert "images of backend" in done.sentence and "could not be fetched; nothing was changed" in done.sentence
    assert difference(before, stack.snapshot()) == []
    assert stack.host("pgrep -af '[d]ocker pull'", check=False).out == ""
    assert "is not locked" in stack.inv("lock.status").ok().out


def test_a_release_whose_image_is_gone_everywhere(stack: Stack) -> None:
    live = str(stack.health()["version"])
    earlier = NEXT if live == VERSION else VERSION
    for version in (earlier, live):
        if not stack.published(version):
            stack.publish(version)
        stack.inv("deploy", "--version", version, *QUICK).ok()
    before = stack.snapshot()
    with _gone(stack, earlier):
        done = stack.inv("rollback", "--to", earlier).ended(1)
    assert f"version {earlier} of backend is not in the registry" in done.sentence
    assert "nothing was changed" in done.sentence
    assert "inv build --version" in done.err
    assert difference(before, stack.snapshot()) == []


@contextmanager
def _reverse(stack: Stack, port: int) -> Iterator[None]:
    """Lead a port of the host's own loopback to one of this machine, as a registry without TLS may be reached."""
    sandbox = stack.sandbox
    words = [
        "ssh", "-N", "-R", f"127.0.0.1:{PORT}:127.0.0.1:{port}",
        "-p", str(sandbox.ssh_port), "-i", str(sandbox.key_file),
        "-o", f"UserKnownHostsFile={sandbox.known_hosts}", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes",
        f"deploy@{sandbox.ssh_address}",
    ]  # fmt: skip
    with subprocess.Popen(words) as client:
        try:
            wait_for(lambda: stack.host(f"ss -ltn | grep -q :{PORT}", check=False).ok, "the forwarded port")
            yield
        finally:
            client.kill()


@contextmanager
def _gone(stack: Stack, version: str) -> Iterator[None]:
    """Take the backend's image of a version away, on the host and in the registry."""
    listed = json.loads(stack.inv("releases", "--json").ok().out)
    found = listed["releases"] if isinstance(listed, dict) else listed
    pinned = next(one["images"]["backend"] for one in found if one["version"] == version and one["result"] == "good")
    digest = pinned.rpartition("sha256:")[2]
    place = "/var/lib/registry/docker/registry/v2/repositories/flotteq/flotteq-backend/_manifests/revisions/sha256"
    docker, registry = Docker(LocalHost()), Names(stack.sandbox.instance).registry
    stack.host(f"docker image rm --force $(docker image inspect --format '{{{{.Id}}}}' {pinned})")
    docker.exec(registry, "mv", f"{place}/{digest}", f"/var/lib/registry/{digest}")
    try:
        yield
    finally:
        docker.exec(registry, "mv", f"/var/lib/registry/{digest}", f"{place}/{digest}")
        stack.host(f"docker pull --quiet {pinned}")
