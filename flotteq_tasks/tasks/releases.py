"""Releases: list, compare, go back."""

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(default=True, name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(c: Context, *, env: str = "", json: bool = False) -> None:
    """List the releases on the host."""
    from flotteq_tasks.console.release_results import show_releases
    from flotteq_tasks.operations.releases import all_releases

    call = app(env, json=json)
    show_releases(call.console, all_releases(call.site))


@task(
    help={"first": "version or id", "second": "version or id", "env": ENV_HELP, "json": JSON_HELP},
    positional=["first", "second"],
)
def diff(c: Context, *, first: str, second: str, env: str = "", json: bool = False) -> None:
    """Show what differs between two releases."""
    from flotteq_tasks.console.release_results import show_difference
    from flotteq_tasks.operations.releases import all_releases, difference

    call = app(env, json=json)
    show_difference(call.console, difference(all_releases(call.site), first, second))
