"""Events as plain lines: one when a step begins, one when it ends."""

from typing import TextIO

from flotteq_tasks.console.marks import marks
from flotteq_tasks.model.events import Event, Note, Output, StepDone, StepFailed, StepStarted, Warned


class PlainLog:
    """Writes each event as it comes; nothing is ever redrawn."""

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self.stream = stream
        self.marks = marks(stream)

    def __call__(self, event: Event) -> None:
        match event:
            case StepStarted(name):
                self.write(f"  {name} …" if self.marks.unicode else f"  {name} ...")
            case StepDone(name, seconds, note):
                self.write(f"{self.marks.done} {name}  {seconds:.1f} s" + (f"  {note}" if note else ""))
            case StepFailed(name, seconds, _):
                self.write(f"{self.marks.failed} {name}  {seconds:.1f} s")
            case Note(text):
                self.write(f"  {text}")
            case Warned(text):
                self.write(f"{self.marks.warning} {text}")
            case Output(text):
                self.write(f"  {self.marks.bar} {text}")

    def write(self, line: str) -> None:
        """Write one line at once: a log that is read while it grows must not wait in a buffer."""
        self.stream.write(line + "\n")
        self.stream.flush()
