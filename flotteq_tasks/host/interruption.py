"""A signal that asked this process to stop.

While something is changed it is only remembered, and whoever waits for the host looks for it. An exception out of a
signal handler hits any line: in a finaliser Python swallows it, in the middle of an SSH exchange it leaves the
connection half-spoken, and then nothing can be put back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flotteq_tasks.model.errors import ExitCode, Interrupted

# Seconds between two looks of whoever waits: short for a person, nothing for a processor.
LOOK = 0.2


@dataclass
class _State:
    asked: ExitCode | None = None
    deferred: int = 0
    ignored: int = 0
    begun: bool = False


_state = _State()


def ask(code: ExitCode) -> None:
    """What a signal's handler calls.

    Args:
        code: exit code of the signal, ``INTERRUPTED`` or ``TERMINATED``.

    Raises:
        KeyboardInterrupt: nothing is being changed; whatever runs may end here.
    """
    if _state.ignored:
        return
    _state.asked = code
    if not _state.deferred:
        raise KeyboardInterrupt


def asked() -> ExitCode | None:
    """The exit code of the signal that came last and was not answered by ``check``."""
    return _state.asked


def begun() -> bool:
    """Whether this process has begun to change something."""
    return _state.begun


def forget() -> None:
    """Begin anew."""
    _state.asked, _state.begun = None, False


def check() -> None:
    """Raise, once, when a signal came in a block of ``deferred``.

    Raises:
        Interrupted: with the exit code of the signal.
    """
    if _state.asked is None or not _state.deferred or _state.ignored:
        return
    code, _state.asked = _state.asked, None
    name = "Ctrl-C" if code is ExitCode.INTERRUPTED else "SIGTERM"
    raise Interrupted(f"stopped by {name}", code=code)


@contextmanager
def deferred() -> Iterator[None]:
    """In this block signals wait until somebody asks for them with ``check``."""
    _state.deferred += 1
    _state.begun = True
    try:
        yield
    finally:
        _state.deferred -= 1


@contextmanager
def ignored() -> Iterator[None]:
    """In this block signals do nothing: what puts things back must not be left half-way."""
    _state.ignored += 1
    try:
        yield
    finally:
        _state.ignored -= 1
