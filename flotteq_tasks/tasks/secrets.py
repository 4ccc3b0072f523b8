"""Secrets: made here, pushed to the host, never shown."""

import os
import sys

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"rotate": "give this secret a new value, here and on the host", "env": ENV_HELP, "yes": YES_HELP})
def generate(c: Context, *, rotate: str = "", env: str = "", yes: bool = False) -> None:
    """Create the generated secrets that are missing.

    Existing ones stay; --rotate gives one a new value, here, on the host and in its servers.
    """
    from flotteq_tasks.operations import secret_tasks

    call = app(env)
    if rotate:
        secret_tasks.known(call.settings, rotate)
        call.confirm(f"Give {rotate} of {call.settings.environment} a new value?", yes=yes)
        secret_tasks.rotate(call.site, rotate, os.environ)
        return
    created = secret_tasks.generate(call.settings)
    call.console.line(f"created {', '.join(created)}" if created else "every generated secret is there already")


@task(name="set", help={"name": "a secret of flotteq.toml", "env": ENV_HELP}, positional=["name"])
def set_(c: Context, *, name: str, env: str = "") -> None:
    """Store a secret that a person supplies.

    It is asked for without echo, or read from standard input.
    """
    from flotteq_tasks.console.ask import ask_secret
    from flotteq_tasks.operations import secret_tasks

    call = app(env)
    secret_tasks.store(call.settings, name, lambda: ask_secret(name, sys.stdin))
    call.console.line(f"stored {name} for {call.settings.environment}")


@task(name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(c: Context, *, env: str = "", json: bool = False) -> None:
    """List the secrets by fingerprint, never a value."""
    from flotteq_tasks.console.results import show_secrets
    from flotteq_tasks.operations import secret_tasks

    call = app(env, json=json)
    show_secrets(call.console, secret_tasks.overview(call.site))


@task(help={"env": ENV_HELP})
def push(c: Context, *, env: str = "") -> None:
    """Put secrets that the host lacks on the host."""
    from flotteq_tasks.operations import secret_tasks

    call = app(env)
    pushed = secret_tasks.push_missing(call.site, os.environ)
    call.console.line(f"pushed {', '.join(pushed)}" if pushed else "the host has every secret already")


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def check(c: Context, *, env: str = "", json: bool = False) -> None:
    """Check that every consumer can read its secrets.

    Exit code 5 when one cannot.
    """
    from flotteq_tasks.console.results import show_findings
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations import secret_tasks

    call = app(env, json=json)
    findings = secret_tasks.check(call.site)
    show_findings(call.console, findings)
    if any(not one.ok for one in findings):
        raise Exit(code=int(ExitCode.UNHEALTHY))
