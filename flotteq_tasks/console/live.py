"""Events on a terminal: a spinner with the running step, a line when it ends."""

from typing import Any, TextIO

from flotteq_tasks.console.marks import marks
from flotteq_tasks.model.events import Event, Note, Output, StepDone, StepFailed, StepStarted, Warned


class LiveLog:
    """Redraws one line while a step runs. Foreign text is never read as markup."""

    def __init__(self, stream: TextIO, *, colour: bool = True) -> None:
        from rich.console import Console

        self._console = Console(file=stream, no_color=not colour, highlight=False, soft_wrap=True)
        self._marks = marks(stream)
        self._running = ("dots", "…") if self._marks.unicode else ("line", "...")
        self._status: Any = None

    def __call__(self, event: Event) -> None:
        from rich.text import Text

        match event:
            case StepStarted(name):
                self._stop()
                spinner, more = self._running
                self._status = self._console.status(Text(f"{name} {more}"), spinner=spinner)
                self._status.start()
            case StepDone(name, seconds, note):
                self._stop()
                self._write(self._marks.done, "green", f"{name:<12} {seconds:6.1f} s  {note}".rstrip())
            case StepFailed(name, seconds, _):
                self._stop()
                self._write(self._marks.failed, "red", f"{name:<12} {seconds:6.1f} s")
            case Note(text):
                self._write(" ", "", text)
            case Warned(text):
                self._write(self._marks.warning, "yellow", text)
            case Output(text):
                self._write(self._marks.bar, "dim", text)

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _write(self, mark: str, style: str, text: str) -> None:
        from rich.text import Text

        self._console.print(Text.assemble((mark, style), " ", text))
