"""Kill deploys at random moments and see what is left: the site serves throughout, one release remains.

    .venv/bin/python benchmarks/soak.py --kills 200 --minutes 90     # needs two versions pushed: README.md here

A deploy is stopped by a signal or by a broken link, then one command must leave exactly one release. After SIGINT and
SIGTERM not even that: the client itself puts everything back. A line for each kill; Ctrl-C ends after the present one.
The last line is the result.
"""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import FrameType

from ground import RAISED, Ground, arguments, ground
from link import Link
from outside import served

from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.lock import LEASE, who_holds
from flotteq_tasks.operations.probing import Tally, probing
from flotteq_tasks.operations.repair import needs_repair
from flotteq_tasks.operations.verification import tls_context

LIMIT = 180
# How often each is drawn. A cut link costs a minute: the client notices after 30 s, the host's lock ends after 45 s.
KINDS = {"SIGINT": 3, "SIGTERM": 3, "SIGKILL": 5, "reset": 3, "cut": 1}
# Exit codes that say the truth: ended before, put back and why, connection lost. `reset` may also find the host again.
CODES = {
    "": (0,), "SIGINT": (0, 130), "SIGTERM": (0, 143), "SIGKILL": (0, -9), "reset": (0, 1, 3, 69), "cut": (0, 69),
}  # fmt: skip
AFTERWARDS = {"deploy.abort": 2, "deploy": 1, "deploy.resume": 1}


@dataclass(frozen=True)
class Kill:
    """A deploy that was stopped.

    Args:
        kind: how it was stopped; empty when it had ended before.
        after: seconds from its start.
        step: what it had begun last.
        said: all of its words.
    """

    kind: str
    after: float
    code: int
    step: str
    said: str

    @property
    def tidied(self) -> bool:
        """Whether the client itself must have put everything back or finished: what is recorded is only cleaned up."""
        caught = self.kind in ("SIGINT", "SIGTERM") and self.step not in ("record", "clean up")
        return caught or not self.kind


@dataclass
class Soak:
    """Kills one deploy after the other and counts.

    Args:
        longest: seconds after which the last kill happens.
    """

    ground: Ground
    site: Site
    tally: Tally
    chance: random.Random
    longest: float
    kinds: list[str]
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    kills: int = 0

    def once(self) -> str:
        """Kill one deploy, bring the host back, look at it; return the line about it."""
        version = self.ground.other()
        kind = self.chance.choice(self.kinds)
        self.kills += 1
        before = self.tally.failed
        with ExitStack() as links:
            kill = self._kill(links, version, kind, self.chance.uniform(0.2, self.longest))
            found = [] if kill.code in CODES[kill.kind] else [f"exit code {kill.code}: {kill.said[-300:]}"]
            found += self._bring_back(kill, version)
        if self.tally.failed > before:
            found.append(f"{self.tally.failed - before} probes failed")
        self.done[f"{kill.kind or 'too late'} {kill.code}"] += 1
        self.steps[kill.step] += 1
        how = f"{kill.kind or 'too late':9}{kill.after:5.1f} s  {kill.step:<24} exit {kill.code:4}"
        line = f"{how}  {'; '.join(found) or 'ok'}"
        self.wrong += [line] if found else []
        return line

    def _kill(self, links: ExitStack, version: str, kind: str, after: float) -> Kill:
        call = ("deploy", "--version", version, "--soak", "1")
        stop: Callable[[], None]
        if kind in ("reset", "cut"):
            host = self.ground.settings.host
            link = links.enter_context(Link(host.address, host.port))
            process = links.enter_context(self.ground.through(link.port)).start(*call)
            stop = link.reset if kind == "reset" else link.cut
        else:
            process = self.ground.start(*call)
            stop = _signal(process, kind)
        said: list[str] = []
        reader = threading.Thread(target=said.extend, args=(process.stderr,))
        reader.start()
        late = True
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            late = False
            stop()
        try:
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            said.append(f"it did not end within {LIMIT} s of the {kind}")
        reader.join(10)
        words = "".join(said)
        return Kill("" if late else kind, after, code, _step(words), words.strip())

    def _bring_back(self, kill: Kill, version: str) -> list[str]:
        """One command must do; return what is wrong afterwards."""
        if kill.tidied:
            found = self.problems()
            if not found:
                return []
            self.ground.inv("deploy.abort")
            return [*found, *(f"even after deploy.abort: {text}" for text in self.problems())]
        if kill.kind == "cut" and not self._lock_ends():
            return [f"the lock is held {LEASE + 15} s after the cut"]
        words = self._afterwards(version)
        done = self.ground.inv(*words, check=False)
        found = []
        if done.code != 0 and words[0] == "deploy.resume" and "no deploy to go on with" in done.err:
            self.ground.inv("deploy.abort")
        elif done.code != 0:
            found.append(f"inv {' '.join(words)} ended with {done.code}: {done.err.strip()[-300:]}")
        return [*found, *(f"after {words[0]}: {text}" for text in self.problems())]

    def _afterwards(self, version: str) -> tuple[str, ...]:
        name = self.chance.choices(list(AFTERWARDS), weights=list(AFTERWARDS.values()))[0]
        return (name, "--version", version, "--soak", "1") if name == "deploy" else (name,)

    def _lock_ends(self) -> bool:
        deadline = time.monotonic() + LEASE + 15
        while "is not locked" not in who_holds(self.site.host, self.site.state):
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
        return True

    def problems(self) -> list[str]:
        """What is not as it must be: one release, all healthy, the lock free, nothing left over, all domains alike."""
        site, settings = self.site, self.site.settings
        facts, rolling = site.engine.facts(), settings.of_kind("rolling")
        found = [f"{one.name} is {one.state} {one.health}" for one in facts.instances if not one.healthy]
        if facts.release is None:
            return [*found, "no release is live"]
        found += [
            f"{one.name} runs {one.image}, the release {facts.release.id} has another image"
            for one in facts.instances
            if one.service in rolling and one.image != facts.release.images[one.service]
        ]
        standing = [name for name, service in settings.services.items() if service.kind != "job"]
        if len(facts.instances) != len(standing):
            found.append(f"{len(facts.instances)} containers for {len(standing)} services")
        if needs_repair(facts, rolling):
            found.append("something is half-done")
        lock = who_holds(site.host, site.state)
        found += [] if "is not locked" in lock else [lock]
        context = tls_context(settings)
        shown = {settings.domain(name): served(settings, name, context) for name in settings.public}
        return found + [
            f"{domain} shows {version or 'no version'}, live is {facts.release.version}"
            for domain, version in shown.items()
            if version != facts.release.version
        ]


