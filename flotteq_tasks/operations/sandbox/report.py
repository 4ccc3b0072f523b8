"""Progress lines of the sandbox."""

import threading
import time
from collections.abc import Callable

Report = Callable[[str], None]


class Progress:
    """Hands progress lines on, one at a time even from several threads, with the seconds since it was made.

    Args:
        report: takes one line.
    """

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        with self._lock:
            self._report(f"{self._clock() - self._started:5.1f} s  {line}")
