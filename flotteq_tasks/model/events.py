"""What operations tell while they work. The console decides how it looks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StepStarted:
    """A step began."""

    name: str


@dataclass(frozen=True)
class StepDone:
    """A step ended well."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class StepFailed:
    """A step failed; undoing follows."""

    name: str
    seconds: float
    reason: str


@dataclass(frozen=True)
class Note:
    """Something worth knowing."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something a person should look at; it did not stop the operation."""

    text: str


@dataclass(frozen=True)
class Output:
    """A line of a command's output, foreign text."""

    text: str


Event = StepStarted | StepDone | StepFailed | Note | Warned | Output


class StepNote:
    """Collects what a step has to say when it is done."""

    def __init__(self) -> None:
        self.text = ""


@dataclass
class Report:
    """Where an operation sends its events.

    Args:
        sink: receives each event.
        clock: seconds, monotonic.
    """

    sink: Callable[[Event], None]
    clock: Callable[[], float] = field(default=time.monotonic)

    def note(self, text: str) -> None:
        """Say something worth knowing."""
        self.sink(Note(text))

    def warn(self, text: str) -> None:
        """Say something that a person should look at."""
        self.sink(Warned(text))

    def output(self, text: str) -> None:
        """Pass on a line of a command."""
        self.sink(Output(text))

    @contextmanager
    def step(self, name: str) -> Iterator[StepNote]:
        """Announce a step, time it, and say how it ended; the error goes on."""
        started = self.clock()
        note = StepNote()
        self.sink(StepStarted(name))
        try:
            yield note
        except BaseException as error:
            self.sink(StepFailed(name, self.clock() - started, str(error) or type(error).__name__))
            raise
        self.sink(StepDone(name, self.clock() - started, note.text))
