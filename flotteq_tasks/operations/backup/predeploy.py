"""The set that a deploy takes before its migrations."""

from collections.abc import Sequence

from flotteq_tasks.commands.shell import Command, chain
from flotteq_tasks.host.base import Done
from flotteq_tasks.operations.backup.job import job_command, limit, read_job
from flotteq_tasks.operations.backup.sets import preparation, sets
from flotteq_tasks.operations.context import Site

REASON = "pre-deploy"


def possible(site: Site) -> bool:
    """Whether the backup job is part of the stack."""
    return site.settings.backup.service in site.settings.services


def take(site: Site, release: str, *, meanwhile: Sequence[Command] = ()) -> tuple[str, list[Done]]:
    """Take a set of the database in one round trip; the caller holds the lock.

    Args:
        release: id of the release that is about to go live; the set is tagged with it.
        meanwhile: commands that run side by side with it.

    Returns:
        a note, empty where the database has no table: then there is no set; the results of ``meanwhile`` up to the
        first that failed.

    Raises:
        FlotteqError: there is no set.
    """
    commands = [command(site, release), *meanwhile]
    done = site.host.run_all(commands, timeout=limit(site), check=False, together=True)
    found = read_job(site, done[0])
    return f"set {found['id']}, {found['size'] / 1024:,.0f} KiB" if found["id"] else "", done[1:]


def command(site: Site, release: str) -> Command:
    """The command of ``take``."""
    return chain(preparation(site), job_command(site, _words(site, release)))


def before(site: Site, release: str) -> str:
    """How to get the database from before a release back, as far as its set is there; empty otherwise."""
    found = [one for one in sets(site) if one.verified and one.reason == f"{REASON} {release}"]
    return f"inv restore.db --from {found[-1].id}" if found else ""


def _words(site: Site, release: str) -> list[str]:
    days = site.settings.backup.keep_pre_deploy_days
    return ["run", "--quick", "--reason", f"{REASON} {release}", f"--keep-days={days}", "db"]
