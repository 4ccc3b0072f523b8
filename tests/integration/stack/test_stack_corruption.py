"""Whatever is wrong with a repository is seen before a database is made from it."""

import json
from pathlib import Path

import pytest
from support.stack import Stack

pytestmark = pytest.mark.stack

TRIALS = 50
PROGRAM = Path(__file__).with_name("corruption_trials.py").read_text()
# In the backup image, with the program's own code and no network: nothing live is near.
RUN = """
image=$(sed -n 's/^BACKUP_IMAGE=//p' /opt/flotteq/.env)
exec docker run --rm --interactive --network none --tmpfs /work:size=256m --entrypoint python3 "$image" \\
  - {trials} {seed}
"""


def test_fifty_random_corruptions_are_all_seen(stack: Stack) -> None:
    seed = 20261125
    done = stack.host(RUN.format(trials=TRIALS, seed=seed), stdin=PROGRAM.encode(), timeout=280)
    found = [json.loads(line) for line in done.out.splitlines()]
    assert len(found) == TRIALS
    missed = [one for one in found if one["ended"] not in ("refused", "restored and seen by the check")]
    assert missed == [], f"seed {seed}"
    # A few hit what a restore does not read, such as the header of a pack.
    assert sum(one["ended"] == "refused" for one in found) > TRIALS * 0.8
    assert {one["how"] for one in found} == {"flip", "cut", "remove"}
