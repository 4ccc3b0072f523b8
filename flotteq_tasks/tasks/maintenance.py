"""The maintenance page."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={"allow": "address or network that still sees the site; can be repeated", "yes": YES_HELP, "env": ENV_HELP},
    iterable=["allow"],
)
def on(c: Context, *, allow: list[str], yes: bool = False, env: str = "") -> None:
    """Answer every domain with the maintenance page.

    Status 503; certificates are renewed all the same.
    """
    from flotteq_tasks.operations import maintenance

    call = app(env)
    maintenance.networks(allow)
    call.confirm(f"All domains of {call.settings.environment} will answer 503.", yes=yes)
    call.console.line(maintenance.turn_on(call.site, allow, os.environ))


@task(help={"env": ENV_HELP})
def off(c: Context, *, env: str = "") -> None:
    """Let the site answer again."""
    from flotteq_tasks.operations import maintenance

    call = app(env)
    call.console.line(maintenance.turn_off(call.site, os.environ))
