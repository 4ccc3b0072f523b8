"""Timers on the host: they run without this machine and without a connection."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flotteq_tasks.commands import certbot, cron, nginx, renewal, systemd
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, SettingsError
from flotteq_tasks.model.stack import STORES_WAL, Settings
from flotteq_tasks.operations.backup import escrow
from flotteq_tasks.operations.backup.copies import elsewhere
from flotteq_tasks.operations.backup.job import job_command
from flotteq_tasks.operations.backup.sets import RESTORING, is_first, prepare
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.edge import TAKEN
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.names import unknown
from flotteq_tasks.rendering import schedule

LOG_LINES = 30
# Runs on the host when a job has failed.
HOOK = "hooks/schedule-failed"


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
    certificate = {"renew": _renewal(site), "rehearse": _rehearsal(site)} if schedule.renews(site.settings) else {}
    if not schedule.backs_up(site.settings):
        return certificate
    there = elsewhere(site)
    taking = ["run", "--reason", "scheduled", *there.words]
    recovery = {
        "base": job_command(site, ["base", "--reason", "scheduled", *there.words], volumes=there.volumes),
        "wal": job_command(site, ["wal", *there.words], volumes=there.volumes, name=STORES_WAL),
    }
    return {
        **certificate,
        **(recovery if site.settings.backup.pitr else {}),
        "backup": job_command(site, [*taking, "db", "certs"], volumes=there.volumes),
        "full": job_command(site, [*taking, "db", "uploads", "certs"], volumes=there.volumes),
        # With the day of the week every byte of the repository is read once a week.
        "verify": job_command(site, ["verify", "latest", "--data", "weekday"]),
        "drill": _drill(site),
        "prune": job_command(site, ["prune"]),
    }


def _drill(site: Site) -> Command:
    drill = job_command(site, ["drill", "latest"], capabilities=RESTORING)
    if not site.settings.backup.pitr:
        return drill
    # One that fails does not keep the other from being tried.
    return script('code=0; sh -c "$1" || code=$?; sh -c "$2" || code=$?; exit "$code"', drill.render(),
                  job_command(site, ["drill", "base"], capabilities=RESTORING).render())  # fmt: skip


def _renewal(site: Site) -> Command:
    """Renew what is due and put it into use, as `inv ssl.renew` does from elsewhere."""
    settings, containers = site.settings, site.engine.containers
    return renewal.job(
        str(settings.directory),
        shared=settings.project.name,
        names=settings.public.values(),
        renew=certbot.renew(containers, profile=settings.acme.profile),
        reload=nginx.reload(containers, generation="", taken=TAKEN, service=settings.of_kind("edge")[0]),
        stack=f"{settings.project.name}-{settings.environment}",
        metrics=settings.backup.metrics,
    )


def _rehearsal(site: Site) -> Command:
    """Renew for show: what is broken on the way to the authority shows weeks before a renewal needs it."""
    settings, acme = site.settings, site.settings.acme
    rehearse = certbot.rehearse(site.engine.containers, directory=acme.directory, profile=acme.profile)
    return renewal.rehearsal(str(settings.directory), shared=settings.project.name, rehearse=rehearse)


def install(site: Site, variables: Mapping[str, str], *, without_escrow: bool = False) -> list[str]:
    """Put the timers on the host and start them; again: what changed is changed. Return their names.

    With systemd a unit pair for each job, else a table of cron.

    Args:
        without_escrow: let them take the first set although only this host could read it.

    Raises:
        PreflightFailed: the host has neither systemd nor cron, or no openssl.
        SettingsError: it does not understand a time of [schedule].
    """
    settings, jobs = site.settings, schedule.jobs(site.settings)
    with locked(site, holder("schedule.install", variables)) as keeper:
        if schedule.backs_up(settings):
            escrow.require(site, variables, first=is_first(site), without=without_escrow)
        with site.report.step("check") as note:
            by_cron = _check(site)
            note.text = f"{len(jobs)} times understood by {'cron' if by_cron else 'systemd'}"
        with site.report.step("timers") as note:
            prepare(site)
            text = schedule.program_text(settings, commands(site))
            site.host.write(schedule.program(settings), File(text.encode(), mode=0o755))
            _place_hook(site)
            (_install_table if by_cron else _install_units)(site)
            note.text = ", ".join(job.name for job in jobs)
        keeper.write("schedule.install", jobs=[job.name for job in jobs])
    return [job.name for job in jobs]


def _install_units(site: Site) -> None:
    units = schedule.unit_texts(site.settings)
    then = [systemd.enable(schedule.stem(site.settings), list(units))]
    site.host.write_tree(systemd.PLACE, {name: File(text.encode()) for name, text in units.items()}, then=then)


def _install_table(site: Site) -> None:
    settings = site.settings
    program = File(schedule.cron_program_text(settings).encode(), mode=0o755)
    site.host.write(schedule.cron_program(settings), program)
    site.host.write(_table(settings), File(schedule.cron_text(settings).encode()))


def _table(settings: Settings) -> str:
    return f"{cron.PLACE}/{schedule.stem(settings)}"


def _place_hook(site: Site) -> None:
    """Put the project's own program for failures on the host; one that a person put there stays."""
    hook = site.settings.root / HOOK
    if hook.is_file():
        path = f"{site.settings.directory}/schedule/on-failure"
        site.host.write(path, File(hook.read_bytes(), mode=0o755))


