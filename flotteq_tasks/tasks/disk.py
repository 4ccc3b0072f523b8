"""Disk space on the host."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def disk(c: Context, *, env: str = "", json: bool = False) -> None:
    """Show what uses the host's disk.

    Also what retention would remove.
    """
    from flotteq_tasks.console.release_results import show_usage
    from flotteq_tasks.operations.retention import usage

    call = app(env, json=json)
    show_usage(call.console, usage(call.site))


@task(help={"env": ENV_HELP, "yes": YES_HELP, "json": JSON_HELP})
def prune(c: Context, *, env: str = "", yes: bool = False, json: bool = False) -> None:
    """Remove what no kept release needs.

    Images, dumps, files, secret versions and old assets; every deploy does it, too.
    """
    from flotteq_tasks.console.release_results import show_pruned
    from flotteq_tasks.operations.retention import prune as run

    call = app(env, json=json)
    keep = call.settings.deploy.retain
    call.confirm(f"Remove what the last {keep} good releases do not need?", yes=yes)
    show_pruned(call.console, run(call.site, os.environ))
