"""The data volumes."""

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(c: Context, *, env: str = "", json: bool = False) -> None:
    """List the volumes, their sizes and users."""
    from flotteq_tasks.console.results import show_volumes
    from flotteq_tasks.operations.control import volumes

    call = app(env, json=json)
    show_volumes(call.console, volumes(call.site))


@task(help={"name": "a volume, e.g. postgres_data", "env": ENV_HELP}, positional=["name"])
def inspect(c: Context, *, name: str, env: str = "") -> None:
    """Print Docker's description of a volume."""
    from flotteq_tasks.operations.control import inspect_volume

    call = app(env)
    call.console.document(inspect_volume(call.site, name))