def _step(said: str) -> str:
    """The step that was begun last, before anything was undone."""
    begun = [line.strip().removesuffix("…").strip() for line in said.splitlines() if line.rstrip().endswith("…")]
    ahead = [name for name in begun if not name.startswith("undo ")]
    return ahead[-1] if ahead else "before the first step"


def _signal(process: subprocess.Popen[str], kind: str) -> Callable[[], None]:
    return lambda: process.send_signal(signal.Signals[kind])


class Stop:
    """Set by the first SIGINT or SIGTERM; a second one ends the present kill, too."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("stopping after this one", flush=True)


def main() -> int:
    """Run the soak; the exit code says whether anything was wrong."""
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=90, help="no kill begins after this time")
    parser.add_argument("--seed", type=int, default=1, help="the same kinds and moments again")
    parser.add_argument("--longest", type=float, default=0, help="seconds until the latest kill (default: a deploy's)")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="only these, each as often")
    options = parser.parse_args()
    plainly = ground(options)
    stand, stop = plainly.given(RAISED), Stop()
    whole = stand.inv("deploy", "--version", stand.other(), "--soak", "1").seconds
    chance = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
    kinds = options.kinds or [name for name, often in KINDS.items() for _ in range(often)]
    started = time.monotonic()
    with stand.site() as site, probing(stand.settings, verify=True) as tally:
        soak = Soak(stand, site, tally, chance, options.longest or whole, kinds)
        print(f"a deploy takes {whole:.1f} s; kills come within {soak.longest:.1f} s", flush=True)
        try:
            while soak.kills < options.kills and not stop.asked and time.monotonic() - started < options.minutes * 60:
                line = soak.once()
                print(f"{soak.kills:4} {(time.monotonic() - started) / 60:5.1f} min  {line}", flush=True)
        except KeyboardInterrupt:
            print("stopped in the middle of one: inv deploy.abort", flush=True)
        finally:
            _summary(soak, (time.monotonic() - started) / 60)
    if not stop.asked:
        plainly.inv("deploy", "--version", plainly.live())
    return 1 if soak.wrong or tally.failed else 0


def _summary(soak: Soak, minutes: float) -> None:
    print(f"\nby kind and exit code: {dict(soak.done.most_common())}")
    print(f"by step: {dict(soak.steps.most_common())}")
    for line in soak.wrong:
        print(f"wrong: {line}")
    print(
        f"{soak.kills} kills in {minutes:.0f} min: {len(soak.wrong)} with problems; "
        f"{soak.tally.failed} of {soak.tally.sent} probes failed {soak.tally.first}".rstrip()
    )


if __name__ == "__main__":
    raise SystemExit(main())
