"""The host's disk fills up in the middle of a deploy: it stops, everything is as before, and it says why."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.cli import Completed
from support.stack import Stack, difference, wait_for, without_failure

pytestmark = pytest.mark.stack

VERSIONS = ("v6.0.0", "v6.1.0")
QUICK = ("--soak", "0", "--skip-backup", "--skip-migrations")
# While the client is stopped at "verify" nothing is written: the next that needs room is the record.
STEPS = ("plan", "files", "services", "containers", "checks", "switch", "verify")

# A file system of its own, whose size can be changed at any moment; as large as the preflight wants it at first.
_BEGIN = """
set -e
mkdir -p /mnt/small
mount -t tmpfs -o size=3g,mode=755 small /mnt/small
cp -a /opt/flotteq/. /mnt/small/
mount --bind /mnt/small /opt/flotteq
docker restart $(docker ps --quiet) >/dev/null
"""
_END = """
set -e
umount -l /opt/flotteq
find /opt/flotteq -mindepth 1 -delete
cp -a /mnt/small/. /opt/flotteq/
docker restart $(docker ps --quiet) >/dev/null
umount -l /mnt/small
"""
_FULL = """
set -e
used=$(df -k --output=used /mnt/small | tail -n 1 | tr -d ' ')
mount -o "remount,size=${used}k" /mnt/small
[ "$(df -k --output=avail /mnt/small | tail -n 1)" -eq 0 ]
"""
_FREE = "mount -o remount,size=3g /mnt/small"

# The engine writes a container's own files here when it makes one.
_ENGINE = "/var/lib/docker/containers"


@pytest.fixture(scope="module")
def versions(stack: Stack) -> None:
    for version in VERSIONS:
        if not stack.published(version):
            stack.publish(version)
    stack.inv("deploy", "--version", VERSIONS[0], *QUICK).ok()


@pytest.fixture(scope="module")
def small(stack: Stack, versions: None) -> Iterator[Stack]:
    """The project directory on a small file system of its own."""
    stack.host(_BEGIN)
    wait_for(lambda: stack.status()["ok"], "all to be healthy")
    try:
        yield stack
    finally:
        stack.host(_END)
        wait_for(lambda: stack.status()["ok"], "all to be healthy")


@pytest.mark.parametrize("step", STEPS)
def test_disk_of_the_project_that_fills_up(small: Stack, step: str) -> None:
    before, live = small.snapshot(), small.health()["version"]
    with without_failure(small.load(threads=2, pause=0.05)):
        done, left, status = _full_at(small, step, VERSIONS[1])
    assert done.code in (1, 3), str(done)
    said = done.err.lower()
    assert "disk is full" in said or "no space left on device" in said
    assert difference(before, left) == []
    assert "is not locked" in status and "half-done" not in status
    assert small.health()["version"] == live


def test_disk_that_fills_up_when_the_release_is_live(small: Stack) -> None:
    with without_failure(small.load(threads=2, pause=0.05)):
        done, _, status = _full_at(small, "clean up", VERSIONS[1])
    assert done.code == 0, str(done)
    assert small.health()["version"] == VERSIONS[1]
    assert "is not locked" in status


def test_a_disk_that_is_free_again(small: Stack) -> None:
    small.inv("deploy", "--version", VERSIONS[0], *QUICK).ok()
    assert small.status()["ok"] is True


def _full_at(small: Stack, step: str, version: str) -> tuple[Completed, str, str]:
    """Deploy on a disk that is full from a step on; return how it ended, what is left, and what its status was."""
    client = small.inv.spawn("deploy", "--version", version, *QUICK)
    client.says(f"  {step} …")
    client.kill(signal.SIGSTOP)
    # What a copy writes only while it runs must not be there to be given back.
    wait_for(lambda: not small.host("pgrep -f '[d]ocker cp'", check=False).ok, "copies to end")
    small.host(_FULL)
    client.kill(signal.SIGCONT)
    done, left, status = client.wait(), small.snapshot(), small.inv("deploy.status").ok().out
    small.host(_FREE)
    return done, left, status


@pytest.mark.parametrize(("step", "options"), [("migrations", QUICK[:3]), ("containers", QUICK)])
def test_disk_of_the_engine_that_is_full(stack: Stack, versions: None, step: str, options: tuple[str, ...]) -> None:
    before, live = stack.snapshot(), stack.health()["version"]
    other = VERSIONS[1] if live == VERSIONS[0] else VERSIONS[0]
    with without_failure(stack.load(threads=2, pause=0.05)), _full(stack, _ENGINE):
        done = stack.inv("deploy", "--version", other, *options).ended(3)
    assert f"'{step}' failed and everything was put back" in done.sentence
    assert "no space left on device" in done.err.lower()
    assert difference(before, stack.snapshot()) == []
    assert "half-done" not in stack.inv("deploy.status").ok().out


@contextmanager
def _full(stack: Stack, directory: str) -> Iterator[None]:
    stack.host(f"mount -t tmpfs -o size=4k,mode=710 full {directory}")
    try:
        yield
    finally:
        stack.host(f"umount -l {directory}")
