"""Backups: sets that are read back after they were taken."""

import os
from collections.abc import Sequence

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, ESCROW_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task

SET_HELP = (
    "a set of `inv backup.list`, the beginning of its id, latest, or base: the newest base backup (default: latest)"
)


FULL_SPEED_HELP = "without the pauses of [backup] duty: requests wait longer meanwhile"
TAKE_HELP = {"without-escrow": ESCROW_HELP, "full-speed": FULL_SPEED_HELP, "env": ENV_HELP, "json": JSON_HELP}


def _take(parts: Sequence[str], what: str, env: str, *, json: bool, without_escrow: bool, full_speed: bool) -> None:
    from flotteq_tasks.console.backup_results import show_taken
    from flotteq_tasks.operations.backup.sets import take

    call = app(env, json=json)
    show_taken(
        call.console,
        take(call.site, parts, what, os.environ, without_escrow=without_escrow, full_speed=full_speed),
    )


@task(help=TAKE_HELP)
def db(
    c: Context, *, without_escrow: bool = False, full_speed: bool = False, env: str = "", json: bool = False
) -> None:
    """Back up the database, and read it back.

    Exit code 5: the set is there, but not verified.
    """
    _take(["db"], "backup.db", env, json=json, without_escrow=without_escrow, full_speed=full_speed)


@task(help=TAKE_HELP)
def uploads(
    c: Context, *, without_escrow: bool = False, full_speed: bool = False, env: str = "", json: bool = False
) -> None:
    """Back up the uploaded files, and read them back."""
    _take(["uploads"], "backup.uploads", env, json=json, without_escrow=without_escrow, full_speed=full_speed)


@task(help=TAKE_HELP)
def certs(
    c: Context, *, without_escrow: bool = False, full_speed: bool = False, env: str = "", json: bool = False
) -> None:
    """Back up the certificates, and read them back."""
    _take(["certs"], "backup.certs", env, json=json, without_escrow=without_escrow, full_speed=full_speed)


@task(name="all", help=TAKE_HELP)
def all_(
    c: Context, *, without_escrow: bool = False, full_speed: bool = False, env: str = "", json: bool = False
) -> None:
    """Back up database, uploads and certificates."""
    _take(
        ["db", "uploads", "certs"], "backup.all", env, json=json, without_escrow=without_escrow, full_speed=full_speed
    )


@task(help=TAKE_HELP)
def base(
    c: Context, *, without_escrow: bool = False, full_speed: bool = False, env: str = "", json: bool = False
) -> None:
    """Take a base backup, for a restore to any later moment.

    With [backup] pitr alone. Begins anew where the log was interrupted.
    """
    from flotteq_tasks.console.backup_results import show_taken
    from flotteq_tasks.operations.backup.pitr import take

    call = app(env, json=json)
    show_taken(call.console, take(call.site, os.environ, without_escrow=without_escrow, full_speed=full_speed))


@task(name="list", help={"copies": "ask the off-site repositories what they have", "env": ENV_HELP, "json": JSON_HELP})
def list_(c: Context, *, copies: bool = False, env: str = "", json: bool = False) -> None:
    """List the sets: age, size, verified or not, where.

    Those that only an off-site repository has still, too; inv backup.fetch brings one back.
    """
    from flotteq_tasks.console.backup_results import show_sets
    from flotteq_tasks.operations.backup.copies import listed
    from flotteq_tasks.operations.backup.pitr import reach
    from flotteq_tasks.operations.backup.sets import everywhere

    call = app(env, json=json)
    rows = listed(call.site, "", os.environ) if copies else everywhere(call.site)
    show_sets(call.console, rows, reach(call.site))


