"""Kill deploys at random times and see what is left: the site must serve throughout, one release must remain.

    .venv/bin/python benchmarks/soak.py --kills 200

Needs the sandbox with two versions of the sample pushed (``./scripts/demo``, then build and push v1.1.0). All traffic
stays on this machine; the number of kills and the time of each are bounded. The last line is the result.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.factory import make_host
from flotteq_tasks.model.events import Report
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.lock import who_holds
from flotteq_tasks.operations.probing import probing
from flotteq_tasks.operations.repair import needs_repair
from flotteq_tasks.settings.loader import load

ROOT = Path(__file__).resolve().parents[1]
INV = Path(sys.executable).parent / "inv"
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}
LIMIT = 180
# The probe here and the one of the deploy come from one address: the edge's limits are not what is measured.
RAISED = {f"FLOTTEQ__LIMITS__{name}": "5000" for name in ("API_RATE", "API_BURST", "WEB_RATE", "WEB_BURST")}


def inv(*words: str, env: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one task to its end."""
    done = subprocess.run([INV, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"inv {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def kill_one(version: str, signal_name: str, after: float, env: dict[str, str]) -> tuple[int, str]:
    """Start a deploy, kill its client after so many seconds; return its exit code and the step that it had begun."""
    process = subprocess.Popen(
        [INV, "deploy", "--version", version, "--soak", "1"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(SIGNALS[signal_name])
    _, said = process.communicate(timeout=LIMIT)
    begun = [line.strip().removesuffix("…").strip() for line in said.splitlines() if line.endswith("…")]
    return process.returncode, begun[-1] if begun else "before the first step"


def problems(site: Site) -> list[str]:
    """What is not as it must be after a repair: one release, all healthy, lock free, nothing left over."""
    facts = site.engine.facts()
    rolling = site.settings.of_kind("rolling")
    found = [f"{one.name} is {one.state} {one.health}" for one in facts.instances if not one.healthy]
    if facts.release is None:
        return [*found, "no release is live"]
    found += [
        f"{one.name} runs {one.image}, the release {facts.release.id} has another image"
        for one in facts.instances
        if one.service in rolling and one.image != facts.release.images[one.service]
    ]
    if len(facts.instances) != len(site.settings.services):
        found.append(f"{len(facts.instances)} containers for {len(site.settings.services)} services")
    if needs_repair(facts, rolling):
        found.append("something is half-done")
    lock = who_holds(site.host, site.state)
    return found if "is not locked" in lock else [*found, lock]


def main() -> int:
    """Run the soak; the exit code says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=16.0, help="seconds after which the last kill happens")
    parser.add_argument("--versions", nargs=2, default=("v1.0.0", "v1.1.0"))
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
    env = {**os.environ, "FLOTTEQ_ENV": "sandbox", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", **RAISED}
    inv("deploy", "--version", options.versions[0], env=env)
    settings = load(ROOT, "sandbox", os.environ)
    host = make_host(settings, os.environ)
    site = Site(settings, host, ComposeEngine(host, settings), Report(lambda event: None))
    steps, codes, wrong = Counter[str](), Counter[str](), []
    started = time.monotonic()
    with probing(settings, verify=True) as tally:
        for number in range(1, options.kills + 1):
            version = options.versions[number % 2]
            name = chance.choice(list(SIGNALS))
            code, step = kill_one(version, name, chance.uniform(0.5, options.longest), env)
            steps[step] += 1
            codes[f"{name} {code}"] += 1
            then = chance.choice(("deploy", "deploy.abort", "deploy.resume"))
            words = [then, "--version", version, "--soak", "1"] if then == "deploy" else [then]
            done = inv(*words, env=env, check=False)
            if done.returncode != 0 and not (then == "deploy.resume" and "no deploy to go on with" in done.stderr):
                wrong.append(f"{number}: inv {' '.join(words)} ended with {done.returncode}: {done.stderr[-600:]}")
            if then == "deploy.resume" and done.returncode != 0:
                inv("deploy.abort", env=env)
            left = problems(site)
            wrong += [f"{number} ({name} during {step}, then {then}): {text}" for text in left]
            print(
                f"{number:4} {name:8} during {step:<12} exit {code:4}  then {then:<13} {'; '.join(left) or 'ok'}",
                flush=True,
            )
    minutes = (time.monotonic() - started) / 60
    print(f"\nby step: {dict(steps)}\nby signal and exit code: {dict(codes)}")
    for text in wrong:
        print(text)
    print(
        f"{options.kills} kills in {minutes:.0f} min: {len(wrong)} problems; "
        f"{tally.failed} of {tally.sent} probes failed {tally.first}"
    )
    return 1 if wrong or tally.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
