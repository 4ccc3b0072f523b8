"""Work in short bursts: between them the cores belong to the application."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Seconds. A request passes several processes, and waits at each until the core that it gets is free: bursts of 20 ms
# with the same share of the time made the slowest answers half as slow again.
BURST = 0.004
# Seconds in which a program is left alone: restic needs them for its key.
GRACE = 0.5


@dataclass(frozen=True)
class Pace:
    """How much of the time something works.

    Args:
        duty: share of the time, above 0; 1 is without a pause.
    """

    duty: float = 1.0

    @property
    def full(self) -> bool:
        """Whether there are no pauses."""
        return self.duty >= 1

    def rest(self, worked: float) -> None:
        """Pause for as long as belongs to so many seconds of work."""
        time.sleep(self._pause_after(worked))

    def _pause_after(self, worked: float) -> float:
        return worked * (1 - self.duty) / self.duty

    @contextmanager
    def of(self, *programs: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Stop programs and let them go on, again and again until the end of the block.

        Args:
            programs: each leads a process group of its own.
        """
        if self.full:
            yield
            return
        over = threading.Event()
        pauses = threading.Thread(target=self._pause, args=(programs, over), daemon=True)
        pauses.start()
        try:
            yield
        finally:
            over.set()
            pauses.join()

    def _pause(self, programs: "tuple[subprocess.Popen[bytes], ...]", over: threading.Event) -> None:
        over.wait(GRACE)
        while not over.wait(BURST):
            _signal(programs, signal.SIGSTOP)
            over.wait(self._pause_after(BURST))
            # Also at the end: what is stopped does not hear that it is interrupted.
            _signal(programs, signal.SIGCONT)


def _signal(programs: "tuple[subprocess.Popen[bytes], ...]", number: int) -> None:
    for program in programs:
        if program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, number)


FULL = Pace()
