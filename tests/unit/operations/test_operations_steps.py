"""Steps: in order; after a failure undone backwards; what is raised; what the journal says."""

from collections.abc import Callable

import pytest
from unit_support import Events

from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import (
    CommandFailed,
    ExitCode,
    FlotteqError,
    HostUnreachable,
    Interrupted,
    NotPutBack,
    PutBack,
)
from flotteq_tasks.operations.steps import Step, run_steps

NAMES = ["a", "b", "c", "d"]


class World:
    """Steps that write down what happens; some are told to fail."""

    def __init__(self, *, plain: str = "", apply: dict[str, BaseException] | None = None,
                 undo: dict[str, BaseException] | None = None) -> None:  # fmt: skip
        self.done: list[str] = []
        self.journal: list[str] = []
        self.lose = self.full = ""
        self.room: list[str] = []
        self.events = Events()
        self._plain, self._apply, self._undo = plain, apply or {}, undo or {}

    def write(self, event: str, **fields: str) -> bool:
        """What a keeper does."""
        line = f"{event} {fields['step']}"
        if line == self.lose:
            raise HostUnreachable("the lock is lost")
        if line == self.full:
            return False
        self.journal.append(line)
        return True

    def step(self, begins: str, *, ended: str = "") -> bool:
        """What a keeper does."""
        if ended:
            self.write("end", step=ended)
        return self.write("begin", step=begins)

    def make_room(self) -> None:
        """What a keeper does before anything is put back."""
        self.room.append(self.done[-1])

    def _act(self, what: str, name: str, errors: dict[str, BaseException]) -> Callable[..., None]:
        def act(*_: object) -> None:
            self.done.append(f"{what} {name}")
            if name in errors:
                raise errors[name]

        return act

    def run(self) -> BaseException | None:
        steps = [
            Step(name, self._act("do", name, self._apply),
                 None if name in self._plain else self._act("undo", name, self._undo))
            for name in NAMES
        ]  # fmt: skip
        try:
            run_steps(steps, self.events.report, self)  # type: ignore[arg-type]
        except (FlotteqError, KeyboardInterrupt) as error:
            return error
        return None


def test_all_steps_are_applied_in_order() -> None:
    world = World()
    assert world.run() is None
    assert world.done == ["do a", "do b", "do c", "do d"]


def test_the_journal_has_a_line_before_and_after_each() -> None:
    world = World()
    world.run()
    assert world.journal == [f"{word} {name}" for name in NAMES for word in ("begin", "end")]


@pytest.mark.parametrize("index", range(4))
def test_a_failure_is_undone_backwards_with_the_step_that_failed_first(index: int) -> None:
    world = World(apply={NAMES[index]: CommandFailed("broke", code=9, hint="h", details="d")})
    error = world.run()
    begun = NAMES[: index + 1]
    assert isinstance(error, PutBack)
    assert world.done == [f"do {name}" for name in begun] + [f"undo {name}" for name in reversed(begun)]
    assert (error.message, error.hint, error.details) == (
        f"'{NAMES[index]}' failed and everything was put back: broke", "h", "d",
    )  # fmt: skip


def test_the_journal_tells_what_was_undone() -> None:
    world = World(apply={"b": FlotteqError("broke")})
    world.run()
    assert world.journal == ["begin a", "end a", "begin b", "undo b", "undone b", "undo a", "undone a"]


def test_steps_without_undo_are_left_out() -> None:
    world = World(plain="bc", apply={"c": FlotteqError("broke")})
    assert isinstance(world.run(), PutBack)
    assert world.done == ["do a", "do b", "do c", "undo a"]


def test_where_nothing_had_to_be_undone_the_error_is_the_steps_own() -> None:
    error = FlotteqError("broke")
    world = World(plain="ab", apply={"b": error})
    assert world.run() is error
    assert world.done == ["do a", "do b"]


@pytest.mark.parametrize("index", range(4))
def test_an_undo_that_fails_stops_and_calls_for_a_person(index: int) -> None:
    world = World(
        apply={"d": FlotteqError("broke")}, undo={NAMES[index]: CommandFailed("stuck", code=1, details="why")}
    )
    error = world.run()
    assert isinstance(error, NotPutBack)
    assert (error.exit_code, error.message, error.details) == (
        ExitCode.BROKEN, f"failed (broke) and '{NAMES[index]}' could not be put back: stuck", "why",
    )  # fmt: skip
    assert world.done[4:] == [f"undo {name}" for name in reversed(NAMES[index:])]


