"""Host and laptop are lost: docs/RESTORE.md line by line, with an escrow kit and an off-site copy and nothing else."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
from support.elsewhere import elsewhere
from support.stack import API, REPOSITORY, VERSION, Stack

pytestmark = pytest.mark.stack

UPLOADS = "/var/lib/docker/volumes/flotteq_uploads_data/_data"
# Where age is not installed: the same format by the library.
_AGE = """#!{python}
import sys, pyrage
identity, kit = sys.argv[sys.argv.index("--identity") + 1], sys.argv[-1]
keys = [pyrage.x25519.Identity.from_str(line) for line in open(identity).read().split()]
sys.stdout.buffer.write(pyrage.decrypt(open(kit, "rb").read(), keys))
"""


def lines() -> list[str]:
    """The commands of the document, in their order."""
    text = (REPOSITORY / "docs/RESTORE.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What a person has kept: a key, later the kit; and age."""
    (tmp_path / "escrow-key.txt").write_text(str(pyrage.x25519.Identity.generate()))
    if shutil.which("age") is None:
        tool = tmp_path / "bin/age"
        tool.parent.mkdir()
        tool.write_text(_AGE.format(python=sys.executable))
        tool.chmod(0o755)
    return tmp_path


@pytest.fixture
def kept(stack: Stack, home: Path) -> Iterator[dict[str, str]]:
    """A set in the off-site repository and a kit in the person's home; what was there."""
    identity = pyrage.x25519.Identity.from_str((home / "escrow-key.txt").read_text())
    with elsewhere(stack):
        stack.inv("psql", "--command", "insert into vehicles (plate) values ('NOT-LOST')").ok()
        stack.host(f"echo photo >{UPLOADS}/kept.jpg; chown 1000:1000 {UPLOADS}/kept.jpg")
        stack.inv("backup.all").ok()
        stack.inv("backup.copy", "--to", "offsite").ok()
        local = stack.project / "flotteq.local.toml"
        local.write_text(f'{local.read_text()}\n[backup]\nrecipients = ["{identity.to_public()}"]\n')
        stack.inv("backup.escrow", "--to", str(home / "escrow-flotteq-production-20261124.age")).ok()
        yield {
            "plates": stack.inv("psql", "--command", "select plate from vehicles order by 1").ok().out,
            "serial": json.loads(stack.inv("ssl.status", "--json").ok().out)["names"][0]["serial"],
        }


def test_the_document_brings_everything_back(
    stack: Stack, home: Path, kept: dict[str, str], say: Callable[[str], None]
) -> None:
    stack.wipe()
    # The way to the sandbox host takes the place of an address in flotteq.toml.
    project = home / "new"
    project.mkdir()
    (project / ".sandbox").symlink_to(REPOSITORY / ".sandbox")
    lost, inv = stack.inv, dataclasses.replace(stack.inv, project=project)
    started = time.monotonic()
    for line in lines():
        words = shlex.split(line)
        if words[0] != "inv":
            environment = {**os.environ, "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
            subprocess.run(["sh", "-c", line], check=True, cwd=project, env=environment, timeout=60)
        elif words[1] != "host.trust":
            # What asks a person is answered.
            done = inv(*words[1:], *(["--yes"] if words[1].startswith("restore.") else []), timeout=600)
            assert done.code == 0 or words[1] == "doctor", str(done)
    seconds = time.monotonic() - started
    assert (project / ".secrets/sandbox/restic_password").stat().st_mode & 0o777 == 0o600
    assert inv("psql", "--command", "select plate from vehicles order by 1").ok().out == kept["plates"]
    assert stack.host(f"cat {UPLOADS}/kept.jpg; stat -c %u:%g {UPLOADS} {UPLOADS}/kept.jpg").out.split() == [
        "photo", "1000:1000", "1000:1000",
    ]  # fmt: skip
    assert json.loads(inv("ssl.status", "--json").ok().out)["names"][0]["serial"] == kept["serial"]
    assert (stack.health()["database"], stack.health()["version"]) == ("connected", VERSION)
    assert "NOT-LOST" in stack.get(API, "/api/vehicles")[2].decode()
    inv("schedule.remove", "--yes").ok()
    lost("status").ok()
    say(f"from a bare host to everything as it was: {seconds:.0f} s")
