"""Take sets, list them, verify them, and compare them with what was promised."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from flotteq_tasks.commands.backup import private_directory
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.backup import PARTS, BackupSet, Promise, promises, read_everything
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.operations.backup import escrow
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.names import share_of_data

LEDGER = "ledger.jsonl"
# Where every image of Postgres has its data.
_DATA = "/var/lib/postgresql/data"


def take(
    site: Site,
    parts: Iterable[str],
    what: str,
    variables: Mapping[str, str],
    *,
    without_escrow: bool = False,
    full_speed: bool = False,
) -> BackupSet:
    """Take one set and read it back; return it.

    Args:
        parts: db, uploads, certs.
        what: the task, for lock and journal.
        without_escrow: take the first one although only this host could read it.
        full_speed: without the pauses of ``backup.duty``.

    Raises:
        PreflightFailed: it would be the first one, and no escrow kit was written.
        FlotteqError: no set was left (1), or it is there and not verified (5).
    """
    with locked(site, holder(what, variables)) as keeper:
        escrow.require(site, variables, first=is_first(site), without=without_escrow)
        return take_locked(site, keeper, parts, reason="manual", full_speed=full_speed)


def take_locked(
    site: Site, keeper: Keeper, parts: Iterable[str], *, reason: str, keep_days: int = 0, full_speed: bool = True
) -> BackupSet:
    """Take one set under a lock that the caller holds.

    Args:
        reason: why; ``backup.list`` shows it.
        keep_days: retention leaves it alone for so long.
        full_speed: without the pauses of ``backup.duty``: somebody waits for it.
    """
    prepare(site)
    found = run_job(site, ["run", "--reason", reason, f"--keep-days={keep_days}", *parts], full_speed=full_speed)
    keeper.write("backup", id=found["id"], parts=sorted(found["parts"]), verified=found["verified"])
    return next(one for one in sets(site) if one.id == found["id"])


def prepare(site: Site) -> None:
    """Make the directory of the backups, for root alone: Docker would make it for everybody."""
    site.host.run(preparation(site))


def preparation(site: Site) -> Command:
    """The command of ``prepare``, for a round trip with others."""
    return private_directory(site.settings.project.backups)


def sets(site: Site) -> list[BackupSet]:
    """The sets on the host, oldest first."""
    return [one for one in everywhere(site) if one.here]


def everywhere(site: Site) -> list[BackupSet]:
    """The sets on the host and those that only a copy has still, as far as the host knows; oldest first."""
    return read_everything((site.host.read(f"{site.settings.project.backups}/{LEDGER}") or b"").decode())


def is_first(site: Site) -> bool:
    """Whether nobody has asked for a backup yet: what a deploy takes by itself does not count."""
    return not [one for one in sets(site) if not one.reason.startswith("pre-deploy") and set(PARTS) & set(one.parts)]


def mounted(site: Site, part: str) -> str:
    """What the job sees as the files of a part: a volume's name, or a directory on the host."""
    return _source(site, site.settings.backup.service, f"/src/{part}")


def database_disk(site: Site) -> list[str]:
    """The mount by which the job sees how much room the database has; nothing where its files lie elsewhere."""
    try:
        return [f"{_source(site, site.settings.database.service, _DATA)}:/data:ro"]
    except StopIteration:
        return []


def _source(site: Site, service: str, target: str) -> str:
    config = site.engine.config()
    source = next(one["source"] for one in config["services"][service].get("volumes", ()) if one["target"] == target)
    volumes = config.get("volumes", {})
    return str(volumes[source]["name"] if source in volumes else source)


def verify(
    site: Site, name: str, data: str, variables: Mapping[str, str], *, full_speed: bool = False
) -> dict[str, Any]:
    """Read a set back to its last byte and check the repository; return its id and parts.

    Args:
        name: an id, its beginning, or ``latest``.
        data: how much of all data is read as well, such as ``1/7`` or ``100%``.
        full_speed: without the pauses of ``backup.duty``.

    Raises:
        FlotteqError: it is damaged (5), or there is no such set (2).
        UsageError: ``data`` is no share.
    """
    share_of_data("--data", data)
    with locked(site, holder(f"backup.verify {name}", variables)) as keeper:
        prepare(site)
        found = run_job(site, ["verify", name, *([f"--data={data}"] if data else [])], full_speed=full_speed)
        keeper.write("backup.verify", id=found["id"])
    return found


# To give files their owners and all of their modes back, and to run a server as its own user.
RESTORING = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "KILL")


def drill(site: Site, name: str, variables: Mapping[str, str], *, kit: str = "", identity: str = "") -> dict[str, Any]:
    """Restore a set in a throw-away container and compare everything; return id, parts, rows, seconds.

    Args:
        name: an id, its beginning, or ``latest``.
        kit, identity: files of an escrow kit and of an age private key that opens it: the kit is compared with the host
            first. Neither leaves this machine.

    Raises:
        FlotteqError: it cannot be restored (5), the kit is out of date (5), or there is no such set (2).
    """
    if bool(kit) != bool(identity):
        raise UsageError(
            "--kit and --identity belong together", hint="inv backup.drill --kit KIT.age --identity KEY.txt"
        )
    if kit:
        escrow.check(site, kit, identity)
    with locked(site, holder(f"backup.drill {name}", variables)) as keeper:
        prepare(site)
        found = run_job(site, ["drill", name], capabilities=RESTORING)
        keeper.write("backup.drill", id=found["id"], seconds=found["seconds"])
    return found


def prune(site: Site, variables: Mapping[str, str], *, dry_run: bool, many: bool) -> dict[str, Any]:
    """Remove the sets that retention does not keep; return those that stay, with reasons, and those that went.

    Args:
        dry_run: only say so.
        many: let go more than three sets that are over 30 % of all.

    Raises:
        FlotteqError: the plan can only be a mistake; nothing was removed.
    """
    flags = [*(["--dry-run"] if dry_run else []), *(["--many"] if many else [])]
    with locked(site, holder("backup.prune", variables)) as keeper:
        prepare(site)
        found = run_job(site, ["prune", *flags])
        keeper.write("backup.prune", removed=[] if dry_run else found["remove"])
    return found


def status(site: Site, *, now: datetime | None = None) -> list[Promise]:
    """The newest verified set of every part, on the host and in every copy, beside what was promised."""
    return promises(sets(site), hours(site), now or datetime.now(UTC), site.settings.backup.copies)


def hours(site: Site) -> dict[str, int]:
    """How old a set of each part may become."""
    backup = site.settings.backup
    based = {"base": backup.base_hours} if backup.pitr else {}
    return {**based, "db": backup.db_hours, "uploads": backup.uploads_hours, "certs": backup.certs_hours}