def test_a_connection_that_is_lost_while_undoing_is_said_and_can_be_repaired() -> None:
    world = World(apply={"c": FlotteqError("broke")}, undo={"b": HostUnreachable("gone")})
    error = world.run()
    assert isinstance(error, HostUnreachable)
    assert error.message == "the connection was lost while 'b' was put back: gone"
    assert error.hint.endswith("run the same command again, it repairs what was begun")


def test_ctrl_c_is_undone_and_keeps_its_exit_code() -> None:
    world = World(apply={"b": KeyboardInterrupt()})
    error = world.run()
    assert isinstance(error, Interrupted)
    assert (error.exit_code, error.message) == (
        ExitCode.INTERRUPTED, "interrupted during 'b'; put back what had begun",
    )  # fmt: skip
    assert world.done == ["do a", "do b", "undo b", "undo a"]


def test_sigterm_is_undone_and_keeps_its_exit_code() -> None:
    world = World(apply={"b": Interrupted("stopped by SIGTERM", code=ExitCode.TERMINATED)})
    error = world.run()
    assert isinstance(error, Interrupted)
    assert (error.exit_code, error.message) == (
        ExitCode.TERMINATED, "interrupted during 'b'; put back what had begun",
    )  # fmt: skip
    assert world.done == ["do a", "do b", "undo b", "undo a"]


def test_an_interrupted_deploy_that_cannot_be_put_back_calls_for_a_person() -> None:
    error = World(apply={"b": KeyboardInterrupt()}, undo={"a": FlotteqError("stuck")}).run()
    assert isinstance(error, NotPutBack)
    assert error.message == "failed (interrupted) and 'a' could not be put back: stuck"


@pytest.mark.parametrize("line", ["begin c", "end c"])
def test_a_lock_that_is_lost_is_a_failure_of_the_step(line: str) -> None:
    world = World()
    world.lose = line
    assert isinstance(world.run(), FlotteqError)
    assert "do d" not in world.done
    assert world.done[-2:] == ["undo b", "undo a"]


def _asked_in(world: World, where: tuple[str, str], code: ExitCode) -> None:
    """The signal comes while this step is applied or undone."""
    act = world._act

    def asked(what: str, name: str, errors: dict[str, BaseException]) -> Callable[..., None]:
        inner = act(what, name, errors)

        def step(*_: object) -> None:
            inner()
            if (what, name) == where:
                interruption.ask(code)
                interruption.check()

        return step

    world._act = asked  # type: ignore[method-assign]


def test_a_second_signal_does_not_stop_the_undoing() -> None:
    world = World(apply={"b": FlotteqError("broke")})
    _asked_in(world, ("undo", "b"), ExitCode.INTERRUPTED)
    with interruption.deferred():
        assert isinstance(world.run(), PutBack)
    assert world.done == ["do a", "do b", "undo b", "undo a"]
    assert interruption.asked() is None


def test_a_signal_in_a_step_is_undone_with_its_exit_code() -> None:
    world = World()
    _asked_in(world, ("do", "b"), ExitCode.TERMINATED)
    with interruption.deferred():
        error = world.run()
    assert isinstance(error, Interrupted)
    assert error.exit_code == ExitCode.TERMINATED
    assert world.done == ["do a", "do b", "undo b", "undo a"]


def test_room_is_made_before_anything_is_put_back() -> None:
    world = World(apply={"b": CommandFailed("no", code=1)})
    world.run()
    assert world.room == ["do b"]
    assert world.done[2:] == ["undo b", "undo a"]


def test_a_full_disk_ends_it_at_the_next_step() -> None:
    world = World()
    world.full = "begin c"
    error = world.run()
    assert isinstance(error, PutBack)
    assert "the host's disk is full: 'c' was not begun" in error.message
    assert world.done == ["do a", "do b", "undo c", "undo b", "undo a"]


def test_a_journal_without_room_stops_no_undo() -> None:
    world = World(apply={"b": CommandFailed("no", code=1)})
    world.full = "undo b"
    assert isinstance(world.run(), PutBack)
    assert world.done[-2:] == ["undo b", "undo a"]
