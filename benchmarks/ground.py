"""What all measurements stand on: a project whose environment is a sandbox of this machine, and calls of ``inv``."""

import argparse
import contextlib
import ipaddress
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.factory import target
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.model.events import Event, Report
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site
from flotteq_tasks.settings.loader import load

ROOT = Path(__file__).resolve().parents[1]
INV = Path(sys.executable).parent / "inv"
LIMIT = 300
# All requests come from one address: the edge's limits are not what is measured.
RAISED = {f"FLOTTEQ__LIMITS__{name}": "5000" for name in ("API_RATE", "API_BURST", "WEB_RATE", "WEB_BURST")}


@dataclass(frozen=True)
class Call:
    """A call of ``inv`` that ended. ``memory`` is its peak in bytes."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float
    memory: int


@dataclass(frozen=True)
class Ground:
    """A project, its environment, and the variables of every call.

    Args:
        project: the directory where flotteq.toml is.
        versions: two versions of the application that were pushed.
        variables: the process environment of every call.
    """

    project: Path
    environment: str
    versions: tuple[str, str]
    variables: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """What the project's files and the variables say."""
        return load(self.project, self.environment, self.variables)

    def given(self, more: Mapping[str, str]) -> "Ground":
        """The same with further variables."""
        return replace(self, variables={**self.variables, **more})

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a call in a session of its own: a Ctrl-C here does not reach it. It says what it does on stderr."""
        return subprocess.Popen(
            [INV, *words], cwd=self.project, env=dict(self.variables), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def inv(self, *words: str, check: bool = True, limit: float = LIMIT) -> Call:
        """Run a call to its end, which comes after ``limit`` seconds at the latest.

        Raises:
            SystemExit: it did not end with 0, and ``check`` is on.
        """
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            started = time.monotonic()
            process = subprocess.Popen(
                [INV, *words], cwd=self.project, env=dict(self.variables), stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip
            clock = threading.Timer(limit, process.kill)
            clock.start()
            # wait4 and not wait: it alone tells the memory of this one child.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
            clock.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            said = []
            for stream in (out, err):
                stream.seek(0)
                said.append(stream.read())
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        done = Call(words, process.returncode, said[0], said[1], seconds, peak)
        if check and done.code != 0:
            raise SystemExit(f"inv {' '.join(words)} ended with {done.code}:\n{done.out}{done.err}")
        return done

    @contextlib.contextmanager
    def site(self, sink: Callable[[Event], None] = lambda event: None) -> Iterator[Site]:
        """The site over a connection of its own; its ``host`` counts connections and channels."""
        settings = self.settings
        host = SshHost(target(settings, self.variables))
        try:
            yield Site(settings, host, ComposeEngine(host, settings), Report(sink))
        finally:
            host.close()

    def live(self) -> str:
        """The version that is live, empty before the first deploy."""
        with self.site() as site:
            release = site.engine.facts().release
        return release.version if release else ""

    def other(self) -> str:
        """The version that is not live."""
        return self.versions[1] if self.live() == self.versions[0] else self.versions[0]

    @contextlib.contextmanager
    def through(self, port: int) -> Iterator["Ground"]:
        """The same host by way of another port of 127.0.0.1: a relay's, whose host keys are the host's."""
        settings = self.settings
        known = (settings.root / settings.host.known_hosts).read_text()
        with tempfile.NamedTemporaryFile("w", prefix="flotteq-known-hosts-") as file:
            file.write(known.replace(f"]:{settings.host.port} ", f"]:{port} "))
            file.flush()
            yield self.given({"FLOTTEQ__HOST__PORT": str(port), "FLOTTEQ__HOST__KNOWN_HOSTS": file.name})


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all measurements share."""
    parser = argparse.ArgumentParser(description=(description or "").strip().splitlines()[0])
    parser.add_argument("--project", type=Path, default=ROOT, help="directory of flotteq.toml (default: this one)")
    parser.add_argument("--env", default="sandbox", help="environment; its host must be on this machine")
    parser.add_argument("--versions", nargs=2, default=("v1.0.0", "v1.1.0"), help="two versions that were pushed")
    return parser


def ground(options: argparse.Namespace) -> Ground:
    """What the shared options mean.

    Raises:
        SystemExit: the host is not a sandbox of this machine, or nothing is live there.
    """
    variables = {**os.environ, "FLOTTEQ_ENV": options.env, "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
    first, second = options.versions
    found = Ground(options.project.resolve(), options.env, (first, second), variables)
    settings = found.settings
    for address in (settings.host.address, settings.edge.address):
        if not _is_loopback(address):
            raise SystemExit(f"{address or 'the edge'} is not on this machine: measurements interrupt and load a site")
    if not found.live():
        raise SystemExit(f"nothing is live on {settings.host.address}:{settings.host.port}: ./scripts/demo")
    return found


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def table(*rows: tuple[str, ...]) -> str:
    """Rows as a Markdown table; the first one is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def say(text: str) -> None:
    """A line of progress; results go to standard output."""
    print(text, file=sys.stderr, flush=True)