def _check(site: Site) -> bool:
    """Whether cron runs the jobs, because there is no systemd.

    Raises:
        PreflightFailed: neither is there, or no openssl.
        SettingsError: a time of [schedule] is not understood.
    """
    jobs = schedule.jobs(site.settings)
    if schedule.renews(site.settings) and not site.host.run(renewal.ready(), check=False).ok:
        raise PreflightFailed(
            f"{site.host.name} has no openssl, which checks a certificate before nginx gets it",
            hint="on the host: apt-get install openssl",
        )
    done = site.host.run(systemd.check(job.when for job in jobs), check=False)
    if done.code == systemd.NO_SYSTEMD:
        _check_cron(site, jobs)
        return True
    if done.code == systemd.BAD_TIME:
        raise SettingsError(
            f"flotteq.toml: schedule: systemd does not understand {done.out.strip()!r}",
            hint="for example '*-*-* 02:17:00' or 'Sun *-*-* 03:17:00'",
        )
    done.check(site.host.name)
    return False


def _check_cron(site: Site, jobs: Iterable[schedule.Job]) -> None:
    done = site.host.run(cron.check(), check=False)
    if done.code == cron.NO_CRON:
        raise PreflightFailed(
            f"{site.host.name} has neither systemd nor a cron that runs: there is nothing that could run timers",
            hint="apt-get install cron, or let another scheduler run the tasks: docs/CRONTAB_BACKUPS.md",
        )
    done.check(site.host.name)
    unclear = [job.when for job in jobs if schedule.cron_time(job.when) is None]
    if unclear:
        raise SettingsError(
            f"flotteq.toml: schedule: {site.host.name} has no systemd, and cron cannot say {unclear[0]!r}",
            hint="for example '*-*-* 02:17:00' or 'Sun *-*-* 03:17:00'",
        )


def listed(site: Site) -> list[Scheduled]:
    """All jobs with their next and last run; cron does not say when the next is."""
    prefix, jobs = schedule.stem(site.settings), schedule.jobs(site.settings)
    done = site.host.run(systemd.show(f"{prefix}-{job.name}" for job in jobs), check=False)
    if done.code == systemd.NO_SYSTEMD:
        return _listed_by_cron(site, jobs)
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


def _listed_by_cron(site: Site, jobs: Sequence[schedule.Job]) -> list[Scheduled]:
    place = f"{site.settings.directory}/schedule"
    said = site.host.run(cron.show(_table(site.settings), place, (job.name for job in jobs))).out
    seen = {name: (int(end), int(code)) for name, end, code in (line.split() for line in said.splitlines())}
    found = []
    for job in jobs:
        end, code = seen.get(job.name, (0, 0))
        result = "" if not end else "success" if code == 0 else f"exit code {code}"
        found.append(Scheduled(job.name, job.what, job.when, job.name in seen, 0, end, result))
    return found


def remove(site: Site, variables: Mapping[str, str]) -> list[str]:
    """Remove all timers from the host; return the names of their files."""
    with locked(site, holder("schedule.remove", variables)) as keeper:
        removed = site.host.run(cron.remove(_table(site.settings), f"{site.settings.directory}/schedule")).out.split()
        found = site.host.run(systemd.check([]), check=False)
        if found.code != systemd.NO_SYSTEMD:
            found.check(site.host.name)
            removed += site.host.run(systemd.remove(schedule.stem(site.settings))).out.split()
        programs = [schedule.program(site.settings), schedule.cron_program(site.settings)]
        site.host.run(Command("rm", "-f", programs))
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
    what = f"{schedule.stem(site.settings)}-{name}.service"
    run, log = systemd.run_now(what), systemd.log(what, lines=LOG_LINES)
    if site.host.run(systemd.check([]), check=False).code == systemd.NO_SYSTEMD:
        what = f"job {name}"
        run = Command(schedule.cron_program(site.settings), name, "now")
        log = Command("tail", "-n", LOG_LINES, f"{site.settings.directory}/schedule/{name}.log")
    limit = site.settings.backup.timeout + site.settings.schedule.wait * 60 + 360
    with site.report.step(f"{name}, as its timer runs it"):
        done = site.host.run(run, timeout=limit, check=False)
        said = site.host.run(log, check=False).out
        if not done.ok:
            raise FlotteqError(
                f"{what} failed; is it installed?", hint="inv schedule.install; inv schedule.list", details=said
            )
    return said


def _moment(text: str) -> int:
    return int(text[1:]) if text.startswith("@") and text[1:].isdigit() else 0
