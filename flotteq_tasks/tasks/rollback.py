"""What a deploy would do, back to an earlier release, and what happened on the host."""

import os

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"version": "image tag, e.g. v1.2.0", "env": ENV_HELP, "json": JSON_HELP})
def plan(c: Context, *, version: str, env: str = "", json: bool = False) -> None:
    """Show what a deploy would do, and why.

    Exit code 10 when it would change something, 0 when there is nothing to do.
    """
    from flotteq_tasks.console.release_results import show_plan
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.model.version import Version
    from flotteq_tasks.operations.deploy import DeployRequest
    from flotteq_tasks.operations.plan import make_plan

    call = app(env, json=json)
    found = make_plan(call.site, DeployRequest(Version.parse(version)), os.environ)
    show_plan(call.console, found)
    if found.changes:
        raise Exit(code=int(ExitCode.CHANGES))


@task(
    help={
        "to": "version or release id (default: the good release before the live one)",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def rollback(c: Context, *, to: str = "", env: str = "", json: bool = False) -> None:
    """Run an earlier release again, as it was.

    Images by digest, files and secret versions are those of then. Data is never touched.
    """
    from flotteq_tasks.console.results import show_deployed
    from flotteq_tasks.operations.deploy import rollback as run

    call = app(env, json=json)
    show_deployed(call.console, run(call.site, to, os.environ))


@task(help={"lines": "so many operations", "env": ENV_HELP, "json": JSON_HELP})
def history(c: Context, *, lines: str = "20", env: str = "", json: bool = False) -> None:
    """Show who changed what, and with which result."""
    from flotteq_tasks.console.release_results import show_history
    from flotteq_tasks.operations.history import history as read
    from flotteq_tasks.operations.names import number

    call = app(env, json=json)
    show_history(call.console, read(call.site, lines=number("--lines", lines)))


@task(help={"status": "only show which migrations are applied and pending", "env": ENV_HELP})
def migrate(c: Context, *, status: bool = False, env: str = "") -> None:
    """Run the pending migrations, or show them.

    The live release's image runs them.
    """
    from flotteq_tasks.operations import migrating

    call = app(env)
    for line in migrating.migrate(call.site, os.environ, only_status=status):
        call.console.line(line)
