"""Restore the database: beside, compared, swapped in one transaction, returned when the application is not healthy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flotteq_tasks.commands import backup as scripts
from flotteq_tasks.commands import restoring
from flotteq_tasks.model.backup import BackupSet, choose
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, UsageError
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations.backup import pitr, trees
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.pitr import Moment
from flotteq_tasks.operations.backup.sets import RESTORING, database_disk, everywhere, take_locked
from flotteq_tasks.operations.backup.swap import Exchange, Restored, databases
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import Step, run_steps

# Postgres lets so much of its log wait for a checkpoint (max_wal_size, its default).
LOG = 1 << 30
# Postgres cuts names behind 63 bytes; the suffix takes up to 24.
NAME = 38


@dataclass(frozen=True)
class Preview:
    """What a restore would change: the set, its age in hours, and tables whose number of rows differs now."""

    set: BackupSet
    hours: float
    rows: Mapping[str, tuple[int, int]]


def preview(site: Site, wanted: str) -> Preview:
    """Choose the set and compare it with the live database; nothing is changed.

    Raises:
        UsageError: there is no such set.
    """
    chosen = choose(everywhere(site), wanted, "db")
    live = _rows(site)
    differ = {
        name: (live.get(name, 0), chosen.rows.get(name, 0))
        for name in sorted({*live, *chosen.rows})
        if live.get(name, 0) != chosen.rows.get(name, 0)
    }
    return Preview(chosen, chosen.hours(datetime.now(UTC)), differ)


def source(site: Site, wanted: str, to: str) -> Preview | Moment:
    """What a person wants to restore; nothing is changed.

    Args:
        wanted: a set; empty: the newest verified one.
        to: a moment instead.

    Raises:
        UsageError: both, or there is no such set or moment.
    """
    if wanted and to:
        raise UsageError("--from and --to exclude each other: a set, or a moment", hint="inv backup.list")
    return pitr.choose(site, to) if to else preview(site, wanted or "latest")


def restore(
    site: Site, found: Preview | Moment, variables: Mapping[str, str], *, skip_backup: bool = False
) -> Restored:
    """Restore the database from what ``source`` has found; see ``restore_db`` and ``restore_moment``."""
    if isinstance(found, Moment):
        return restore_moment(site, found, variables, skip_backup=skip_backup)
    return restore_db(site, found.set, variables, skip_backup=skip_backup)


def restore_db(site: Site, chosen: BackupSet, variables: Mapping[str, str], *, skip_backup: bool = False) -> Restored:
    """Restore a set's database.

    Args:
        skip_backup: take no set of what is there first; it stays as a database all the same.

    Raises:
        FlotteqError: 1 or 3: the live database is as it was; 4: it is not, and a person is needed.
    """
    return _restore(site, chosen, chosen.id, variables, skip_backup=skip_backup)


def restore_moment(site: Site, chosen: Moment, variables: Mapping[str, str], *, skip_backup: bool = False) -> Restored:
    """Restore the database as it was at a moment: recovered in a server of its own, then like any other restore.

    Args:
        skip_backup: as of ``restore_db``.

    Raises:
        FlotteqError: as of ``restore_db``; 2: the moment cannot be reached.
    """
    return _restore(site, chosen.base, chosen.name, variables, skip_backup=skip_backup, to=chosen.to.isoformat())


def _restore(
    site: Site, chosen: BackupSet, name: str, variables: Mapping[str, str], *, skip_backup: bool, to: str = ""
) -> Restored:
    with locked(site, holder(f"restore.db {name}", variables)) as keeper:
        run = _Restore(site, keeper, chosen, repair(site, keeper), skip_backup, name, to)
        run_steps(run.steps(), site.report, keeper)
        keeper.last_words("restored", set=name, before=run.kept)
    return run.exchange.done


@dataclass
class _Restore:
    site: Site
    keeper: Keeper
    chosen: BackupSet
    facts: Facts
    skip_backup: bool
    name: str
    to: str
    exchange: Exchange = field(init=False)

    def __post_init__(self) -> None:
        live, stamp = self.site.settings.database.name, f"{datetime.now(UTC):%Y%m%d%H%M%S}"
        self.target, self.kept = f"{live[:NAME]}_restored_{stamp}", f"{live[:NAME]}_before_{stamp}"
        self.exchange = Exchange(self.site, self.facts, Restored(self.name, live, self.kept), next=self.target)

    def steps(self) -> list[Step]:
        """Until the swap the live database is only read."""
        return [
            Step("room", self.room),
            Step("backup of what is there", self.save),
            Step("restore", self.fill, self.drop),
            *self.exchange.steps(),
        ]

    def room(self, note: StepNote) -> None:
        """A second copy of the database must fit beside the live one, with its log, and on the same disk a dump's file.

        A Postgres whose disk is full stops for everybody: it is not left to find out.
        """
        # A base backup is the whole cluster: the database is not larger. It is recovered and then dumped.
        size = self.chosen.parts["base"] if self.to else self.chosen.on_disk
        wanted = int(size * 1.2) + min(size, LOG)
        place = self.site.settings.project.backups
        if "same-disk" in self.site.host.run(scripts.look(place)).out.split():
            filed = self.chosen.parts["db"] if self.site.settings.backup.jobs > 1 else 0
            wanted += 2 * size if self.to else filed
        if self.facts.disk_free < wanted:
            raise PreflightFailed(
                f"{self.site.host.name}: a restore beside the live database needs {wanted >> 20} MiB, "
                f"{self.facts.disk_free >> 20} MiB are free",
                hint="inv prune, inv restore.finalize, or more disk",
            )
        note.text = f"{wanted >> 20} MiB needed, {self.facts.disk_free >> 20} MiB free"

    def save(self, note: StepNote) -> None:
        """Take a set of the live database first: whatever was written since the restored one stays to be had."""
        if self.skip_backup:
            note.text = "skipped (--skip-backup)"
            return
        reason = f"pre-restore of {self.name}"
        note.text = take_locked(
            self.site, self.keeper, ["db"], reason=reason, keep_days=self.site.settings.backup.keep_pre_deploy_days
        ).id

    def fill(self, note: StepNote) -> None:
        """Fill a database beside the live one and compare it with the manifest, or with the recovered one."""
        self.exchange.mark(note)
        words = ["restore-db", self.chosen.id] if not self.to else ["recover-db", f"--to={self.to}"]
        more = RESTORING if self.to else ()
        words.append(f"--target={self.target}")
        found = run_job(self.site, words, capabilities=more, volumes=database_disk(self.site))
        note.text = f"{found['tables']} tables, {found['rows']} rows, as in the {'log' if self.to else 'manifest'}"

    def drop(self) -> None:
        """Remove the database that nobody uses."""
        drop(self.site, [self.target])
        self.exchange.unmark()


def undo(site: Site, variables: Mapping[str, str]) -> Restored:
    """Swap the database from before the last restore with the live one; again: the other way round.

    Raises:
        FlotteqError: there is none; or 3: everything is as it was.
    """
    with locked(site, holder("restore.undo", variables)) as keeper:
        facts = repair(site, keeper)
        kept = former(site)
        if not kept:
            raise FlotteqError(f"{site.host.name}: no database from before a restore is there", hint="inv backup.list")
        live = site.settings.database.name
        name = f"{live[:NAME]}_before_{datetime.now(UTC):%Y%m%d%H%M%S}"
        exchange = Exchange(site, facts, Restored("", live, name), next=kept[-1])
        run_steps([Step("choose", exchange.mark, exchange.unmark), *exchange.steps()], site.report, keeper)
        keeper.write("restore.undo", live=kept[-1], before=name)
    return exchange.done


def finalize(site: Site, variables: Mapping[str, str]) -> list[str]:
    """Remove the databases and files from before restores, and what a restore that was cut off left; their names."""
    with locked(site, holder("restore.finalize", variables)) as keeper:
        # A swap may still run, files may be half exchanged: what is removed here is what they need to end.
        repair(site, keeper)
        names = former(site, "before") + former(site, "restored")
        with site.report.step("remove") as note:
            drop(site, names)
            note.text = ", ".join(names) or "nothing to remove"
        with site.report.step("remove files that were put aside") as note:
            parts = trees.clear(site)
            note.text = ", ".join(parts) or "nothing to remove"
        keeper.write("restore.finalize", removed=[*names, *parts])
    return [*names, *parts]


def former(site: Site, kind: str = "before") -> list[str]:
    """Databases that restores left, oldest first."""
    begin = f"{site.settings.database.name[:NAME]}_{kind}_"
    return sorted(name for name in databases(site) if name.startswith(begin) and name.removeprefix(begin).isdigit())


def drop(site: Site, names: list[str]) -> None:
    """Remove databases that were made here; the live one never is among them."""
    text = "".join(f'drop database if exists "{name}" with (force);\n' for name in names)
    if site.settings.database.name in names:
        raise UsageError(f"{site.settings.database.name} is the live database")
    if names:
        command = restoring.statements(site.engine.containers, site.settings.database)
        site.host.run(command, stdin=text.encode(), timeout=300)


def _rows(site: Site) -> dict[str, int]:
    done = site.host.run(restoring.rows(site.engine.containers, site.settings.database), timeout=600)
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in done.out.splitlines() if line}
