"""The settings."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def show(c: Context, *, env: str = "", json: bool = False) -> None:
    """Show every setting and where it comes from."""
    from flotteq_tasks.console.results import show_settings
    from flotteq_tasks.settings.loader import explain

    call = app(env, json=json)
    show_settings(call.console, explain(call.root, call.environment, os.environ))
