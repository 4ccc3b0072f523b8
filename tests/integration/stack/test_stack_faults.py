"""Every fault of what the backup program works with is answered in words, and leaves nothing half-done."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.stack import Stack

pytestmark = pytest.mark.stack

FILES = {name: Path(__file__).with_name(name).read_text() for name in ("fault_bench.py", "fault_trials.py")}
TRIALS = re.findall(r"^def (trial_\w+)", FILES["fault_trials.py"], re.M)
# In the backup image, with its own code and no network: nothing live is near. The small disks are there to be filled.
RUN = """
image=$(sed -n 's/^BACKUP_IMAGE=//p' /opt/flotteq/.env)
exec docker run --rm --interactive --init --network none --tmpfs /small:size=64m --tmpfs /live:size=384m \\
  --entrypoint python3 "$image" - $TRIALS
"""


_MAIN = "runpy.run_path('/tmp/fault_trials.py', run_name='__main__')"


def _tried(stack: Stack, names: list[str]) -> list[dict[str, str]]:
    run = RUN.replace("$TRIALS", " ".join(names))
    done = stack.host(run, stdin=program().encode(), timeout=400)
    return [json.loads(line) for line in done.out.splitlines()]


def program() -> str:
    """One text that lays the files down and runs the last."""
    lines = [f"pathlib.Path('/tmp/{name}').write_text({text!r})" for name, text in FILES.items()]
    return "\n".join(["import pathlib, runpy, sys", *lines, "sys.path[:0] = ['/tmp']", _MAIN])


@pytest.fixture(scope="module")
def ended(stack: Stack) -> dict[str, str]:
    """What was wrong with each trial."""
    # Two containers, that nobody waits for restic's keys on one core alone.
    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(lambda names: _tried(stack, names), (TRIALS[::2], TRIALS[1::2]))
        return {one["name"]: one["wrong"] for half in halves for one in half}


@pytest.mark.parametrize("name", TRIALS)
def test_a_fault_is_answered(ended: dict[str, str], name: str) -> None:
    assert ended.get(name, "it did not run") == ""
