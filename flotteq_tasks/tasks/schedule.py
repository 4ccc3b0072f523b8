"""Timers on the host."""

import os

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, ESCROW_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"without-escrow": ESCROW_HELP, "env": ENV_HELP})
def install(c: Context, *, without_escrow: bool = False, env: str = "") -> None:
    """Let timers on the host renew, back up, verify and prune."""
    from flotteq_tasks.operations import schedule

    call = app(env)
    jobs = schedule.install(call.site, os.environ, without_escrow=without_escrow)
    call.console.line(f"timers run: {', '.join(jobs)}")


@task(name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(c: Context, *, env: str = "", json: bool = False) -> None:
    """List the timers with their next and last run.

    Exit code 5 when one is not installed or its last run failed.
    """
    from flotteq_tasks.console.backup_results import show_schedule
    from flotteq_tasks.operations.schedule import listed

    call = app(env, json=json)
    found = listed(call.site)
    show_schedule(call.console, found)
    if not all(one.ok for one in found):
        raise Exit(code=5)


@task(help={"yes": YES_HELP, "env": ENV_HELP})
def remove(c: Context, *, yes: bool = False, env: str = "") -> None:
    """Remove the timers from the host."""
    from flotteq_tasks.operations import schedule

    call = app(env)
    call.confirm("Nothing is backed up by itself any more.", yes=yes)
    removed = schedule.remove(call.site, os.environ)
    call.console.line(f"removed: {', '.join(removed)}" if removed else "there were no timers")


@task(
    help={
        "name": "renew, rehearse, backup, full, verify, drill or prune; with backup.pitr also base and wal",
        "env": ENV_HELP,
    },
    positional=["name"],
)
def run_now(c: Context, *, name: str, env: str = "") -> None:
    """Run a timer's job now, as the timer would."""
    from flotteq_tasks.operations import schedule

    call = app(env)
    call.console.line(schedule.run_now(call.site, name).rstrip())