@task(
    help={
        "set": SET_HELP,
        "data": "also read this part of all data: 1/7, 100% (default: none)",
        "copy": "read it from this copy, a name of [backup.copies], instead of the host",
        "full-speed": FULL_SPEED_HELP,
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def verify(
    c: Context,
    *,
    set: str = "latest",
    data: str = "",
    copy: str = "",
    full_speed: bool = False,
    env: str = "",
    json: bool = False,
) -> None:
    """Read a set back to its last byte.

    Exit code 5: it is damaged; from then on it does not count.
    """
    from flotteq_tasks.console.backup_results import show_verified
    from flotteq_tasks.operations.backup import copies, sets

    call = app(env, json=json)
    if copy:
        found = copies.verify(call.site, copy, set, os.environ, full_speed=full_speed)
    else:
        found = sets.verify(call.site, set, data, os.environ, full_speed=full_speed)
    show_verified(call.console, found)


@task(help={"to": "a name of [backup.copies] (default: all)", "env": ENV_HELP, "json": JSON_HELP})
def copy(c: Context, *, to: str = "", env: str = "", json: bool = False) -> None:
    """Copy the verified sets to the off-site repositories.

    Nothing is ever removed there. What fails there leaves the sets on the host as they are.
    """
    from flotteq_tasks.console.backup_results import show_copied
    from flotteq_tasks.operations.backup import copies

    call = app(env, json=json)
    show_copied(call.console, copies.copy(call.site, to, os.environ))


@task(
    help={
        "copy": "a name of [backup.copies]; needed where there are several",
        "set": "an id, the beginning of one, latest, or base: the newest base backup there (default: latest)",
        "env": ENV_HELP,
    }
)
def fetch(c: Context, *, copy: str = "", set: str = "latest", env: str = "") -> None:
    """Bring a set back from an off-site repository.

    Into the host's own, and read back. For a host that has lost its sets.
    """
    from flotteq_tasks.operations.backup import copies

    call = app(env)
    found = copies.fetch(call.site, copy, set, os.environ)
    call.console.line(f"set {found['id']} is here and whole: {', '.join(found['parts'])}")


@task(
    help={
        "set": SET_HELP,
        "kit": "an escrow kit that is opened and compared first",
        "identity": "file of an age private key that opens it; it stays here",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def drill(
    c: Context, *, set: str = "latest", kit: str = "", identity: str = "", env: str = "", json: bool = False
) -> None:
    """Restore a set where nobody uses it, and compare.

    In a container of its own; the time is remembered. Exit code 5: it cannot be restored, or the kit is out of date.
    """
    from flotteq_tasks.console.backup_results import show_drill
    from flotteq_tasks.operations.backup.sets import drill

    call = app(env, json=json)
    show_drill(call.console, drill(call.site, set, os.environ, kit=kit, identity=identity))


@task(
    help={
        "recipient": "an age public key that can open it, beside backup.recipients; can be repeated",
        "to": "the file to write (default: escrow-PROJECT-ENVIRONMENT-DATE.age here)",
        "env": ENV_HELP,
        "json": JSON_HELP,
    },
    iterable=["recipient"],
)
def escrow(c: Context, *, recipient: list[str], to: str = "", env: str = "", json: bool = False) -> None:
    """Write what a restore needs to a sealed file.

    All secrets, the .env file and flotteq.toml, encrypted with age. Keep it where neither this machine nor the host is.
    """
    from flotteq_tasks.console.backup_results import show_kit
    from flotteq_tasks.operations.backup import escrow

    call = app(env, json=json)
    show_kit(call.console, escrow.write(call.site, recipient, to, os.environ))


@task(
    help={
        "dry-run": "only say what would go",
        "many": "let many go at once, after a look with --dry-run",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def prune(c: Context, *, dry_run: bool = False, many: bool = False, env: str = "", json: bool = False) -> None:
    """Remove the sets that retention does not keep.

    The newest verified set of every part stays, always; nothing goes when the plan can only be a mistake.
    """
    from flotteq_tasks.console.backup_results import show_pruned
    from flotteq_tasks.operations.backup.sets import prune

    call = app(env, json=json)
    show_pruned(call.console, prune(call.site, os.environ, dry_run=dry_run, many=many))


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def status(c: Context, *, env: str = "", json: bool = False) -> None:
    """Say whether the backups are as young as promised.

    Exit code 5 when one is older than [backup] of flotteq.toml promises.
    """
    from flotteq_tasks.console.backup_results import show_promises
    from flotteq_tasks.operations.backup.pitr import checked
    from flotteq_tasks.operations.backup.sets import status

    call = app(env, json=json)
    found, log = status(call.site), checked(call.site)
    show_promises(call.console, found, log)
    if not all(one.kept for one in found) or (log and log.problem):
        raise Exit(code=5)


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def doctor(c: Context, *, env: str = "", json: bool = False) -> None:
    """Say what stands between this host and a restore.

    Exit code 5 when something is wrong.
    """
    from flotteq_tasks.console.results import show_findings
    from flotteq_tasks.operations.backup.findings import findings

    call = app(env, json=json)
    found = findings(call.site)
    show_findings(call.console, found)
    if not all(one.ok for one in found):
        raise Exit(code=5)
