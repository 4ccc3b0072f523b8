"""The host's lock."""

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def status(c: Context, *, env: str = "", json: bool = False) -> None:
    """Say who holds the host's lock."""
    from flotteq_tasks.console.results import show_lock
    from flotteq_tasks.operations.lock import read_lock

    call = app(env, json=json)
    show_lock(call.console, read_lock(call.host, call.site.state))


@task(help={"env": ENV_HELP, "yes": YES_HELP})
def release(c: Context, *, env: str = "", yes: bool = False) -> None:
    """Take the lock away from a client that hangs.

    A dead client's lock ends by itself.
    """
    from flotteq_tasks.operations.lock import break_lock, who_holds

    call = app(env)
    held = who_holds(call.host, call.site.state)
    if "is locked by" not in held:
        call.console.line(held)
        return
    call.confirm(f"{held}. Take it away?", yes=yes)
    call.console.line(break_lock(call.host, call.site.state))
