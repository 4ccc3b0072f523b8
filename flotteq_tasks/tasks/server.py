"""From a bare host to one for deploys."""

import contextlib
import os

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={
        "user": "who logs in for it: root, or one with sudo (default: who deploys, else root)",
        "dry-run": "show what would be changed, file by file",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def setup(c: Context, *, user: str = "", dry_run: bool = False, env: str = "", json: bool = False) -> None:
    """Make a bare host ready for deploys.

    User, keys, firewall, Docker, updates. Again: only what differs. Nothing is closed before a second login works.
    """
    from flotteq_tasks.console.server_results import show_prepared, show_server
    from flotteq_tasks.operations import server

    call = app(env, json=json)
    site, login = server.first_site(call.site, user, os.environ)
    with contextlib.closing(site.host):
        if dry_run:
            show_server(call.console, server.plan_server(site, login=login), changes=True)
            return
        show_prepared(call.console, server.setup_server(site, os.environ, login=login))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def check(c: Context, *, env: str = "", json: bool = False) -> None:
    """Compare the host with what setup made of it.

    Exit code 5 when something differs.
    """
    from flotteq_tasks.console.server_results import show_server
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations.server import check_server

    call = app(env, json=json)
    found = check_server(call.site)
    show_server(call.console, found)
    if not all(one.ok for one in found):
        raise Exit(code=int(ExitCode.UNHEALTHY))
