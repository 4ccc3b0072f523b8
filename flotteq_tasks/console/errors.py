"""Errors for people: what, why, what to do."""

import json as jsonlib
import os
import sys

from flotteq_tasks.console.github import escape
from flotteq_tasks.console.marks import marks
from flotteq_tasks.console.pipes import silence
from flotteq_tasks.console.summary import summarize_error
from flotteq_tasks.model.errors import ExitCode, FlotteqError


def error_text(error: FlotteqError, *, failed: str, bar: str) -> str:
    """The whole message: details first, so that the sentence that matters is the last thing on the screen."""
    lines = [f"  {bar} {line}" for line in error.details.splitlines()]
    lines.append(f"{failed} {error.message}")
    if error.hint:
        first, *more = error.hint.splitlines()
        lines += [f"  try: {first}", *[f"       {line}" for line in more]]
    return "\n".join(lines)


def show_error(error: FlotteqError, *, json: bool) -> None:
    """Write an error to standard error; as JSON to standard output when the call asked for JSON."""
    signs = marks(sys.stderr)
    try:
        sys.stderr.write(error_text(error, failed=signs.failed, bar=signs.bar) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write(f"::error::{escape(error.message)}\n")
    summarize_error(error)
    if json:
        described = {
            "code": int(error.exit_code),
            "name": ExitCode(error.exit_code).name.lower(),
            "message": error.message,
            "hint": error.hint,
            "details": error.details.splitlines(),
        }
        document = {"ok": False, "error": described}
        sys.stdout.write(jsonlib.dumps(document, indent=2, ensure_ascii=False) + "\n")
