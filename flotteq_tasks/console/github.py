"""Events on GitHub Actions: a group for each step; foreign text cannot give workflow commands."""

import secrets
from typing import TextIO

from flotteq_tasks.console.marks import marks
from flotteq_tasks.model.events import Event, Note, Output, StepDone, StepFailed, StepStarted, Warned


def escape(text: str) -> str:
    """Escape the data of a workflow command (GitHub's toolkit: percent first, then line ends)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape a property of a workflow command, where ``:`` and ``,`` mean something, too."""
    return escape(text).replace(":", "%3A").replace(",", "%2C")


class GithubLog:
    """Writes groups and annotations; groups do not nest there, so an open one is closed first."""

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self._stream = stream
        self._marks = marks(stream)
        self._open = False

    def __call__(self, event: Event) -> None:
        match event:
            case StepStarted(name):
                self._close()
                self._write(f"::group::{escape(name)}")
                self._open = True
            case StepDone(name, seconds, note):
                self._write(f"{self._marks.done} {name}  {seconds:.1f} s" + (f"  {note}" if note else ""))
                self._close()
            case StepFailed(name, seconds, reason):
                self._write(f"{self._marks.failed} {name}  {seconds:.1f} s")
                self._close()
                self._write(f"::error title={escape_property(name)}::{escape(reason)}")
            case Note(text):
                self._foreign(text)
            case Warned(text):
                self._write(f"::warning::{escape(text)}")
            case Output(text):
                self._foreign(text)

    def _close(self) -> None:
        if self._open:
            self._write("::endgroup::")
            self._open = False

    def _foreign(self, text: str) -> None:
        # The runner reads "::" at the beginning of a line and, from older days, "##[" anywhere in it.
        if "##[" not in text and not any(line.lstrip().startswith("::") for line in text.splitlines()):
            self._write(text)
            return
        token = secrets.token_hex(8)
        self._write(f"::stop-commands::{token}")
        self._write(text)
        self._write(f"::{token}::")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
