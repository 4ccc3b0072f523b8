"""The edge."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={
        "output": "directory to write to (default: print the names and sizes)",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def render(c: Context, *, output: str = "", env: str = "", json: bool = False) -> None:
    """Render the edge's configuration here."""
    from flotteq_tasks.console.results import show_files
    from flotteq_tasks.operations.inspection import render_edge_files

    call = app(env, json=json)
    show_files(call.console, render_edge_files(call.settings, output))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def test(c: Context, *, env: str = "", json: bool = False) -> None:
    """Let the running nginx check its files."""
    from flotteq_tasks.console.results import show_accepted
    from flotteq_tasks.operations.edge import test_config

    call = app(env, json=json)
    edge = call.settings.of_kind("edge")[0]
    show_accepted(call.console, test_config(call.host, call.site.engine.containers, service=edge))


@task(
    help={
        "dry_run": "apply the limits of flotteq.toml to what was requested; without: what was refused",
        "since": "how far back: 30m, 2h or a time such as 2026-11-23T10:00:00 (default: 24h)",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def limits(c: Context, *, dry_run: bool = False, since: str = "24h", env: str = "", json: bool = False) -> None:
    """Show whom the limits refused, or would refuse.

    Reads the edge's access log; changes nothing.
    """
    from flotteq_tasks.console.results import show_limits
    from flotteq_tasks.operations.edge_limits import review_limits

    call = app(env, json=json)
    show_limits(call.console, review_limits(call.site, dry_run=dry_run, since=since))


@task(help={"env": ENV_HELP})
def reload(c: Context, *, env: str = "") -> None:
    """Render the edge again, check it and reload.

    Waits until no old worker is left.
    """
    from flotteq_tasks.operations import tls

    call = app(env)
    tls.reload(call.site, os.environ)


@task(help={"yes": YES_HELP, "env": ENV_HELP})
def upgrade(c: Context, *, yes: bool = False, env: str = "") -> None:
    """Replace the edge's container; nobody is refused.

    For a new image, memory or mounts: new connections wait for a moment.
    """
    from flotteq_tasks.operations.edge_upgrade import upgrade as run_upgrade

    call = app(env)
    said = run_upgrade(call.site, os.environ, lambda question: call.confirm(question, yes=yes))
    call.console.line(said)
