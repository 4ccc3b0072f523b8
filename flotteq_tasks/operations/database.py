"""The database during a deploy: is it empty, a dump before the change, the migrations."""

import re
import shlex
from collections.abc import Sequence

from flotteq_tasks.commands import postgres
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.errors import CommandFailed, FlotteqError
from flotteq_tasks.model.stack import PLANS, Migrations
from flotteq_tasks.operations.backup import predeploy
from flotteq_tasks.operations.context import Site


def has_tables(site: Site) -> bool:
    """Whether the database has any table of its own."""
    done = site.host.run(postgres.count_tables(site.engine.containers, site.settings.database))
    return int(done.out.strip() or 0) > 0


def dump(site: Site, release: str, *, meanwhile: Sequence[Command] = ()) -> tuple[str, list[Done]]:
    """Take a set of the database; without a backup job, dump it to a file and read its table of contents back.

    Args:
        meanwhile: commands that run side by side with it.

    Returns:
        a note, empty where the database has no table: then there is neither; the results of ``meanwhile`` up to the
        first that failed.

    Raises:
        FlotteqError: it failed; nothing is left.
    """
    if predeploy.possible(site):
        return predeploy.take(site, release, meanwhile=meanwhile)
    path = f"{site.settings.project.backups}/pre-deploy/{release}.dump"
    command = postgres.dump_to_file(site.engine.containers, site.settings.database, path)
    done = site.host.run_all([command, *meanwhile], timeout=3600, check=False, together=True)
    size = done[0].check(site.host.name).out.strip().splitlines()[-1]
    return "" if size == "empty" else f"{int(size) / 1024:,.0f} KiB in {path}", done[1:]


def asking(site: Site, migrations: Migrations) -> list[Command]:
    """The command that asks for the migrations' status with the new image, for a round trip with others.

    None where there is no status command.
    """
    text = migration_script(migrations, ())
    name = f"{site.settings.project.name}-migrate"
    return [site.engine.once(migrations.service, ["sh", "-ec", text], name=name)] if migrations.status else []


def migrate(
    site: Site, migrations: Migrations, *, empty: bool | None = None, asked: Sequence[Done] = ()
) -> tuple[tuple[str, ...], str]:
    """Run the pending migrations once; an empty database gets the first_install list instead.

    Args:
        empty: whether the database has no table; None: it is asked.
        asked: the result of ``asking``, if it was: where it tells that nothing is pending, nothing runs.

    Returns:
        names of the applied migrations, as far as the status command tells them, and a note.

    Raises:
        FlotteqError: a command failed; its output is in the details. No container was replaced.
    """
    empty = not has_tables(site) if empty is None else empty
    first = bool(empty and migrations.first_install)
    commands = migrations.first_install if first else (migrations.command,)
    applied, pending = _told(asked)
    if not applied or pending:
        output = _run(site, migrations, commands, only_pending=not first and not pending)
        applied, pending = read_status(output.partition(STATUS)[2])
    if pending:
        site.report.warn(f"still pending after the migration: {', '.join(pending)}")
    words = "first installation" if empty else "up to date"
    return applied, f"{words}, {len(applied)} applied" if applied else words


def _told(asked: Sequence[Done]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of an answer that failed nothing is believed: the migration's own failure says more."""
    return read_status(asked[0].out.partition(STATUS)[2]) if asked and asked[0].ok else ((), ())


def migration_status(
    site: Site, migrations: Migrations, *, release: str = ""
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the applied and of the pending migrations, asked with the live image or that of a staged release."""
    return read_status(_run(site, migrations, (), release=release).partition(STATUS)[2])


STATUS = "@@ status"
# TypeORM prints "[X] 3 Name" for an applied migration and "[ ] Name" for a pending one, among other lines.
_LINE = re.compile(r"^\s*\[(X| )\]\s+(?:\d+\s+)?(\S+)\s*$", re.M)


def read_status(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the status command's output: applied and pending names."""
    found = _LINE.findall(text)
    return tuple(name for mark, name in found if mark == "X"), tuple(name for mark, name in found if mark == " ")


# The status tells all of them applied: the command would do nothing, and each start of Node takes a second.
_ONLY_PENDING = """
said=$($STATUS) || said=
case $said in
  *'[ ] '*) ;;
  *'[X] '*) printf '%s\\n' "$MARK" "$said"; exit 0 ;;
esac
"""


def migration_script(migrations: Migrations, commands: Sequence[Sequence[str]], *, only_pending: bool = False) -> str:
    """The shell script for the container: the commands, then ``STATUS`` and the status command's output. Pure.

    Args:
        only_pending: where the status tells that nothing is pending, no command runs.
    """
    lines = [shlex.join(command) for command in commands]
    if migrations.status:
        status, mark = shlex.join(migrations.status), shlex.quote(STATUS)
        if only_pending:
            lines.insert(0, _ONLY_PENDING.strip().replace("$STATUS", status).replace('"$MARK"', mark))
        lines += [f"echo {mark}", status]
    return "\n".join(lines)


def _run(
    site: Site,
    migrations: Migrations,
    commands: Sequence[Sequence[str]],
    *,
    only_pending: bool = False,
    release: str = "",
) -> str:
    text = migration_script(migrations, commands, only_pending=only_pending)
    # Who only asks holds no lock: by the name of the one that migrates it would end the migration of a deploy.
    name = f"{site.settings.project.name}{'-migrate' if commands else PLANS}"
    try:
        done = site.engine.run_once(
            migrations.service, ["sh", "-ec", text], name=name, limit=migrations.timeout, release=release
        )
    except CommandFailed as error:
        raise FlotteqError(
            f"the migration failed with exit code {error.code}; no container was replaced",
            hint="the database is as the last successful migration left it; the output is above",
            details=error.details,
        ) from error
    return done.out
