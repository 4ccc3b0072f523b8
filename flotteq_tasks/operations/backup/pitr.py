"""Point-in-time recovery: the receiver of the write-ahead log, base backups, a restore to a moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flotteq_tasks.commands import pitr as scripts
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model import recovery
from flotteq_tasks.model.backup import BackupSet
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.recovery import Log, Window
from flotteq_tasks.model.stack import RECEIVER
from flotteq_tasks.operations.backup import escrow
from flotteq_tasks.operations.backup.copies import elsewhere
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.sets import is_first, sets
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked

# A receiver that was killed holds its slot until the server notices.
REMOVE_LIMIT = 120


def prepare(site: Site) -> None:
    """Let the receiver in and bound its slot, before it is started.

    Raises:
        FlotteqError: the database does not run, or refuses.
    """
    site.host.run(preparation(site))


def preparation(site: Site) -> Command:
    """The command of ``prepare``."""
    settings = site.settings
    return scripts.prepare(settings.project, settings.database, megabytes=settings.backup.pitr_slot_mb)


def is_left(site: Site, facts: Facts) -> bool:
    """Whether the host still has a receiver, or had one in the live release, that the settings do not want."""
    had = facts.release is not None and RECEIVER in facts.release.images
    return not site.settings.backup.pitr and (had or bool(facts.of(RECEIVER)))


def remove(site: Site) -> None:
    """Remove the receiver with its slot: one that nobody reads fills the disk.

    Raises:
        FlotteqError: the database does not run, or refuses; the next deploy tries again.
    """
    site.host.run(removal(site), timeout=REMOVE_LIMIT)


def removal(site: Site) -> Command:
    """The command of ``remove``."""
    return scripts.remove(site.settings.project, site.settings.database, receiver=RECEIVER)


def log(site: Site) -> Log:
    """The received log and its slot, as they are now."""
    backup = site.settings.backup
    said = site.host.run(scripts.look(site.settings.project, site.settings.database)).out
    return recovery.read_log(said, bound=backup.pitr_slot_mb << 20, minutes=backup.pitr_minutes)


def reach(site: Site) -> list[Window]:
    """The moments that can be recovered; none without point-in-time recovery."""
    return recovery.windows(sets(site), log(site), datetime.now(UTC)) if site.settings.backup.pitr else []


@dataclass(frozen=True)
class Checked:
    """The log beside what was promised; ``problem`` is empty where all is well. ``lag`` is bytes."""

    problem: str
    stored: str
    lag: int
    windows: tuple[Window, ...]


def checked(site: Site, *, now: datetime | None = None) -> Checked | None:
    """Whether the log is received and stored as promised; None without point-in-time recovery."""
    if not site.settings.backup.pitr:
        return None
    found, known, present = log(site), sets(site), now or datetime.now(UTC)
    stored = found.stored.isoformat(timespec="seconds") if found.stored else ""
    reach = tuple(recovery.windows(known, found, present))
    return Checked(found.problem(known, present), stored, found.lag, reach)


def take(
    site: Site, variables: Mapping[str, str], *, without_escrow: bool = False, full_speed: bool = False
) -> BackupSet:
    """Take a base backup, read it back, and store the log that leads on from it; return its set.

    Args:
        without_escrow: take the first set although only this host could read it.
        full_speed: without the pauses of ``backup.duty``.

    Raises:
        UsageError: point-in-time recovery is off.
        FlotteqError: no set was left (1), or it is there and not verified (5).
    """
    require_on(site)
    with locked(site, holder("backup.base", variables)) as keeper:
        escrow.require(site, variables, first=is_first(site), without=without_escrow)
        there = elsewhere(site)
        found = run_job(site, ["base", *there.words], volumes=there.volumes, full_speed=full_speed)
        keeper.write("backup", id=found["id"], parts=sorted(found["parts"]), verified=found["verified"])
    return next(one for one in sets(site) if one.id == found["id"])


def require_on(site: Site) -> None:
    """Refuse what needs point-in-time recovery where it is off.

    Raises:
        UsageError: it is.
    """
    if not site.settings.backup.pitr:
        raise UsageError(
            "point-in-time recovery is off: no write-ahead log is received",
            hint="[backup] pitr = true in flotteq.toml, inv deploy, inv backup.base, inv schedule.install",
        )


@dataclass(frozen=True)
class Moment:
    """A moment to restore to, and the base backup from which it is reached."""

    to: datetime
    base: BackupSet

    @property
    def name(self) -> str:
        """How journal and questions call it."""
        return recovery.moment(self.to)


def choose(site: Site, text: str) -> Moment:
    """The moment that a person means; nothing is changed.

    Raises:
        UsageError: point-in-time recovery is off, it is no moment, lies ahead, or cannot be reached.
    """
    require_on(site)
    now = datetime.now(UTC)
    to = recovery.read_moment(text, now)
    known = sets(site)
    recovery.require(to, recovery.windows(known, log(site), now))
    bases = [one for one in known if one.verified and one.base and datetime.fromisoformat(one.base["stopped"]) <= to]
    return Moment(to, bases[-1])
