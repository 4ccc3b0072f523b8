"""Escrow: the first backup waits for a kit; the kit opens, with tools that are not ours, and is compared in a drill."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from support.stack import Stack

pytestmark = pytest.mark.stack

PLACE, RECORD = "/var/backups/flotteq", "/opt/flotteq/state/escrow.json"
ESCROW = {"FLOTTEQ__BACKUP__ESCROW": "true"}


@pytest.fixture
def bare(stack: Stack) -> Iterator[None]:
    """A host without sets and without a note of a kit."""
    stack.host(f"rm -rf {RECORD} {PLACE}.kept; if [ -d {PLACE} ]; then mv {PLACE} {PLACE}.kept; fi")
    yield
    stack.host(f"rm -rf {RECORD}; if [ -d {PLACE}.kept ]; then rm -rf {PLACE}; mv {PLACE}.kept {PLACE}; fi")


def test_the_first_backup_waits_and_the_kit_opens_everything(stack: Stack, bare: None, tmp_path: Path) -> None:
    for words in (("backup.certs",), ("schedule.install",)):
        refused = stack.inv(*words, variables=ESCROW).ended(1)
        assert "no escrow kit was written yet" in refused.err and "--without-escrow backs up" in refused.err
    assert stack.host(f"ls {PLACE} 2>/dev/null; ls /etc/systemd/system | grep schedule", check=False).out == ""
    mine, other = (pyrage.x25519.Identity.generate() for _ in range(2))
    path, key = tmp_path / "kit.age", tmp_path / "key.txt"
    key.write_text(str(mine))
    written = stack.inv("backup.escrow", "--recipient", str(mine.to_public()), "--to", str(path)).ok()
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(path.read_bytes(), [mine]))) as archive:
        names = set(archive.getnames())
        held = archive.extractfile(".secrets/sandbox/restic_password")
        assert held is not None and held.read().decode() == stack.secret("restic_password")
    assert {"flotteq.toml", "tasks.py", ".env.sandbox", ".secrets/sandbox/smtp_password"} < names
    assert stack.secret("restic_password") not in written.out + written.err + stack.host(f"cat {RECORD}").out
    stack.inv("backup.certs", variables=ESCROW).ok()
    stack.inv("backup.drill", "--kit", str(path), "--identity", str(key)).ok()
    key.write_text(str(other))
    assert "does not open" in stack.inv("backup.drill", "--kit", str(path), "--identity", str(key)).ended(1).err
    found = {one["what"]: one for one in json.loads(stack.inv("backup.doctor", "--json").out)["findings"]}
    assert found["escrow kit"]["ok"] is True


def test_doing_without_is_said_and_remembered(stack: Stack, bare: None) -> None:
    done = stack.inv("backup.certs", "--without-escrow", variables=ESCROW).ok()
    assert "nobody can read the backups" in done.err
    assert json.loads(stack.host(f"cat {RECORD}").out)["without"] is True
    stack.host(f"rm -rf {PLACE}")
    stack.inv("backup.certs", variables=ESCROW).ok()
