"""The task decorator: the signature stays typed, errors become exit codes, SIGTERM undoes like Ctrl-C."""

import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import invoke.tasks
from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import ExitCode, FlotteqError, UsageError

P = ParamSpec("P")
R = TypeVar("R")
Body = Callable[Concatenate[Context, P], R]


def _stop(signum: int, frame: object) -> None:
    interruption.ask(ExitCode.INTERRUPTED if signum == signal.SIGINT else ExitCode.TERMINATED)


def _check(body: Callable[..., Any], given: dict[str, Any], *, dry: bool) -> None:
    """Refuse a call whose values are missing or empty, and a dry run of a task that has none."""
    for one in inspect.signature(body).parameters.values():
        value, flag = given.get(one.name), "--" + one.name.strip("_").replace("_", "-")
        if one.kind is one.KEYWORD_ONLY and one.default is one.empty and value is None:
            raise UsageError(f"{flag} is missing", hint=f"inv --help {_name(body)}")
        if one.default is one.empty and isinstance(value, str) and value.startswith("--"):
            raise UsageError(f"{flag} has no value: '{value}' is an option", hint=f"inv --help {_name(body)}")
        if value == "" and _is_empty(flag, sys.argv):
            raise UsageError(f"{flag} is empty", hint=f"is a variable not set? inv --help {_name(body)}")
    if not dry:
        return
    if "dry_run" not in given:
        raise UsageError(
            "--dry: this task has no dry run; nothing was done", hint="inv plan shows what a deploy would do"
        )
    given["dry_run"] = True


def _name(body: Callable[..., Any]) -> str:
    """The task as people type it."""
    from flotteq_tasks.tasks import namespace

    names = namespace.task_names.items()
    return next((min([name, *short]) for name, short in names if inspect.unwrap(namespace[name].body) is body), "TASK")


def _is_empty(flag: str, words: list[str]) -> bool:
    """Whether an option was given the empty word: `--env "$NOT_SET"` must not mean what no `--env` means."""
    return f"{flag}=" in words or (flag, "") in pairwise(words)


def _guard(body: Body[P, R]) -> Body[P, R]:
    @functools.wraps(body)
    def run(c: Context, /, *args: P.args, **kwargs: P.kwargs) -> R:
        # Invoke's default lets SIGTERM end the process at once: locks would stay and nothing would be undone.
        if interruption.asked():
            raise Exit(code=int(interruption.asked() or 0))
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        try:
            _check(body, kwargs, dry=c.config.run.dry)
            try:
                return body(c, *args, **kwargs)
            finally:
                sys.stdout.flush()
        except FlotteqError as error:
            if os.environ.get("FLOTTEQ_DEBUG") == "1":
                traceback.print_exc()
            from flotteq_tasks.console.errors import show_error

            show_error(error, json=bool(kwargs.get("json")))
            raise Exit(code=int(error.exit_code)) from error
        except BrokenPipeError as error:
            from flotteq_tasks.console.pipes import CLOSED, silence

            silence(sys.stdout)
            raise Exit(code=CLOSED) from error
        except KeyboardInterrupt as error:
            tidy = "`inv deploy.status` says whether something is half-done"
            sys.stderr.write(f"interrupted; {tidy if interruption.begun() else 'the host is as it was'}\n")
            raise Exit(code=int(interruption.asked() or ExitCode.INTERRUPTED)) from error

    return run


@overload
def task(body: Body[P, R], /) -> Body[P, R]: ...
@overload
def task(
    *,
    name: str | None = ...,
    help: Mapping[str, str] | None = ...,
    default: bool = ...,
    iterable: Iterable[str] = ...,
    positional: Iterable[str] = ...,
) -> Callable[[Body[P, R]], Body[P, R]]: ...
def task(*args: Any, **kwargs: Any) -> Any:
    """Make an Invoke task of a function. Flags get no automatic short forms: ``-v1`` would eat a version's letter."""
    kwargs.setdefault("auto_shortflags", False)
    # Else a flag without a default takes the next word, whatever it is: `inv deploy --help` would be a version.
    kwargs.setdefault("positional", [])
    if args:
        return invoke.tasks.task(**kwargs)(_guard(args[0]))

    def decorate(body: Body[P, R]) -> Any:
        return invoke.tasks.task(**kwargs)(_guard(body))

    return decorate
