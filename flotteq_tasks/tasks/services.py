"""What runs, and control of it."""

import os
import sys

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task

SERVICE_HELP = "only this service; can be repeated (default: all)"


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def status(c: Context, *, env: str = "", json: bool = False) -> None:
    """Show versions, health, certificate and disk.

    Exit code 5 when something is not right.
    """
    from flotteq_tasks.console.results import show_status
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations.status import status as read_status

    call = app(env, json=json)
    found = read_status(call.site)
    show_status(call.console, found)
    if not found.ok:
        raise Exit(code=int(ExitCode.UNHEALTHY))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def ps(c: Context, *, env: str = "", json: bool = False) -> None:
    """List the containers."""
    from flotteq_tasks.console.results import show_containers

    call = app(env, json=json)
    show_containers(call.console, call.site.engine.facts())


@task(
    help={
        "service": SERVICE_HELP,
        "follow": "keep printing new lines until Ctrl-C",
        "since": "only lines after this time, e.g. 10m or 2026-11-23T10:00:00",
        "lines": "so many lines of each container (default: 100)",
        "env": ENV_HELP,
    },
    iterable=["service"],
)
def logs(
    c: Context, *, service: list[str], follow: bool = False, since: str = "", lines: str = "100", env: str = ""
) -> None:
    """Print the logs of services."""
    from flotteq_tasks.operations.inspection import print_logs

    call = app(env)
    print_logs(call.site, service, call.console.line, follow=follow, since=since, lines=lines)


@task(help={"service": "a rolling service", "replicas": "how many containers of it, at least 1", "env": ENV_HELP})
def scale(c: Context, *, service: str, replicas: str, env: str = "") -> None:
    """Run so many containers of a service.

    No request fails; the number stays over deploys.
    """
    from flotteq_tasks.operations import control
    from flotteq_tasks.operations.names import number

    call = app(env)
    call.console.line(control.scale(call.site, service, number("--replicas", replicas, least=1), os.environ))


@task(help={"service": SERVICE_HELP, "env": ENV_HELP}, iterable=["service"])
def start(c: Context, *, service: list[str], env: str = "") -> None:
    """Start services that were stopped."""
    from flotteq_tasks.operations import control

    control.start(app(env).site, service, os.environ)


@task(help={"service": SERVICE_HELP, "env": ENV_HELP, "yes": YES_HELP}, iterable=["service"])
def stop(c: Context, *, service: list[str], env: str = "", yes: bool = False) -> None:
    """Stop services; their containers and data stay."""
    from flotteq_tasks.operations import control

    call = app(env)
    call.confirm(f"Stop {', '.join(service) or 'all services'} of {call.settings.environment}?", yes=yes)
    control.stop(call.site, service, os.environ)


@task(help={"service": SERVICE_HELP, "env": ENV_HELP, "yes": YES_HELP}, iterable=["service"])
def restart(c: Context, *, service: list[str], env: str = "", yes: bool = False) -> None:
    """Restart services in place; interrupts them.

    A deploy interrupts nothing.
    """
    from flotteq_tasks.operations import control

    call = app(env)
    call.confirm(f"Restart {', '.join(service) or 'all services'} of {call.settings.environment}?", yes=yes)
    control.restart(call.site, service, os.environ)


@task(help={"env": ENV_HELP, "yes": YES_HELP})
def down(c: Context, *, env: str = "", yes: bool = False) -> None:
    """Remove all containers; volumes stay, always."""
    from flotteq_tasks.operations import control

    call = app(env)
    question = f"Take {call.settings.project.domain} down? The data stays, the site does not."
    call.confirm(question, yes=yes, word=call.settings.environment)
    control.down(call.site, os.environ)


@task(
    name="exec",
    help={
        "service": "a running service",
        "command": "a program with its words; for more: sh -c '...'",
        "env": ENV_HELP,
    },
)
def exec_(c: Context, *, service: str, command: str, env: str = "") -> None:
    """Run a command in a container of a service.

    Its secrets are in the environment, as the application has them.
    """
    from flotteq_tasks.operations.inspection import exec_in

    raise Exit(code=exec_in(app(env).site, service, command, tty=sys.stdin.isatty()))


@task(help={"service": "a running service", "env": ENV_HELP})
def shell(c: Context, *, service: str, env: str = "") -> None:
    """Open a shell in a container of a service."""
    from flotteq_tasks.operations.inspection import exec_in

    raise Exit(code=exec_in(app(env).site, service, "sh", tty=sys.stdin.isatty()))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def doctor(c: Context, *, env: str = "", json: bool = False) -> None:
    """Check this machine and the host; say how to fix.

    Looks at everything that must be true for a deploy. Exit code 5 when something is not.
    """
    from flotteq_tasks.console.results import show_findings
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations.doctor import examine

    call = app(env, json=json)
    findings = examine(lambda: call.settings, lambda: call.site, os.environ)
    show_findings(call.console, findings)
    if any(not one.ok for one in findings):
        raise Exit(code=int(ExitCode.UNHEALTHY))
