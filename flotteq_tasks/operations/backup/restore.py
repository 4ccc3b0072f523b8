"""Restore the database: beside, compared, swapped in one transaction, returned when the application is not healthy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from flotteq_tasks.commands import restoring
from flotteq_tasks.model.backup import BackupSet, choose
from flotteq_tasks.model.errors import ExitCode, FlotteqError, NotPutBack, PreflightFailed, UsageError
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import edge_files, verification
from flotteq_tasks.operations.backup import trees
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.sets import sets, take_locked
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import Step, run_steps

# Postgres cuts names behind 63 bytes; the suffix takes up to 24.
NAME = 38


@dataclass(frozen=True)
class Preview:
    """What a restore would change: the set, its age in hours, and tables whose number of rows differs now."""

    set: BackupSet
    hours: float
    rows: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Restored:
    """What a restore did. ``before`` is the name that the former database has now; times are milliseconds."""

    set: str
    database: str
    before: str
    swapped: int = 0
    closed: int = 0


def preview(site: Site, wanted: str) -> Preview:
    """Choose the set and compare it with the live database; nothing is changed.

    Raises:
        UsageError: there is no such set.
    """
    chosen = choose(sets(site), wanted, "db")
    live = _rows(site)
    differ = {
        name: (live.get(name, 0), chosen.rows.get(name, 0))
        for name in sorted({*live, *chosen.rows})
        if live.get(name, 0) != chosen.rows.get(name, 0)
    }
    return Preview(chosen, chosen.hours(datetime.now(UTC)), differ)


def restore_db(site: Site, chosen: BackupSet, variables: Mapping[str, str], *, skip_backup: bool = False) -> Restored:
    """Restore a set's database.

    Args:
        skip_backup: take no set of what is there first; it stays as a database all the same.

    Raises:
        FlotteqError: 1 or 3: the live database is as it was; 4: it is not, and a person is needed.
    """
    with locked(site, holder(f"restore.db {chosen.id}", variables)) as keeper:
        run = _Restore(site, keeper, chosen, repair(site, keeper), skip_backup)
        run_steps(run.steps(), site.report, keeper)
        keeper.last_words("restored", set=chosen.id, before=run.kept)
    return run.done


@dataclass
class _Restore:
    site: Site
    keeper: Keeper
    chosen: BackupSet
    facts: Facts
    skip_backup: bool = False
    stamp: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%d%H%M%S}")
    done: Restored = field(init=False)

    def __post_init__(self) -> None:
        live = self.site.settings.database.name
        self.target, self.kept = f"{live[:NAME]}_restored_{self.stamp}", f"{live[:NAME]}_before_{self.stamp}"
        self.done = Restored(self.chosen.id, live, self.kept)

    def steps(self) -> list[Step]:
        """Until the swap the live database is only read."""
        return [
            Step("room", self.room),
            Step("backup of what is there", self.save),
            Step("restore", self.fill, self.drop),
            Step("swap", self.swap, self.swap_back),
            Step("verify", self.verify),
        ]

    def room(self, note: StepNote) -> None:
        """A second copy of the database must fit beside the live one."""
        wanted = int(self.chosen.on_disk * 1.2)
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
        reason = f"pre-restore of {self.chosen.id}"
        note.text = take_locked(
            self.site, self.keeper, ["db"], reason=reason, keep_days=self.site.settings.backup.keep_pre_deploy_days
        ).id

    def fill(self, note: StepNote) -> None:
        """Fill a database beside the live one and compare it with the manifest."""
        found = run_job(self.site, ["restore-db", self.chosen.id, f"--target={self.target}"])
        note.text = f"{found['tables']} tables, {found['rows']} rows, as in the manifest"

    def drop(self) -> None:
        """Remove the database that nobody uses."""
        drop(self.site, [self.target])

    def swap(self, note: StepNote) -> None:
        """Rename both databases while the consumers are stopped."""
        self.done = swap(self.site, self.facts, self.done, next=self.target)
        note.text = f"renamed in {self.done.swapped} ms, {self.done.closed} ms of maintenance page"

    def swap_back(self) -> None:
        """Give the former database its name back, if it has lost it."""
        if self.kept in databases(self.site):
            back = replace(self.done, before=self.target)
            swap(self.site, self.facts, back, next=self.kept)

    def verify(self, note: StepNote) -> None:
        """Ask all domains from outside."""
        note.text = verify(self.site, self.facts)


def undo(site: Site, variables: Mapping[str, str]) -> Restored:
    """Swap the database from before the last restore with the live one; again: the other way round.

    Raises:
        FlotteqError: there is none.
    """
    with locked(site, holder("restore.undo", variables)) as keeper:
        facts = repair(site, keeper)
        kept = former(site)
        if not kept:
            raise FlotteqError(f"{site.host.name}: no database from before a restore is there", hint="inv backup.list")
        live = site.settings.database.name
        name = f"{live[:NAME]}_before_{datetime.now(UTC):%Y%m%d%H%M%S}"
        with site.report.step("swap") as note:
            done = swap(site, facts, Restored("", live, name), next=kept[-1])
            note.text = f"renamed in {done.swapped} ms, {done.closed} ms of maintenance page"
        with site.report.step("verify") as note:
            note.text = verify(site, facts)
        keeper.write("restore.undo", live=kept[-1], before=name)
    return done


def finalize(site: Site, variables: Mapping[str, str]) -> list[str]:
    """Remove the databases and files from before restores, and what a restore that was cut off left; their names."""
    with locked(site, holder("restore.finalize", variables)) as keeper:
        names = former(site, "before") + former(site, "restored")
        with site.report.step("remove") as note:
            drop(site, names)
            note.text = ", ".join(names) or "nothing to remove"
        with site.report.step("remove files that were put aside") as note:
            parts = trees.clear(site)
            note.text = ", ".join(parts) or "nothing to remove"
        keeper.write("restore.finalize", removed=[*names, *parts])
    return [*names, *parts]


def swap(site: Site, facts: Facts, wanted: Restored, *, next: str) -> Restored:
    """Run the swap on the host, which finishes or returns by itself.

    Args:
        wanted: names; ``before`` is what the live database becomes.
        next: what becomes the live database.

    Raises:
        FlotteqError: everything is as before.
        NotPutBack: it is not.
    """
    settings = site.settings
    service = _consumer(site)
    spec = settings.services[service]
    command = restoring.swap(
        settings.project, settings.database, next=next, kept=wanted.before, consumers=[service],
        edge=settings.of_kind("edge")[0],
        address=f"http://CONTAINER:{spec.port}{spec.health.path}" if facts.of(service) else "",
        fields=restoring.field_patterns(spec.health.expect), limit=settings.deploy.health_timeout,
    )  # fmt: skip
    done = site.host.run(command, timeout=settings.deploy.health_timeout * 2 + 120, check=False)
    times = {line.split()[0]: int(line.split()[1]) for line in done.out.splitlines() if line.split()[1:]
             and line.split()[1].isdigit()}  # fmt: skip
    if done.ok:
        return replace(wanted, swapped=times.get("swapped", 0), closed=times.get("closed", 0))
    said = (done.err.strip() or done.out.strip())[-800:]
    if done.code == restoring.REFUSED:
        raise FlotteqError("Postgres refused the swap; the live database is as it was", details=said)
    if done.code == restoring.RETURNED:
        error = FlotteqError(
            f"{service} was not healthy with the other database, and the former one is live again",
            hint=f"inv logs --service {service}", details=said,
        )  # fmt: skip
        error.exit_code = ExitCode.PUT_BACK
        raise error
    raise NotPutBack(
        f"the swap ended with exit code {done.code}; the maintenance page may still be on",
        hint="inv status; inv restore.undo; inv maintenance.off", details=said,
    )  # fmt: skip


def verify(site: Site, facts: Facts) -> str:
    """Ask all domains from outside; a note."""
    answers = verification.verify_domains(site.settings, verify=edge_files.issued(facts), maintenance=facts.maintenance)
    verification.require(answers)
    return f"{len(answers)} domains answer"


def databases(site: Site) -> dict[str, int]:
    """Names of all databases and their sizes in bytes."""
    done = site.host.run(restoring.databases(site.engine.containers, site.settings.database))
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in done.out.splitlines() if line}


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


def _consumer(site: Site) -> str:
    """The service that uses the database: it runs the migrations, or it is the API."""
    settings = site.settings
    if settings.migrations is not None:
        return settings.migrations.service
    return next(name for name in settings.of_kind("rolling") if settings.services[name].vhost == "api")
