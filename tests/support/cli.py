"""The command line as users type it: a process of its own, no terminal, the project as working directory."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

INV = Path(sys.executable).parent / "inv"
# What a developer's shell or a CI system sets must not change what the tests see.
_FOREIGN = ("FLOTTEQ", "GITHUB_", "GITLAB_", "INVOKE_", "CI", "SSH_AUTH_SOCK", "COLUMNS", "TERM", "NO_COLOR")


@dataclass(frozen=True)
class Completed:
    """A call that ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def sentence(self) -> str:
        """The line that says what went wrong."""
        failed = [line for line in self.err.splitlines() if line.startswith(("✗", "x ", "FAILED"))]
        return failed[-1] if failed else self.err.strip().rpartition("\n")[2]

    def ok(self) -> Self:
        """Return itself, or fail with everything that the call said."""
        return self.ended(0)

    def ended(self, code: int) -> Self:
        """Return itself when it ended with this code."""
        assert self.code == code, f"exit code {self.code} instead of {code}\n{self}"
        return self

    def __str__(self) -> str:
        return f"$ inv {' '.join(self.words)}   (exit code {self.code}, {self.seconds:.1f} s)\n{self.out}\n{self.err}"


class Running:
    """A call that goes on while the test looks at it."""

    def __init__(self, process: subprocess.Popen[str], words: tuple[str, ...], log: list[Completed]) -> None:
        self.process, self.words, self._log = process, words, log
        self._started = time.monotonic()
        self._parts: dict[str, list[str]] = {"out": [], "err": []}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def said(self) -> str:
        """What it has said so far."""
        return "".join(self._parts["err"])

    def heard(self) -> str:
        """What it has printed so far."""
        return "".join(self._parts["out"])

    def says(self, text: str, timeout: float = 120) -> float:
        """Wait until it says something; return the moment (``time.monotonic``)."""
        deadline = time.monotonic() + timeout
        while text not in self.said():
            assert self.process.poll() is None, f"it ended without {text!r}:\n{self.said()}"
            assert time.monotonic() < deadline, f"no {text!r} within {timeout:g} s:\n{self.said()}"
            time.sleep(0.005)
        return time.monotonic()

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 180) -> Completed:
        """Wait for its end."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"inv {' '.join(self.words)} did not end in {timeout:g} s:\n{self.said()}") from None
        for reader in self._readers:
            reader.join(10)
        out, err = ("".join(self._parts[name]) for name in ("out", "err"))
        done = Completed(self.words, code, out, err, time.monotonic() - self._started)
        self._log.append(done)
        return done

    def _read(self, name: str, stream: Any) -> None:
        for line in stream:
            self._parts[name].append(line)


@dataclass
class Cli:
    """Calls ``inv`` in a project; keeps all that was said, so that a test can look for what must never be said."""

    project: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    log: list[Completed] = field(default_factory=list)

    def __call__(
        self, *words: str, timeout: float = 300, stdin: str = "", variables: Mapping[str, str] | None = None
    ) -> Completed:
        """Run one call to its end."""
        running = self.spawn(*words, variables=variables, stdin=stdin)
        return running.wait(timeout)

    def spawn(self, *words: str, stdin: str = "", variables: Mapping[str, str] | None = None) -> Running:
        """Start a call and return at once."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        environment |= {"PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", **self.variables, **(variables or {})}
        process = subprocess.Popen(
            [str(INV), *words],
            cwd=self.project,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        return Running(process, words, self.log)
