"""The summary of a run on GitHub Actions: Markdown on the run's page."""

import contextlib
import html
import os
from pathlib import Path

from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.model.events import Event, StepDone, StepFailed

FILE_VARIABLE = "GITHUB_STEP_SUMMARY"

_ended: list[StepDone | StepFailed] = []


def collect(event: Event) -> None:
    """Remember how a step ended, for the next summary of this process."""
    if isinstance(event, StepDone | StepFailed):
        _ended.append(event)


def summarize_result(line: str) -> None:
    """Add what was reached and its steps to the run's page; elsewhere than on GitHub Actions nothing happens."""
    _write([f"### ✓ {_cell(line)}"])


def summarize_error(error: FlotteqError) -> None:
    """Add what failed, with its hint, and the steps before it to the run's page."""
    _write([f"### ✗ failed (exit code {int(error.exit_code)})", "", _block(error)])


def _write(head: list[str]) -> None:
    steps = _ended.copy()
    _ended.clear()
    path = os.environ.get(FILE_VARIABLE, "")
    if os.environ.get("GITHUB_ACTIONS") != "true" or not path:
        return
    table = ["", "| step | time | |", "|---|---:|---|", *map(_row, steps)] if steps else []
    # A page that cannot be written is no failure of what was done.
    with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as page:
        page.write("\n".join([*head, *table, "", ""]))


def _row(step: StepDone | StepFailed) -> str:
    note = _cell(step.note) if isinstance(step, StepDone) else "**failed**"
    return f"| {_cell(step.name)} | {step.seconds:.1f} s | {note} |"


def _cell(text: str) -> str:
    """Foreign text as it is: neither Markdown nor HTML, and no second line."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{sign}" if sign in "\\|`*_[]#~" else sign for sign in plain)


def _block(error: FlotteqError) -> str:
    lines = [*error.message.splitlines(), *(f"try: {line}" for line in error.hint.splitlines())]
    # An empty line would end the block.
    return "<pre>" + html.escape("\n".join(line for line in lines if line.strip()), quote=False) + "</pre>"
