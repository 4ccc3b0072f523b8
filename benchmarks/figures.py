"""The figures of the product on this machine: start-up, status, deploy, memory, connections.

    .venv/bin/python benchmarks/figures.py            # needs the sandbox with the sample deployed (./scripts/demo)

Prints a Markdown table; medians of the runs that the table names.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.factory import target
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy import DeployRequest, deploy, rollback
from flotteq_tasks.settings.loader import load

ROOT = Path(__file__).resolve().parents[1]
INV = Path(sys.executable).parent / "inv"
EMPTY = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"


def seconds(words: list[str], directory: Path, runs: int) -> float:
    """Median seconds of a command; its output goes nowhere."""
    took = []
    for _ in range(runs):
        started = time.monotonic()
        subprocess.run(words, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        took.append(time.monotonic() - started)
    return statistics.median(took)


def deploys(versions: tuple[str, str], runs: int) -> dict[str, float]:
    """Deploy two versions in turn in this process; the host object counts connections and channels."""
    settings = load(ROOT, "sandbox", os.environ)
    took, channels, connections, back = [], [], [], []
    for number in range(runs):
        host = SshHost(target(settings, os.environ))
        site = Site(settings, host, ComposeEngine(host, settings), Report(lambda event: None))
        done = deploy(site, DeployRequest(Version.parse(versions[(number + 1) % 2])), os.environ)
        took.append(done.seconds)
        channels.append(host.channels)
        connections.append(host.connections)
        host.close()
    host = SshHost(target(settings, os.environ))
    site = Site(settings, host, ComposeEngine(host, settings), Report(lambda event: None))
    back.append(rollback(site, "", os.environ).seconds)
    before, started = host.channels, time.monotonic()
    deploy(site, DeployRequest(Version.parse(site.engine.facts().release.version)), os.environ)
    same, same_channels = time.monotonic() - started, host.channels - before
    host.close()
    return {
        "deploy": statistics.median(took), "channels": max(channels), "connections": max(connections),
        "rollback": statistics.median(back), "same": same, "same_channels": same_channels,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    os.environ["FLOTTEQ_ENV"] = "sandbox"
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "tasks.py").write_text(EMPTY)
        bare = seconds([str(INV), "--list"], Path(empty), 15)
    listed = seconds([str(INV), "--list"], ROOT, 15)
    status = seconds([str(INV), "status"], ROOT, 5)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run([INV, "deploy", "--version", "v1.1.0"], cwd=ROOT, capture_output=True, check=True)
    memory = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
    found = deploys(("v1.0.0", "v1.1.0"), 5)
    rows = [
        ("`inv --list` beside an empty tasks.py", f"{listed / bare:.2f} times {bare:.2f} s", "≤ 1.5 times"),
        ("`inv status`", f"{status:.2f} s", "≤ 2 s"),
        ("`inv deploy` of a pushed version, all five services, 5 s watched", f"{found['deploy']:.1f} s", "≤ 60 s"),
        ("`inv rollback` to a kept release, 5 s watched", f"{found['rollback']:.1f} s", ""),
        ("`inv deploy` of the live version", f"{found['same']:.1f} s, {found['same_channels']} channels", ""),
        ("peak memory of the client during a deploy", f"{memory:.0f} MiB", "≤ 150 MiB"),
        ("SSH connections of a deploy", f"{found['connections']:.0f}", "1"),
        ("SSH channels of a deploy", f"{found['channels']:.0f}", ""),
    ]
    print("| figure | measured | bar |\n|---|---|---|")
    for name, value, bar in rows:
        print(f"| {name} | {value} | {bar} |")


if __name__ == "__main__":
    main()
