"""Sets of any volume of the project: taken and restored while nobody writes to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flotteq_tasks.commands.docker import users
from flotteq_tasks.host import interruption
from flotteq_tasks.model.backup import BackupSet, choose
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.operations import ownership
from flotteq_tasks.operations.backup import settling
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.sets import RESTORING, everywhere, prepare, sets
from flotteq_tasks.operations.backup.trees import Exchanged
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.names import own_volume
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import Step, run_steps


@dataclass(frozen=True)
class Volume:
    """A volume of the project.

    Args:
        name: without the project's name in front; ``full`` has it.
        services: run on it now.
    """

    name: str
    full: str
    services: tuple[str, ...]

    @property
    def part(self) -> str:
        """What a set calls it."""
        return f"volume-{self.name}"


def find(site: Site, name: str) -> Volume:
    """One volume and who runs on it.

    Args:
        name: with or without the project's name in front.

    Raises:
        UsageError: the project has no such volume; the nearest of its own is suggested.
    """
    short, full = own_volume(site.settings, name, among=site.engine.facts().own_volumes)
    found = site.host.run(users(full)).out.split()
    return Volume(short, full, tuple(sorted({one for one in found if one in site.settings.services})))


def chosen(site: Site, wanted: str, volume: Volume) -> tuple[BackupSet, float]:
    """The set that a person means, and its age in hours; nothing is changed.

    Raises:
        UsageError: there is no such set.
    """
    found = choose(everywhere(site), wanted, volume.part)
    return found, found.hours(datetime.now(UTC))


def take(site: Site, volume: Volume, variables: Mapping[str, str], *, stop: bool) -> BackupSet:
    """Take one set of a volume and read it back; return it.

    Args:
        stop: stop what runs on it meanwhile.

    Raises:
        UsageError: a database or a cache runs on it and may not be stopped: a copy would be torn.
    """
    torn = [name for name in volume.services if site.settings.services[name].kind == "stateful"]
    if torn and not stop:
        raise UsageError(
            f"{', '.join(torn)} writes to {volume.name}: a copy of its files would be torn; nothing was done",
            hint="--stop stops it meanwhile; for the database inv backup.db needs no stop",
        )
    with locked(site, holder(f"volumes.backup {volume.name}", variables)) as keeper:
        repair(site, keeper)
        prepare(site)
        with _stopped(site, volume if stop else None):
            found = _take(site, volume, "manual", full_speed=stop)
        keeper.write("backup", id=found["id"], parts=[volume.part], verified=found["verified"])
    return next(one for one in sets(site) if one.id == found["id"])


def restore(
    site: Site,
    found: BackupSet | None,
    volume: Volume,
    variables: Mapping[str, str],
    *,
    stop: bool,
    skip_backup: bool = False,
) -> Exchanged:
    """Restore a volume: beside its files, compared, exchanged; the former ones stay.

    Args:
        found: None: the files from before the last restore; again: the other way round.
        stop: stop what runs on it meanwhile.
        skip_backup: take no set of what is there first; it is put aside all the same.

    Raises:
        UsageError: something runs on it and may not be stopped.
        FlotteqError: 1 or 3: everything is as it was.
    """
    if volume.services and not stop:
        raise UsageError(
            f"{', '.join(volume.services)} runs on {volume.name}; nothing was done",
            hint="--stop stops it meanwhile: its part of the site does not answer then",
        )
    what = f"volumes.restore {volume.name}{'' if found else ' --undo'}"
    with locked(site, holder(what, variables)) as keeper:
        repair(site, keeper)
        prepare(site)
        run = _Restore(site, keeper, volume, found, skip_backup or found is None)
        run_steps(run.steps(), site.report, keeper)
        settling.unmark(site)
        keeper.last_words("restored", set=run.done.set, part=volume.part, before=run.done.before)
    return run.done


@dataclass
class _Restore:
    site: Site
    keeper: Keeper
    volume: Volume
    set: BackupSet | None
    skip_backup: bool
    done: Exchanged = field(init=False)

    def __post_init__(self) -> None:
        self.done = Exchanged(self.set.id if self.set else "", self.volume.name, "")

    def steps(self) -> list[Step]:
        """What does not start with the other files gets its own back."""
        return [
            Step("stop", self.stop, self.start_again),
            Step("backup of what is there", self.save),
            Step("restore", self.exchange, self.back),
            Step("start", lambda note: self.start(), self.stop_again),
        ]

    def stop(self, note: StepNote) -> None:
        """Stop what runs on it."""
        _mark(self.site, self.volume, "restore")
        _stop(self.site, self.volume)
        note.text = ", ".join(self.volume.services) or "nothing runs on it"

    def start(self) -> None:
        """Start it again, and wait for its health."""
        _start(self.site, self.volume)

    def start_again(self) -> None:
        """Start it with the files that it had."""
        _start(self.site, self.volume)
        settling.unmark(self.site)

    def stop_again(self) -> None:
        """Stop what did not get healthy, before its files are exchanged again."""
        _stop(self.site, self.volume)

    def save(self, note: StepNote) -> None:
        """Take a set of the present files first."""
        if self.skip_backup:
            note.text = "skipped"
            return
        days = self.site.settings.backup.keep_pre_deploy_days
        reason = f"pre-restore of {self.set.id}" if self.set else "pre-restore"
        note.text = _take(self.site, self.volume, reason, days, full_speed=True)["id"]

    def exchange(self, note: StepNote) -> None:
        """Restore beside, compare, exchange; or exchange with the former files."""
        if self.set is None:
            self._undo()
        else:
            found = self._run(["restore-tree", self.volume.part, self.set.id])
            self.done = Exchanged(self.set.id, self.volume.name, str(found["before"]))
        note.text = f"the former ones are in .flotteq-restore/{self.done.before}"

    def back(self) -> None:
        """Put the former files back, if they were exchanged."""
        if self.done.before:
            self._undo()

    def _undo(self) -> None:
        found = self._run(["undo-tree", self.volume.part])
        self.done = Exchanged(self.done.set, self.volume.name, str(found["before"]))

    def _run(self, words: list[str]) -> dict[str, Any]:
        found = run_job(self.site, words, capabilities=RESTORING, volumes=[f"{self.volume.full}:/restore"])
        ownership.settle(self.site, self.volume.full)
        return found


@contextmanager
def _stopped(site: Site, volume: Volume | None) -> Iterator[None]:
    """What runs on a volume is stopped around a block."""
    if volume is None or not volume.services:
        yield
        return
    settling.mark(site, what="backup", part=volume.name, stopped=" ".join(volume.services))
    with site.report.step("stop") as note:
        _stop(site, volume)
        note.text = ", ".join(volume.services)
    try:
        yield
    finally:
        with interruption.ignored():
            with site.report.step("start"):
                _start(site, volume)
            settling.unmark(site)


def _mark(site: Site, volume: Volume, what: str) -> None:
    settling.mark(site, what=what, part=volume.name, place=volume.full, stopped=" ".join(volume.services))


def _stop(site: Site, volume: Volume) -> None:
    if volume.services:
        site.host.run(site.engine.containers.stop(volume.services), timeout=180)


def _start(site: Site, volume: Volume) -> None:
    if not volume.services:
        return
    site.host.run(site.engine.containers.start(volume.services), timeout=180)
    started = [one for one in site.engine.facts().instances if one.service in volume.services and not one.oneoff]
    site.engine.wait_healthy(started, limit=site.settings.deploy.health_timeout)


def _take(site: Site, volume: Volume, reason: str, keep_days: int = 0, *, full_speed: bool) -> dict[str, Any]:
    words = ["run-volume", volume.part, "--reason", reason, f"--keep-days={keep_days}"]
    return run_job(site, words, volumes=[f"{volume.full}:/src/volume:ro"], full_speed=full_speed)
