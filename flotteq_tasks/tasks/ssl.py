"""Certificates."""

import os

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={
        "allow-partial": "leave out domains that are not ready yet",
        "dry-run": "show what the authority would be asked for; nothing is asked or changed",
        "env": ENV_HELP,
    }
)
def init(c: Context, *, allow_partial: bool = False, dry_run: bool = False, env: str = "") -> None:
    """Obtain the certificate of all domains.

    Nothing happens while it is good. Domains are added and dropped by the same call.
    """
    from flotteq_tasks.console.results import show_order
    from flotteq_tasks.operations import tls

    call = app(env)
    if dry_run:
        show_order(call.console, tls.foresee(call.site, allow_partial=allow_partial), call.settings.acme.directory)
        return
    call.console.line(tls.init(call.site, os.environ, allow_partial=allow_partial))


@task(help={"dry-run": "ask the authority for a test certificate, change nothing", "env": ENV_HELP})
def renew(c: Context, *, dry_run: bool = False, env: str = "") -> None:
    """Renew the certificate when it is due.

    The edge reloads only when it changed.
    """
    from flotteq_tasks.operations import tls

    call = app(env)
    call.console.line(tls.renew(call.site, os.environ, dry_run=dry_run))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def status(c: Context, *, env: str = "", json: bool = False) -> None:
    """Show which certificates are served.

    Exit code 5 below a quarter of the lifetime, or when file and served differ.
    """
    from flotteq_tasks.console.results import show_certificates
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations import tls

    call = app(env, json=json)
    found = tls.status(call.site)
    show_certificates(call.console, found)
    if not found.ok:
        raise Exit(code=int(ExitCode.UNHEALTHY))
