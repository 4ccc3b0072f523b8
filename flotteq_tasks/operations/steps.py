"""A list of steps, each with an undo, and a line in the journal before and after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import ExitCode, FlotteqError, HostUnreachable, Interrupted, NotPutBack, PutBack
from flotteq_tasks.model.events import Report, StepNote
from flotteq_tasks.operations.lock import Keeper


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        name: what people see.
        apply: does it; may write a note.
        undo: puts back what ``apply`` did, also when it did only a part. None: it changes nothing that serves.
    """

    name: str
    apply: Callable[[StepNote], None]
    undo: Callable[[], None] | None = None


def run_steps(steps: Sequence[Step], report: Report, keeper: Keeper) -> None:
    """Apply steps in order; after a failure undo backwards what had begun.

    Raises:
        FlotteqError: as the step raised it, when no step with an undo had begun: nothing was changed.
        PutBack: a step failed and everything was put back.
        NotPutBack: a step failed and an undo failed, too.
        Interrupted: SIGINT or SIGTERM; everything was put back.
        HostUnreachable: the connection is lost; the next command repairs.
    """
    begun: list[Step] = []
    ended = ""
    for step in steps:
        begun.append(step)
        try:
            interruption.check()
            if not keeper.step(step.name, ended=ended):
                raise FlotteqError(
                    f"the host's disk is full: '{step.name}' was not begun", hint="inv disk; on the host: df -h"
                )
            with report.step(step.name) as note:
                step.apply(note)
            ended = step.name
            if step is steps[-1]:
                keeper.write("end", step=ended)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, what had begun is undone
            _put_back(begun, error, report, keeper)


def _put_back(begun: list[Step], error: BaseException, report: Report, keeper: Keeper) -> None:
    undoable = [step for step in reversed(begun) if step.undo is not None]
    with interruption.ignored():
        if undoable:
            _make_room(undoable[0], error, keeper)
        for step in undoable:
            _undo(step, error, report, keeper)
    failed = begun[-1].name
    if isinstance(error, Interrupted | KeyboardInterrupt):
        code = error.exit_code if isinstance(error, Interrupted) else ExitCode.INTERRUPTED
        raise Interrupted(f"interrupted during '{failed}'; put back what had begun", code=code) from error
    if not undoable:
        raise error
    if not isinstance(error, FlotteqError):
        what = f"{type(error).__name__}: {error}"
        raise PutBack(f"'{failed}' failed unexpectedly and everything was put back: {what}") from error
    raise PutBack(
        f"'{failed}' failed and everything was put back: {error.message}", hint=error.hint, details=error.details
    ) from error


def _make_room(first: Step, error: BaseException, keeper: Keeper) -> None:
    try:
        keeper.make_room()
    except HostUnreachable as lost:
        raise _lost(first, lost) from error


def _lost(step: Step, lost: HostUnreachable) -> HostUnreachable:
    return HostUnreachable(
        f"the connection was lost while '{step.name}' was put back: {lost.message}",
        hint="the site still runs what it ran; run the same command again, it repairs what was begun",
    )


def _undo(step: Step, error: BaseException, report: Report, keeper: Keeper) -> None:
    assert step.undo is not None  # noqa: S101 - the caller filters
    try:
        # A lock that is lost belongs to somebody else by now: the next command repairs, not this one.
        keeper.write("undo", step=step.name)
        with report.step(f"undo {step.name}"):
            step.undo()
        keeper.write("undone", step=step.name)
    except HostUnreachable as lost:
        raise _lost(step, lost) from error
    except Exception as second:  # noqa: BLE001 - an undo that fails, however, must page somebody
        raise NotPutBack(
            f"failed ({_words(error)}) and '{step.name}' could not be put back: {_words(second)}",
            hint="inv status; then run the same command again, it repairs what was begun",
            details=second.details if isinstance(second, FlotteqError) else "",
        ) from error


def _words(error: BaseException) -> str:
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted"
    return error.message if isinstance(error, FlotteqError) else f"{type(error).__name__}: {error}"
