"""Consoles of the database and the cache."""

import sys

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"command": "one statement; without it an interactive console opens", "env": ENV_HELP})
def psql(c: Context, *, command: str = "", env: str = "") -> None:
    """Open the database's console, or run a statement."""
    from flotteq_tasks.operations.inspection import database_console

    raise Exit(code=database_console(app(env).site, command, tty=sys.stdin.isatty()))


@task(name="redis-cli", help={"command": "one command; without it an interactive console opens", "env": ENV_HELP})
def redis_cli(c: Context, *, command: str = "", env: str = "") -> None:
    """Open the cache's console, or run one command."""
    from flotteq_tasks.operations.inspection import cache_console

    raise Exit(code=cache_console(app(env).site, command, tty=sys.stdin.isatty()))
