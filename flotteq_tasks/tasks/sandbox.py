"""A throw-away VPS on this machine: a real sshd, a real Docker Engine, a registry, an ACME server."""

import os
import sys

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import JSON_HELP, app
from flotteq_tasks.tasks._decorator import task

SANDBOX = "sandbox"


@task
def up(c: Context) -> None:
    """Start the sandbox VPS.

    Installs Docker where it is missing and builds its images once.
    """
    from flotteq_tasks.console.sandbox_results import show_sandbox
    from flotteq_tasks.operations.sandbox import lifecycle

    call = app(SANDBOX)
    show_sandbox(call.console, lifecycle.up(call.root, call.console.report.note))


@task(help={"purge": "also remove the images that were built for it"})
def down(c: Context, *, purge: bool = False) -> None:
    """Remove the sandbox and all that belongs to it."""
    from flotteq_tasks.operations.sandbox import lifecycle

    call = app(SANDBOX)
    lifecycle.down(call.root, call.console.report.note, purge=purge)


@task(help={"json": JSON_HELP})
def status(c: Context, *, json: bool = False) -> None:
    """Show the sandbox's containers and addresses."""
    from flotteq_tasks.console.sandbox_results import show_sandbox_status
    from flotteq_tasks.operations.sandbox import lifecycle

    call = app(SANDBOX, json=json)
    show_sandbox_status(call.console, lifecycle.status(call.root))


@task(help={"command": "run this instead of opening a shell"})
def ssh(c: Context, *, command: str = "") -> None:
    """Log in to the sandbox host."""
    from flotteq_tasks.operations.inspection import shell_on_host

    raise Exit(code=shell_on_host(app(SANDBOX).site, command, tty=sys.stdin.isatty()))


@task(help={"down": "remove everything that the demo made"})
def demo(c: Context, *, down: bool = False) -> None:
    """Deploy the sample to the sandbox, from nothing."""
    from flotteq_tasks.console.sandbox_results import show_demo
    from flotteq_tasks.operations.sandbox import lifecycle
    from flotteq_tasks.operations.sandbox.demo import demo as run_demo

    call = app(SANDBOX)
    if down:
        lifecycle.down(call.root, call.console.report.note, purge=True)
        return
    lifecycle.up(call.root, call.console.report.note)
    show_demo(call.console, run_demo(call.site, os.environ))
