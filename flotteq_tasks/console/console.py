"""Events and results on a terminal, in a log, or on GitHub Actions.

Talk goes to standard error, results to standard output.
"""

import io
import json as jsonlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal, TextIO

from flotteq_tasks.console.github import GithubLog
from flotteq_tasks.console.live import LiveLog
from flotteq_tasks.console.marks import marks
from flotteq_tasks.console.pipes import silence
from flotteq_tasks.console.plain import PlainLog
from flotteq_tasks.console.summary import collect
from flotteq_tasks.console.table import render_table
from flotteq_tasks.model.events import Event, Report
from flotteq_tasks.model.secret import Secret

Mode = Literal["live", "plain", "github"]


def decide(variables: Mapping[str, str], stream: TextIO) -> Mode:
    """How events are shown: redrawn on a terminal, in groups on GitHub Actions, plain lines everywhere else."""
    if variables.get("GITHUB_ACTIONS") == "true":
        return "github"
    if stream.isatty() and not variables.get("CI") and variables.get("TERM") != "dumb":
        return "live"
    return "plain"


@dataclass(frozen=True)
class Console:
    """Where one call talks and shows its result."""

    mode: Mode
    report: Report
    json: bool = False

    @classmethod
    def detect(cls, variables: Mapping[str, str], *, json: bool = False) -> "Console":
        """Choose by the streams and the environment of this process."""
        mode = decide(variables, sys.stderr)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A sign that this place cannot show must not turn what was done into a traceback.
            sys.stdout.reconfigure(errors="replace")
        colour = mode == "live" and not variables.get("NO_COLOR")
        sinks: dict[Mode, type[LiveLog | PlainLog | GithubLog]] = {
            "live": LiveLog,
            "plain": PlainLog,
            "github": GithubLog,
        }
        sink = sinks[mode](sys.stderr, colour=colour)

        def show(event: Event) -> None:
            collect(event)
            try:
                sink(event)
            except BrokenPipeError:
                # Nobody looks at the progress any more: no reason to stop a deploy.
                silence(sys.stderr)

        return cls(mode, Report(show), json=json)

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return self.mode == "live" and sys.stdin.isatty()

    @property
    def width(self) -> int:
        """Columns of standard output; what is no terminal takes any length."""
        return shutil.get_terminal_size((1 << 10, 24)).columns

    def document(self, value: object) -> None:
        """Print one JSON document."""
        plain = not marks(sys.stdout).unicode
        sys.stdout.write(jsonlib.dumps(value, indent=2, default=_plain, ensure_ascii=plain) + "\n")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        """Print a table that fits the terminal: long cells are cut. What is no terminal gets every cell whole."""
        width = self.width if sys.stdout.isatty() else None
        cut = "…" if marks(sys.stdout).unicode else "..."
        sys.stdout.write(render_table(head, rows, right=right, width=width, cut=cut) + "\n")

    def line(self, text: str = "") -> None:
        """Print one line of the result."""
        sys.stdout.write(text + "\n")


def _plain(value: object) -> Any:
    if isinstance(value, Secret):
        raise TypeError("a secret is never shown")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, frozenset | set | tuple):
        return sorted(value)
    return str(value)
