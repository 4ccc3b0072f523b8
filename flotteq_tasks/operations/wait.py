"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import FlotteqError

T = TypeVar("T")


def wait_until(
    check: Callable[[], T | None],
    *,
    timeout: float,
    what: str,
    interval: float = 0.5,
    hint: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Ask ``check`` until it returns something that is not None, and return that.

    Args:
        timeout: seconds after which to give up; ``check`` is asked at least once.
        what: the condition as the end of "waited 30 s for …".
        interval: seconds between two questions.
        hint: what a person can do when it does not happen.

    Raises:
        FlotteqError: the limit has passed.
    """
    deadline = clock() + timeout
    while True:
        interruption.check()
        answer = check()
        if answer is not None:
            return answer
        if clock() >= deadline:
            raise FlotteqError(f"waited {timeout:g} s for {what}", hint=hint)
        sleep(min(interval, max(deadline - clock(), 0)))
