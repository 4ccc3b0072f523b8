"""Restore files: beside those that are there, compared with the set, exchanged; the former ones stay until finalize."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flotteq_tasks.commands import restoring
from flotteq_tasks.model.backup import BackupSet, choose
from flotteq_tasks.model.errors import FlotteqError, HostUnreachable
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.operations import ownership, tls
from flotteq_tasks.operations.backup import settling
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.sets import RESTORING, everywhere, mounted, take_locked
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import Step, run_steps

# certbot's store is read by nobody else, its accounts' keys not even by others.
OWN_FILES = ("certs",)


@dataclass(frozen=True)
class Exchanged:
    """What a restore of files did. ``before`` is where the former ones lie, below the directory itself."""

    set: str
    part: str
    before: str


def chosen(site: Site, wanted: str, part: str) -> tuple[BackupSet, float]:
    """The set that a person means, and its age in hours; nothing is changed.

    Raises:
        UsageError: there is no such set.
    """
    found = choose(everywhere(site), wanted, part)
    return found, found.hours(datetime.now(UTC))


def restore_tree(
    site: Site, found: BackupSet, part: str, variables: Mapping[str, str], *, skip_backup: bool = False
) -> Exchanged:
    """Restore uploads or certificates.

    Args:
        skip_backup: take no set of what is there first; it is put aside all the same.

    Raises:
        FlotteqError: 1 or 3: everything is as it was.
    """
    with locked(site, holder(f"restore.{part} {found.id}", variables)) as keeper:
        repair(site, keeper)
        run = _Restore(site, keeper, found, part, skip_backup)
        run_steps(run.steps(), site.report, keeper)
        settling.unmark(site)
        keeper.last_words("restored", set=found.id, part=part, before=run.done.before)
    return run.done


def undo_tree(site: Site, part: str, variables: Mapping[str, str]) -> Exchanged:
    """Exchange the files with those from before the last restore; again: the other way round.

    Raises:
        FlotteqError: there are none.
    """
    with locked(site, holder(f"restore.{part} --undo", variables)) as keeper:
        facts = repair(site, keeper)
        try:
            done = _undo(site, part)
        except HostUnreachable:
            raise
        except FlotteqError:
            settling.unmark(site)
            raise
        if part == "certs":
            tls.install(site, facts)
        settling.unmark(site)
        keeper.write("restore.undo", part=part, before=done.before)
    return done


def clear(site: Site) -> list[str]:
    """Remove the files that restores put aside; return the parts that had some. The caller holds the lock."""
    places = {part: mounted(site, part) for part in ("uploads", "certs")}
    prefix = f"{site.settings.project.name}_"
    own = site.engine.facts().own_volumes - set(places.values())
    places |= {name.removeprefix(prefix): name for name in sorted(own)}
    done = site.host.run(restoring.clear_trees(places.values()), timeout=600)
    gone = done.out.split()
    return [part for part, place in places.items() if place in gone]


@dataclass
class _Restore:
    site: Site
    keeper: Keeper
    set: BackupSet
    part: str
    skip_backup: bool
    done: Exchanged = field(init=False)

    def __post_init__(self) -> None:
        self.done = Exchanged(self.set.id, self.part, "")

    def steps(self) -> list[Step]:
        """Certificates are put into use by the same steps as a renewed one; what nginx refuses is taken back."""
        steps = [
            Step("backup of what is there", self.save),
            Step("restore", self.exchange, self.back),
        ]
        return [*steps, Step("put into use", self.install)] if self.part == "certs" else steps

    def save(self, note: StepNote) -> None:
        """Take a set of the present files first."""
        if self.skip_backup:
            note.text = "skipped (--skip-backup)"
            return
        days = self.site.settings.backup.keep_pre_deploy_days
        reason = f"pre-restore of {self.set.id}"
        note.text = take_locked(self.site, self.keeper, [self.part], reason=reason, keep_days=days).id

    def exchange(self, note: StepNote) -> None:
        """Restore beside, compare, exchange."""
        place = mounted(self.site, self.part)
        settling.mark(self.site, what="restore", part=self.part, place=place)
        found = run_job(
            self.site, ["restore-tree", self.part, self.set.id], capabilities=RESTORING, volumes=[f"{place}:/restore"]
        )
        self.done = Exchanged(self.set.id, self.part, str(found["before"]))
        ownership.settle(self.site, place, whole=self.part in OWN_FILES)
        note.text = f"the former ones are in .flotteq-restore/{self.done.before}"

    def back(self) -> None:
        """Put the former files back, if they were exchanged."""
        if self.done.before:
            _undo(self.site, self.part)
            if self.part == "certs":
                # Of several certificates some may be in use already; where there were none before, none comes back.
                with suppress(FlotteqError):
                    tls.install(self.site, self.site.engine.facts())
        settling.unmark(self.site)

    def install(self, note: StepNote) -> None:
        """Let the edge serve the restored certificate, where it is another one."""
        note.text = (
            "the edge was reloaded" if tls.install(self.site, self.site.engine.facts()) else "it is served already"
        )


def _undo(site: Site, part: str) -> Exchanged:
    place = mounted(site, part)
    settling.mark(site, what="restore", part=part, place=place)
    found = run_job(site, ["undo-tree", part], capabilities=RESTORING, volumes=[f"{place}:/restore"])
    ownership.settle(site, place, whole=part in OWN_FILES)
    return Exchanged("", part, str(found["before"]))
