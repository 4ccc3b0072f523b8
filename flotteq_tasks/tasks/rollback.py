"""What a deploy would do, back to an earlier release, and what happened on the host."""

import os

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={
        "version": "image tag, e.g. v1.2.0",
        "only": "replace this service only; can be repeated",
        "surge": "all: side by side, one: one service after the other (default: by free memory)",
        "allow-stateful": "as if databases and the edge were replaced, too",
        "env": ENV_HELP,
        "json": JSON_HELP,
    },
    iterable=["only"],
)
def plan(
    c: Context, *, version: str, only: list[str], surge: str = "", allow_stateful: bool = False, env: str = "",
    json: bool = False,
) -> None:  # fmt: skip
    """Show what a deploy would do, and why.

    Exit code 10 when it would change something, 0 when there is nothing to do.
    """
    from flotteq_tasks.console.release_results import show_plan
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.model.version import Version
    from flotteq_tasks.operations.deploy import DeployRequest
    from flotteq_tasks.operations.names import one_of
    from flotteq_tasks.operations.plan import make_plan

    call = app(env, json=json)
    request = DeployRequest(Version.parse(version), only=tuple(only), allow_stateful=allow_stateful,
                            surge=one_of("--surge", surge, ("", "all", "one")))  # fmt: skip
    found = make_plan(call.site, request, os.environ)
    show_plan(call.console, found)
    if found.changes:
        raise Exit(code=int(ExitCode.CHANGES))


@task(
    help={
        "to": "version or release id (default: the good release before the live one)",
        "dry-run": "prepare, then print every command of the rollout instead of running it",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def rollback(c: Context, *, to: str = "", dry_run: bool = False, env: str = "", json: bool = False) -> None:
    """Run an earlier release again, as it was.

    Images by digest, files and secret versions are those of then. Data is never touched.
    """
    from flotteq_tasks.console.results import show_commands, show_deployed
    from flotteq_tasks.operations.deploy import rollback as run
    from flotteq_tasks.operations.deploy.rehearsal import rehearse_rollback

    call = app(env, json=json)
    if dry_run:
        show_commands(call.console, rehearse_rollback(call.site, to, os.environ))
        return
    show_deployed(call.console, run(call.site, to, os.environ))


@task(help={"lines": "so many operations, the newest (default: 20)", "env": ENV_HELP, "json": JSON_HELP})
def history(c: Context, *, lines: str = "20", env: str = "", json: bool = False) -> None:
    """Show who changed what, and with which result."""
    from flotteq_tasks.console.release_results import show_history
    from flotteq_tasks.operations.history import history as read
    from flotteq_tasks.operations.names import number

    call = app(env, json=json)
    show_history(call.console, read(call.site, lines=number("--lines", lines, least=1)))


@task(help={"status": "only show which migrations are applied and pending", "env": ENV_HELP, "json": JSON_HELP})
def migrate(c: Context, *, status: bool = False, env: str = "", json: bool = False) -> None:
    """Run the pending migrations, or show them.

    The live release's image runs them.
    """
    from flotteq_tasks.console.results import show_migrations
    from flotteq_tasks.operations.migrating import migrate as run

    call = app(env, json=json)
    show_migrations(call.console, run(call.site, os.environ, only_status=status))
