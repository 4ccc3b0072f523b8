"""The figures of the product on this machine: start-up, status, deploy, rollback, memory, connections, overhead.

    .venv/bin/python benchmarks/figures.py            # needs the sandbox with two versions pushed: README.md here

Prints a Markdown table with the bars; medians of the rounds, in which the measurements take turns.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from by_hand import rolled_by_hand
from ground import INV, ROOT, Ground, arguments, ground, say, table

from flotteq_tasks.model.events import Event, StepDone
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations.deploy import DeployRequest, deploy, rollback

sys.path.insert(0, str(ROOT / "tests"))
from support.relay import delayed

EMPTY = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"
MEBIBYTE = 1 << 20
ROUND_TRIP = 0.05
UNWATCHED = ("--soak", "0")
UNSETTLED = {"FLOTTEQ__DEPLOY__SETTLE": "0"}

Found = defaultdict[str, list[float]]


def start_up(found: Found) -> None:
    """``inv --list`` in the repository and beside an empty tasks.py."""
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "tasks.py").write_text(EMPTY)
        for _ in range(3):
            found["empty"].append(_seconds(Path(empty)))
            found["list"].append(_seconds(ROOT))


def _seconds(directory: Path) -> float:
    started = time.monotonic()
    subprocess.run([INV, "--list"], cwd=directory, capture_output=True, check=True, timeout=60)
    return time.monotonic() - started


def status(stand: Ground, found: Found) -> None:
    """``inv status``."""
    found["status"].append(stand.inv("status").seconds)


def deploys(stand: Ground, found: Found) -> None:
    """A whole ``inv deploy`` as people type it, then the same again: nothing is to be done."""
    version = stand.other()
    whole = stand.inv("deploy", "--version", version)
    found["deploy"].append(whole.seconds)
    found["memory"].append(whole.memory / MEBIBYTE)
    found["same"].append(stand.inv("deploy", "--version", version).seconds)


def channels(stand: Ground, found: Found) -> None:
    """What two deploys ask of SSH: of another version, and of the live one."""
    version = Version.parse(stand.other())
    for name in ("", "same_"):
        with stand.site() as site:
            deploy(site, DeployRequest(version, soak=0), os.environ)
            found[f"{name}channels"].append(site.host.channels)
            found[f"{name}connections"].append(site.host.connections)


def back(stand: Ground, found: Found) -> None:
    """A rollback to a kept release: until the switch, and until its end."""
    seen: dict[str, float] = {}

    def look(event: Event) -> None:
        if isinstance(event, StepDone):
            seen[event.name] = time.monotonic()

    with stand.site(look) as site:
        started = time.monotonic()
        rollback(site, "", os.environ)
        found["rollback"].append(time.monotonic() - started)
    found["rollback_switch"].append(seen["switch"] - started)


def overhead(stand: Ground, found: Found) -> None:
    """The same work by hand on the host, by ``inv deploy`` with and without settling, and by that 50 ms away."""
    with stand.site() as site:
        laps = rolled_by_hand(site)
    say(f"    by hand: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in laps.items())}")
    needed = sum(laps.values())
    near = stand.inv("deploy", "--version", stand.other(), *UNWATCHED).seconds
    unsettled = stand.given(UNSETTLED)
    bare = unsettled.inv("deploy", "--version", stand.other(), *UNWATCHED).seconds
    host = stand.settings.host
    version = stand.other()
    with delayed(host.address, host.port, ROUND_TRIP) as port, stand.through(port) as away:
        far = away.inv("deploy", "--version", version, *UNWATCHED).seconds
    for name, seconds in (("needed", needed), ("near", near), ("bare", bare), ("far", far)):
        found[name].append(seconds)
    found["overhead_bare"].append(bare - needed)
    found["overhead"].append(near - needed)
    found["overhead_far"].append(far - needed)


def rows(found: Found, watched: int) -> list[tuple[str, str, str]]:
    """The table: figure, measured, bar."""
    of = {name: statistics.median(values) for name, values in found.items()}
    return [
        ("figure", "measured", "bar"),
        (
            "`inv --list` beside an empty tasks.py",
            f"{of['list'] / of['empty']:.2f} times {of['empty']:.2f} s",
            "≤ 1.5 times",
        ),
        ("`inv status`", f"{of['status']:.2f} s", "≤ 2 s"),
        (
            f"`inv deploy` of a pushed version, all rolling services, {watched} s watched",
            f"{of['deploy']:.1f} s",
            "≤ 60 s",
        ),
        ("peak memory of the client during a deploy", f"{of['memory']:.0f} MiB", "≤ 150 MiB"),
        ("`inv deploy` of the live version", f"{of['same']:.1f} s", "≤ 3 s"),
        ("SSH connections of a deploy", f"{max(found['connections']):.0f}", "1"),
        ("SSH channels of a deploy", f"{max(found['channels']):.0f}", "≤ 15"),
        ("SSH channels of a deploy of the live version", f"{max(found['same_channels']):.0f}", ""),
        ("`inv rollback` to a kept release, until the switch", f"{of['rollback_switch']:.1f} s", "≤ 15 s"),
        (f"`inv rollback` to a kept release, {watched} s watched", f"{of['rollback']:.1f} s", ""),
        ("the same work by hand on the host", f"{of['needed']:.1f} s", ""),
        ("`inv deploy` beyond that", f"{of['near']:.1f} s: {of['overhead']:+.1f} s", "≤ 3 s"),
        ("… with `deploy.settle = 0`", f"{of['bare']:.1f} s: {of['overhead_bare']:+.1f} s", ""),
        (
            f"`inv deploy` beyond that, {ROUND_TRIP * 1000:.0f} ms round trip",
            f"{of['far']:.1f} s: {of['overhead_far']:+.1f} s",
            "≤ 6 s",
        ),
    ]


def main() -> None:
    """Measure in rounds and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    stand = ground(options)
    found: Found = defaultdict(list)
    # Both versions' images are on the host from here on, and there is a release to go back to.
    for _ in range(2):
        stand.inv("deploy", "--version", stand.other(), *UNWATCHED)
    measurements: list[Callable[[Ground, Found], None]] = [status, deploys, channels, back, overhead]
    for turn in range(1, options.rounds + 1):
        start_up(found)
        for measurement in measurements:
            measurement(stand, found)
        say(f"{turn}/{options.rounds}  {', '.join(f'{name} {values[-1]:.2f}' for name, values in found.items())}")
    print(f"Medians of {options.rounds} rounds; connections and channels are the most of any.\n")
    print(table(*rows(found, stand.settings.deploy.monitor)))


if __name__ == "__main__":
    main()
