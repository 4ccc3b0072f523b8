"""The Compose file as a person runs it, without this tool."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORDS = ("docker", "compose", "--env-file", ".env.production", "-f", "compose/docker-compose.production.yml")


@pytest.mark.host
@pytest.mark.usefixtures("sandbox_images")
def test_the_env_file_is_all_that_it_needs() -> None:
    done = subprocess.run([*WORDS, "config", "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    running = [name for name, body in services.items() if body.get("deploy", {}).get("replicas") != 0]
    # Without a setting that asks for it nothing receives a log.
    assert (len(running), set(services) - set(running)) == (9, {"wal-receiver"})
    assert {name for name, body in services.items() if body.get("ports")} == {"nginx"}
