"""The host is lost: docs/RESTORE.md line by line on a bare one, with nothing but secrets and a copy of the backups."""

import json
import re
import shlex
import time
from collections.abc import Callable

import pytest
from support.stack import API, REPOSITORY, VERSION, Stack

pytestmark = pytest.mark.stack

PLACE, COPY = "/var/backups/flotteq", "/root/copy-of-backups"
UPLOADS = "/var/lib/docker/volumes/flotteq_uploads_data/_data"


def calls() -> list[list[str]]:
    """The commands of the document, in their order."""
    text = (REPOSITORY / "docs/RESTORE.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    return [shlex.split(line.strip()) for block in blocks for line in block.splitlines() if line.strip()]


def test_the_document_brings_everything_back(stack: Stack, say: Callable[[str], None]) -> None:
    stack.inv("psql", "--command", "insert into vehicles (plate) values ('NOT-LOST')").ok()
    stack.host(f"echo photo >{UPLOADS}/kept.jpg; chown 1000:1000 {UPLOADS}/kept.jpg")
    stack.inv("backup.all").ok()
    plates = stack.inv("psql", "--command", "select plate from vehicles order by 1").ok().out
    serial = json.loads(stack.inv("ssl.status", "--json").ok().out)["names"][0]["serial"]
    stack.host(f"rm -rf {COPY}; cp -a {PLACE} {COPY}")
    stack.wipe()
    started = time.monotonic()
    for words in calls():
        if words[0] == "rsync":
            stack.host(f"mkdir -p {PLACE}; cp -a {COPY}/. {PLACE}/")
        elif words[1] != "host.trust":
            # What asks a person is answered.
            asks = words[1].startswith("restore.")
            done = stack.inv(*words[1:], *(["--yes"] if asks else []), timeout=600)
            assert done.code == 0 or words[1] == "doctor", str(done)
    seconds = time.monotonic() - started
    assert stack.inv("psql", "--command", "select plate from vehicles order by 1").ok().out == plates
    assert stack.host(f"cat {UPLOADS}/kept.jpg; stat -c %u:%g {UPLOADS} {UPLOADS}/kept.jpg").out.split() == [
        "photo", "1000:1000", "1000:1000",
    ]  # fmt: skip
    assert json.loads(stack.inv("ssl.status", "--json").ok().out)["names"][0]["serial"] == serial
    assert (stack.health()["database"], stack.health()["version"]) == ("connected", VERSION)
    assert "NOT-LOST" in stack.get(API, "/api/vehicles")[2].decode()
    stack.inv("schedule.remove", "--yes").ok()
    stack.host(f"rm -rf {COPY}")
    say(f"from a bare host to everything as it was: {seconds:.0f} s")
