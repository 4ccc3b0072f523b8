"""Deploy a version."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    default=True,
    help={
        "version": "image tag, e.g. v1.2.0",
        "env": ENV_HELP,
        "first-install": "the data volumes may be created empty although a release is recorded",
        "allow-stateful": "also replace databases and the edge when they changed: interrupts the site",
        "skip-backup": "no dump of the database before the migrations",
        "skip-migrations": "do not run the migration command",
        "only": "replace this service only; can be repeated",
        "surge": "all: side by side, one: one service after the other (default: by free memory)",
        "soak": "seconds to watch the new release before the old one goes (default: deploy.monitor)",
        "yes": YES_HELP,
        "dry-run": "prepare, then print every command of the rollout instead of running it",
        "json": JSON_HELP,
    },
    iterable=["only"],
)
def run(
    c: Context,
    *,
    version: str,
    only: list[str],
    surge: str = "",
    soak: str = "",
    dry_run: bool = False,
    yes: bool = False,
    env: str = "",
    first_install: bool = False,
    allow_stateful: bool = False,
    skip_backup: bool = False,
    skip_migrations: bool = False,
    json: bool = False,
) -> None:
    """Deploy a version, without a failed request.

    New containers start beside the old ones, one reload switches all services; on a failure all is as before.
    """
    from flotteq_tasks.console.results import show_commands, show_deployed
    from flotteq_tasks.model.version import Version
    from flotteq_tasks.operations.deploy import DeployRequest, deploy
    from flotteq_tasks.operations.deploy.rehearsal import rehearse
    from flotteq_tasks.operations.names import number, one_of

    call = app(env, json=json)
    request = DeployRequest(
        Version.parse(version), first_install=first_install, allow_stateful=allow_stateful, skip_backup=skip_backup,
        skip_migrations=skip_migrations, only=tuple(only), surge=one_of("--surge", surge, ("", "all", "one")),
        soak=number("--soak", soak, least=0) if soak else None,
    )  # fmt: skip
    if allow_stateful and not dry_run:
        call.confirm("Databases and the edge are replaced where they changed: the site is interrupted.", yes=yes)
    if dry_run:
        show_commands(call.console, rehearse(call.site, request, os.environ))
        return
    show_deployed(call.console, deploy(call.site, request, os.environ))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def status(c: Context, *, env: str = "", json: bool = False) -> None:
    """Say whether something runs or is half-done."""
    from flotteq_tasks.console.release_results import show_progress
    from flotteq_tasks.operations.interrupted import progress

    call = app(env, json=json)
    show_progress(call.console, progress(call.site))


@task(help={"env": ENV_HELP})
def abort(c: Context, *, env: str = "") -> None:
    """Take back what a dead client left half-done."""
    from flotteq_tasks.operations.interrupted import abort as run_abort

    call = app(env)
    call.console.line(run_abort(call.site, os.environ))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def resume(c: Context, *, env: str = "", json: bool = False) -> None:
    """Go on with a deploy whose client died."""
    from flotteq_tasks.console.results import show_deployed
    from flotteq_tasks.operations.interrupted import resume as run_resume

    call = app(env, json=json)
    show_deployed(call.console, run_resume(call.site, os.environ))
