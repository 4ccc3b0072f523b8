"""A signal waits while something is changed, and ends everything else at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flotteq_tasks.commands.shell import Command, Raw
from flotteq_tasks.host import interruption
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import ExitCode, Interrupted


@pytest.fixture(autouse=True)
def _nothing_asked() -> Iterator[None]:
    interruption.forget()
    yield
    interruption.forget()


def test_where_nothing_is_changed_it_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        interruption.ask(ExitCode.TERMINATED)
    assert interruption.asked() is ExitCode.TERMINATED


def test_where_something_is_changed_it_waits_for_a_look_and_is_raised_once() -> None:
    with interruption.deferred():
        interruption.ask(ExitCode.TERMINATED)
        with pytest.raises(Interrupted, match="SIGTERM") as caught:
            interruption.check()
        interruption.check()
    assert caught.value.exit_code is ExitCode.TERMINATED


def test_whoever_waits_for_a_command_looks_and_the_command_is_ended(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with interruption.deferred():
        interruption.ask(ExitCode.INTERRUPTED)
        with pytest.raises(Interrupted):
            LocalHost().run(Command(Raw(f"sleep 2; touch {left}")))
    assert not left.exists()


def test_where_things_are_put_back_it_does_nothing() -> None:
    with interruption.deferred(), interruption.ignored():
        interruption.ask(ExitCode.INTERRUPTED)
        interruption.check()
    assert interruption.asked() is None
