"""Many deploys in a row, each of new images: disk, releases, containers and journal must stay bounded.

    .venv/bin/python benchmarks/row.py --deploys 50 --minutes 60     # needs v1.0.0 built here: README.md

Each version is the first one with other bytes in every image. Ctrl-C ends after the present deploy. The last line is
the result: what was there when retention had begun to remove, and what is there at the end.
"""

import io
import os
import signal
import subprocess
import tarfile
import time
from types import FrameType

from ground import LIMIT, RAISED, Ground, arguments, ground, say, table

from flotteq_tasks.commands.shell import script
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.retention import JOURNAL_LINES

BALLAST = 1 << 20
# What may differ between two counts although nothing grows: logs, page files of the database, the engine's own files.
SLACK = 32 << 20
# Between two deploys it may be longer than its limit by what one deploy writes.
JOURNAL_SLACK = 500

_COUNT = """
directory=$1 backups=$2 project=$3
number() { wc -l | tr -d ' '; }
size() { du -sxk "$@" 2>/dev/null | awk '{ sum += $1 } END { print sum * 1024 }'; }
echo releases "$(ls "$directory/releases" | number)"
echo dumps "$(find "$backups" -type f 2>/dev/null | number)"
echo secrets "$(find "$directory/secrets" -type f | number)"
echo containers "$(docker ps --all --quiet | number)"
echo images "$(docker images --no-trunc --quiet | sort -u | number)"
echo journal "$(wc -l <"$directory/state/journal.jsonl")"
echo project_bytes "$(size "$directory" "$backups")"
echo docker_bytes "$(size /var/lib/docker)"
"""

# The journal's own lines again and again: growing to its limit by deploys alone would take hundreds of them.
_LENGTHEN = """
file=$1 lines=$2
cp "$file" "$file.part"
while [ "$(wc -l <"$file.part")" -lt "$lines" ]; do cat "$file" >>"$file.part"; done
cat "$file" >>"$file.part"
tail -n "$lines" "$file.part" >"$file.next"
rm "$file.part"
mv "$file.next" "$file"
"""


def count(site: Site) -> dict[str, int]:
    """What there is on the host: numbers and bytes."""
    project = site.settings.project
    done = site.host.run(script(_COUNT, project.directory, project.backups, project.name), timeout=LIMIT)
    return {name: int(value) for name, value in (line.split() for line in done.out.splitlines())}


def publish(ground: Ground, version: str) -> None:
    """Make and push a version that has a layer of its own in every image; nothing of it stays on this machine."""
    settings, base = ground.settings, ground.versions[0]
    for service in (name for name, one in settings.services.items() if one.build):
        reference = settings.reference(service, version, push=True)
        recipe = f"FROM {settings.reference(service, base, push=True)}\nCOPY ballast /ballast\n"
        _docker("build", "--quiet", "--tag", reference, "-", stdin=_context(recipe))
        _docker("push", "--quiet", reference)
        _docker("image", "rm", reference)


def _context(recipe: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("Dockerfile", recipe.encode()), ("ballast", os.urandom(BALLAST))):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _docker(*words: str, stdin: bytes = b"") -> None:
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"docker {' '.join(words)} ended with {done.returncode}:\n{done.stderr.decode()}")


def grown(full: dict[str, int], last: dict[str, int], retain: int) -> list[str]:
    """What has no bound: numbers that are larger than when retention had begun to remove, bytes beyond the slack."""
    numbers = [name for name in ("dumps", "secrets", "containers", "images") if last[name] > full[name]]
    numbers += ["releases"] if last["releases"] > 2 * retain + 1 else []
    numbers += ["journal"] if last["journal"] > JOURNAL_LINES + JOURNAL_SLACK else []
    sizes = [name for name in ("project_bytes", "docker_bytes") if last[name] > full[name] + SLACK]
    return [f"{name} grew from {full[name]:,} to {last[name]:,}" for name in numbers + sizes]


class Stop:
    """Set by SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        say("stopping after this one")


def main() -> int:
    """Deploy and count; the exit code says whether anything grew or failed."""
    parser = arguments(__doc__)
    parser.add_argument("--deploys", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60, help="no deploy begins after this time")
    parser.add_argument("--long-journal", action="store_true", help=f"begin with a journal of {JOURNAL_LINES:,} lines")
    options = parser.parse_args()
    stand, stop = ground(options).given(RAISED), Stop()
    retain = stand.settings.deploy.retain
    started, stamp = time.monotonic(), int(time.time())
    counts: list[dict[str, int]] = []
    failed = ""
    with stand.site() as site:
        if options.long_journal:
            site.host.run(script(_LENGTHEN, f"{site.state}/journal.jsonl", JOURNAL_LINES))
        counts.append(count(site))
        while len(counts) <= options.deploys and not stop.asked and time.monotonic() - started < options.minutes * 60:
            version = f"v0.{stamp}.{len(counts)}"
            publish(stand, version)
            call = stand.inv("deploy", "--version", version, "--soak", "0", check=False)
            if call.code != 0:
                failed = f"inv deploy --version {version} ended with {call.code}: {call.err.strip()[-600:]}"
                break
            counts.append(count(site))
            say(f"{len(counts) - 1:3}  {call.seconds:5.1f} s  {counts[-1]}")
    minutes = (time.monotonic() - started) / 60
    if not failed:
        stand.inv("deploy", "--version", stand.versions[0], "--soak", "0")
    return _show(counts, retain, minutes, [failed] if failed else [])


def _show(counts: list[dict[str, int]], retain: int, minutes: float, wrong: list[str]) -> int:
    # One more than is kept: from here on each deploy removes what it adds.
    full = min(retain + 1, len(counts) - 1)
    columns = {"before": counts[0], "after the 1st": counts[min(1, full)], f"after {full}": counts[full]}
    columns[f"after {len(counts) - 1}"] = counts[-1]
    print(table(("", *columns), *((name, *(f"{one[name]:,}" for one in columns.values())) for name in counts[0])))
    wrong = [*wrong, *grown(counts[full], counts[-1], retain)]
    if len(counts) - 1 == full:
        wrong.append(f"too few to tell: retention removes from the {retain + 1}th on")
    print(f"\n{len(counts) - 1} deploys in {minutes:.0f} min: {'; '.join(wrong) or 'nothing grew'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
