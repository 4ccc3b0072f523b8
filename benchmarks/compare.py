"""``inv deploy`` beside two ways of doing it by hand: failed requests, time until live, time until finished.

    .venv/bin/python benchmarks/compare.py            # needs the sandbox with two versions pushed: README.md here

The same host, images, load and settings for all; the ways take turns, and each round begins with the next one. Before
each measured run ``inv deploy`` brings the first version back, which is not measured.
"""

import shlex
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from ground import LIMIT, RAISED, Ground, arguments, ground, say, table
from outside import Watch, load

from flotteq_tasks.model.stack import Settings, variable


@dataclass(frozen=True)
class Run:
    """One measured run; seconds from the command's begin."""

    failed: int
    sent: int
    live: float
    mixed: float
    finished: float


def product(ground: Ground, version: str) -> None:
    """As people type it, watched for as long as the settings say."""
    ground.inv("deploy", "--version", version)


def plain(ground: Ground, version: str) -> None:
    """Another version in .env, then Compose alone."""
    compose = _compose(ground.settings)
    _ssh(ground, f"{_edit(ground.settings, version)} && {compose} pull -q && {compose} up -d --wait")


def old_script(ground: Ground, version: str) -> None:
    """The old script without what it did worst: it pulls instead of building here, and leaves the databases alone."""
    settings, compose = ground.settings, _compose(ground.settings)
    first, *others = settings.of_kind("rolling")
    recreate = f"{compose} up -d --no-deps --force-recreate"
    lines = [
        _edit(settings, version), f"{compose} pull -q", "sleep 10", f"{recreate} {first}", "sleep 30",
        *(f"{recreate} {name}" for name in others), "sleep 10",
    ]  # fmt: skip
    _ssh(ground, " && ".join(lines))


WAYS: dict[str, Callable[[Ground, str], None]] = {
    "`inv deploy`": product,
    "`docker compose pull && docker compose up -d --wait`": plain,
    "`--force-recreate` per service, sleeps of 10 + 30 + 10 s": old_script,
}


def _compose(settings: Settings) -> str:
    file = settings.project.compose_file.rpartition("/")[2]
    return f"docker compose -f {shlex.quote(file)}"


def _edit(settings: Settings, version: str) -> str:
    changes = [
        f"-e 's#^{variable(name, 'image')}=.*#{variable(name, 'image')}={settings.reference(name, version)}#'"
        for name in settings.of_kind("rolling")
    ]
    return f"sed -i {' '.join(changes)} .env"


def _ssh(ground: Ground, script: str) -> None:
    """Run a script as root in the project's directory on the host, by the plain ssh client."""
    settings = ground.settings
    host = settings.host
    line = f"sudo sh -c {shlex.quote(f'cd {settings.directory} && {script}')}"
    words = [
        "ssh", "-p", str(host.port), "-i", str(settings.root / host.key_file), "-o", "BatchMode=yes",
        "-o", f"UserKnownHostsFile={settings.root / host.known_hosts}", "-o", "StrictHostKeyChecking=yes",
        f"{host.user}@{host.address}", line,
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"ssh ended with {done.returncode}:\n{script}\n{done.stdout}{done.stderr}")


def measure(ground: Ground, way: Callable[[Ground, str], None], version: str, threads: int) -> Run:
    """Run one way under load."""
    with load(ground, threads=threads, seconds=LIMIT) as visitors:
        visitors.wait_for(100)
        with Watch(ground, version) as watch:
            started = time.monotonic()
            way(ground, version)
            finished = time.monotonic() - started
            live = watch.wait(60)
        visitors.wait_for(200)
    result = visitors.result
    if result.failed:
        say(f"    {dict(result.failed)}, first: {result.examples[0][:100]}")
    return Run(sum(result.failed.values()), result.total, live, watch.mixed, finished)


def back(ground: Ground, version: str) -> None:
    """Bring a version back whatever was done by hand."""
    ground.inv("deploy", "--version", version, "--soak", "0", "--skip-backup", "--skip-migrations")


def show(found: dict[str, list[Run]]) -> str:
    """A row for each way: medians, and of the failures the whole range."""
    rows = [("way", "failed requests", "new version live", "old and new side by side", "finished")]
    for name, runs in found.items():
        if not runs:
            continue
        failed = [run.failed for run in runs]
        live, mixed, finished = (
            statistics.median(getattr(run, what) for run in runs) for what in ("live", "mixed", "finished")
        )
        rows.append(
            (
                name,
                f"{statistics.median(failed):g} of {statistics.median(run.sent for run in runs):,.0f} "
                f"({min(failed)} to {max(failed)})",
                f"{live:.1f} s",
                f"{mixed:.1f} s",
                f"{finished:.1f} s",
            )
        )
    return table(*rows)


def main() -> None:
    """Measure in turns and print; what was measured before a Ctrl-C is printed, too."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each way")
    parser.add_argument("--threads", type=int, default=4, help="visitors at a time")
    options = parser.parse_args()
    plainly = ground(options)
    stand = plainly.given(RAISED)
    base, version = stand.versions
    found: dict[str, list[Run]] = {name: [] for name in WAYS}
    ways = list(WAYS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Once each way before it counts: both versions' images are on the host from here on.
        for one in (version, base):
            back(stand, one)
        for turn in range(options.rounds):
            for name in [*ways[turn % len(ways) :], *ways[: turn % len(ways)]]:
                back(stand, base)
                run = measure(stand, WAYS[name], version, options.threads)
                found[name].append(run)
                say(f"{turn + 1}/{options.rounds}  {name}: {run}")
    except KeyboardInterrupt:
        say("stopped; what was measured so far:")
    finally:
        back(plainly, base)
    runs = " and ".join(sorted({str(len(one)) for one in found.values()}))
    print(f"Medians of {runs} runs each, {options.threads} visitors at a time; in brackets the fewest and the most.\n")
    print(show(found))


if __name__ == "__main__":
    main()
