"""Waiting for a condition, without a real clock."""

import pytest

from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations.wait import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_the_first_answer_that_is_not_none_is_returned() -> None:
    clock = Clock()
    answers = iter([None, None, 0])
    assert wait_until(lambda: next(answers), timeout=10, what="it", clock=clock, sleep=clock.sleep) == 0
    assert clock.slept == [0.5, 0.5]


def test_it_gives_up_at_the_limit_and_never_sleeps_beyond() -> None:
    clock = Clock()
    with pytest.raises(FlotteqError, match=r"^waited 1 s for the door$") as caught:
        wait_until(lambda: None, timeout=1, what="the door", hint="knock", interval=0.4, clock=clock, sleep=clock.sleep)
    assert sum(clock.slept) == pytest.approx(1)
    assert caught.value.hint == "knock"


def test_a_limit_of_nothing_asks_once() -> None:
    assert wait_until(lambda: "yes", timeout=0, what="it") == "yes"
