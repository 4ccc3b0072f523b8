"""Looking at what runs: logs, consoles, rendered files."""

from collections.abc import Callable, Iterable
from pathlib import Path

from flotteq_tasks.commands import postgres, redis
from flotteq_tasks.commands.shell import Command, Raw
from flotteq_tasks.model.certificates import all_issued
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.names import known_services, number, unknown
from flotteq_tasks.operations.names import since as moment
from flotteq_tasks.operations.names import words as split
from flotteq_tasks.rendering.nginx import render_edge

FOLLOW_LIMIT = 24 * 3600
PRINT_LIMIT = 300
WRAPPER = "/opt/entrypoint/secrets-to-env"


def print_logs(
    site: Site, names: Iterable[str], show: Callable[[str], None], *, follow: bool, since: str, lines: str
) -> None:
    """Pass on the log lines of services.

    Args:
        since: a duration such as ``10m`` or a time; empty for no limit.
        lines: so many of each container, or ``all``.
    """
    wanted = known_services(site.settings, names)
    count = None if lines == "all" else number("--lines", lines, least=0)
    command = site.engine.containers.logs(wanted, follow=follow, lines=count, since=moment("--since", since))
    site.host.follow(command, show, timeout=FOLLOW_LIMIT if follow else PRINT_LIMIT).check(site.host.name)


def exec_in(site: Site, service: str, text: str, *, tty: bool) -> int:
    """Run a command line in a container of a service and return its exit code.

    Raises:
        UsageError: the service does not exist.
    """
    if service not in site.settings.services:
        raise unknown("service", service, list(site.settings.services))
    words = split("--command", text)
    if not words:
        raise UsageError("--command is empty", hint="inv exec --service backend --command 'node --version'")
    # Secrets are files in the container: a command that a person starts gets them as the application does.
    body = f'if [ -x {WRAPPER} ]; then exec {WRAPPER} "$@"; else exec "$@"; fi'
    return site.host.interact(site.engine.containers.exec(service, ["sh", "-c", body, "exec", *words], tty=tty))


def database_console(site: Site, statement: str, *, tty: bool) -> int:
    """Open psql, or run one statement; return the exit code."""
    database = site.settings.database
    command = postgres.psql(site.engine.containers, database, tty=tty and not statement)
    return site.host.interact(command + Command("-c", statement) if statement else command)


def cache_console(site: Site, text: str, *, tty: bool) -> int:
    """Open redis-cli, or run one command; return the exit code."""
    words = split("--command", text)
    return site.host.interact(
        redis.cli(site.engine.containers, site.settings.database.cache, words, tty=tty and not words)
    )


def shell_on_host(site: Site, text: str, *, tty: bool) -> int:
    """Open a shell on the host, or run one command line; return the exit code."""
    command = Command("sh", "-c", text) if text else Command("bash", "-l" if tty else Raw(""))
    return site.host.interact(command)


def render_edge_files(settings: Settings, output: str) -> dict[str, int]:
    """Render the edge without containers; write it below a directory when one is given. Return sizes in bytes.

    Raises:
        UsageError: the directory cannot be written to.
    """
    files = render_edge(settings, {}, certificates=all_issued(settings))
    for path, content in files.items() if output else ():
        target = Path(output) / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise UsageError(f"--output {output}: {error.strerror}: {error.filename}") from error
    return {path: len(content) for path, content in files.items()}
