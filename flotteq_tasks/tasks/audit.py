"""Looking at an environment from outside."""

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={
        "limits": "use up this machine's own limits, too: it gets 429 for some seconds afterwards",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def edge(c: Context, *, limits: bool = False, env: str = "", json: bool = False) -> None:
    """Check from outside what the edge shows.

    TLS, foreign names, headers, caches, hidden paths, ports. Exit code 5 when something is not right.
    """
    from flotteq_tasks.console.results import show_checks
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations.audit import audit_edge

    call = app(env, json=json)
    found = audit_edge(call.settings, limits=limits)
    show_checks(call.console, found)
    if not all(one.ok for one in found):
        raise Exit(code=int(ExitCode.UNHEALTHY))
