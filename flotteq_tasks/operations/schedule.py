"""Timers on the host: they run without this machine and without a connection."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.commands import systemd
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, SettingsError
from flotteq_tasks.operations.backup import escrow
from flotteq_tasks.operations.backup.copies import elsewhere
from flotteq_tasks.operations.backup.job import job_command
from flotteq_tasks.operations.backup.sets import RESTORING, is_first, prepare
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.names import unknown
from flotteq_tasks.rendering import schedule

LOG_LINES = 30


@dataclass(frozen=True)
class Scheduled:
    """One job. Moments are Unix seconds, 0 where there is none; ``result`` is that of its last run, empty: none yet."""

    name: str
    what: str
    when: str
    installed: bool
    next: int
    last: int
    result: str

    @property
    def ok(self) -> bool:
        """Whether its timer runs and its last run, if there was one, ended well."""
        return self.installed and self.result in ("", "success")


def commands(site: Site) -> dict[str, Command]:
    """What every job runs on the host."""
    there = elsewhere(site)
    taking = ["run", "--reason", "scheduled", *there.words]
    return {
        "backup": job_command(site, [*taking, "db", "certs"], volumes=there.volumes),
        "full": job_command(site, [*taking, "db", "uploads", "certs"], volumes=there.volumes),
        # With the day of the week every byte of the repository is read once a week.
        "verify": job_command(site, ["verify", "latest", "--data", "weekday"]),
        "drill": job_command(site, ["drill", "latest"], capabilities=RESTORING),
        "prune": job_command(site, ["prune"]),
    }


def install(site: Site, variables: Mapping[str, str], *, without_escrow: bool = False) -> list[str]:
    """Put the timers on the host and start them; again: what changed is changed. Return their names.

    Args:
        without_escrow: let them take the first set although only this host could read it.

    Raises:
        PreflightFailed: the host has no systemd.
        SettingsError: systemd does not understand a time of [schedule].
    """
    settings, jobs = site.settings, schedule.jobs(site.settings)
    units = schedule.unit_texts(settings)
    with locked(site, holder("schedule.install", variables)) as keeper:
        escrow.require(site, variables, first=is_first(site), without=without_escrow)
        with site.report.step("check") as note:
            _check(site)
            note.text = f"{len(jobs)} times understood"
        with site.report.step("timers") as note:
            prepare(site)
            text = schedule.program_text(settings, commands(site))
            site.host.write(schedule.program(settings), File(text.encode(), mode=0o755))
            then = [systemd.enable(schedule.stem(settings), list(units))]
            site.host.write_tree(systemd.PLACE, {name: File(text.encode()) for name, text in units.items()}, then=then)
            note.text = ", ".join(job.name for job in jobs)
        keeper.write("schedule.install", jobs=[job.name for job in jobs])
    return [job.name for job in jobs]


def _check(site: Site) -> None:
    done = site.host.run(systemd.check(job.when for job in schedule.jobs(site.settings)), check=False)
    if done.code == systemd.NO_SYSTEMD:
        raise PreflightFailed(
            f"{site.host.name} has no systemd: there is nothing that could run timers",
            hint="let another scheduler run inv backup.db, backup.verify, backup.drill: docs/CRONTAB_BACKUPS.md",
        )
    if done.code == systemd.BAD_TIME:
        raise SettingsError(
            f"flotteq.toml: schedule: systemd does not understand {done.out.strip()!r}",
            hint="for example '*-*-* 02:17:00' or 'Sun *-*-* 03:17:00'",
        )
    done.check(site.host.name)


def listed(site: Site) -> list[Scheduled]:
    """All jobs with their next and last run."""
    prefix, jobs = schedule.stem(site.settings), schedule.jobs(site.settings)
    done = site.host.run(systemd.show(f"{prefix}-{job.name}" for job in jobs), check=False)
    facts: dict[str, dict[str, str]] = {}
    for line in done.out.splitlines():
        name, _, rest = line.partition(" ")
        facts[name] = dict(word.partition("=")[::2] for word in rest.split())
    found = []
    for job in jobs:
        seen = facts.get(f"{prefix}-{job.name}", {})
        ran = _moment(seen.get("ExecMainExitTimestamp", ""))
        found.append(
            Scheduled(
                job.name, job.what, job.when, seen.get("ActiveState") == "active",
                _moment(seen.get("Next", "")), ran, seen.get("Result", "") if ran else "",
            )
        )  # fmt: skip
    return found


def remove(site: Site, variables: Mapping[str, str]) -> list[str]:
    """Remove all timers from the host; return the names of their files."""
    with locked(site, holder("schedule.remove", variables)) as keeper:
        removed = site.host.run(systemd.remove(schedule.stem(site.settings))).out.split()
        site.host.run(Command("rm", "-f", schedule.program(site.settings)))
        keeper.write("schedule.remove", units=removed)
    return removed


def run_now(site: Site, name: str) -> str:
    """Run one job as its timer would, and wait for it; return the last lines that it wrote.

    Raises:
        UsageError: there is no such job.
        FlotteqError: it failed; its last lines are in the details.
    """
    jobs = [job.name for job in schedule.jobs(site.settings)]
    if name not in jobs:
        raise unknown("job", name, jobs)
    unit = f"{schedule.stem(site.settings)}-{name}.service"
    limit = site.settings.backup.timeout + site.settings.schedule.wait * 60 + 360
    with site.report.step(f"{name}, as its timer runs it"):
        done = site.host.run(systemd.run_now(unit), timeout=limit, check=False)
        said = site.host.run(systemd.log(unit, lines=LOG_LINES), check=False).out
        if not done.ok:
            raise FlotteqError(
                f"{unit} failed; is it installed?", hint="inv schedule.install; inv schedule.list", details=said
            )
    return said


def _moment(text: str) -> int:
    return int(text[1:]) if text.startswith("@") and text[1:].isdigit() else 0
