"""A restore whose client or host died is brought to an end."""

import json
from collections.abc import Mapping

from flotteq_tasks.commands import swapping
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import NotPutBack, SettingsError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.sets import RESTORING
from flotteq_tasks.operations.context import Site

# What a client that dies leaves in the state directory for the next command to read.
MARKER = "restore.json"


def mark(site: Site, **left: str) -> None:
    """Leave word of what is under way."""
    site.host.write(f"{site.state}/{MARKER}", File(f"{json.dumps(left)}\n".encode(), mode=0o600))


def unmark(site: Site) -> None:
    """Nothing is under way any more."""
    site.host.run(Command("rm", "-f", f"{site.state}/{MARKER}"))


def named(left: Mapping[str, str]) -> str:
    """What the word says that was left."""
    if left.get("part"):
        return f"a {left['what']} of {left['part']}"
    if left.get("set", "").endswith(" UTC"):
        return f"a restore to {left['set']}"
    return f"a restore of set {left['set']}" if left.get("set") else "a restore.undo"


def settle(site: Site, facts: Facts) -> str:
    """Bring a restore to an end whose client or host died; return what is live now in one sentence.

    Raises:
        NotPutBack: the database does not run.
    """
    left = facts.restoring
    what = named(left)
    if left.get("part"):
        return f"{what} did not end: {_settle_files(site, left)}"
    found = settled(site, facts, next=left["next"], kept=left["kept"], what=what)
    swapped = "state swapped" in found
    live = "its database is live: inv restore.undo brings back the one from before" if swapped else ""
    said = f"{what} did not end; {live or 'the live database is as it was'}"
    if "unhealthy" in found:
        said += "; the application does not answer: the maintenance page stays"
    return said


def settled(site: Site, facts: Facts, *, next: str, kept: str, what: str = "the swap") -> list[str]:
    """Wait for a swap that still runs and clear up behind it; return what the script says, see ``swapping.settle``.

    Raises:
        NotPutBack: the database does not run, or the engine does not answer.
    """
    asked = application(site, facts)
    command = swapping.settle(site.settings.project, site.settings.database, asked, next=next, kept=kept)
    done = site.host.run(command, timeout=asked.longest * 2, check=False)
    if not done.ok:
        raise NotPutBack(
            f"{what} did not end, and cannot be brought to an end: {done.out.strip() or f'exit code {done.code}'}",
            hint="inv start --service postgres, then inv deploy.abort", details=done.err[-800:],
        )  # fmt: skip
    return done.out.splitlines()


def _settle_files(site: Site, left: Mapping[str, str]) -> str:
    said = "nothing was changed"
    if left.get("place"):
        words, volumes = ["finish-tree", left["part"]], [f"{left['place']}:/restore"]
        found = run_job(site, words, capabilities=RESTORING, volumes=volumes)
        said = "the exchange is complete" if found["exchanged"] else "no entry is half exchanged"
    stopped = left.get("stopped", "").split()
    if stopped:
        site.host.run(site.engine.containers.start(stopped), timeout=180)
        said += f"; started: {', '.join(stopped)}"
    unmark(site)
    return said


def consumer(site: Site) -> str:
    """The service that uses the database: it runs the migrations, or it is the API, or the first with a public name."""
    settings = site.settings
    if settings.migrations is not None:
        return settings.migrations.service
    rolling = [name for name in settings.of_kind("rolling") if name in settings.public]
    apis = [name for name in rolling if settings.services[name].vhost == "api"]
    if not rolling:
        raise SettingsError(
            "flotteq.toml does not say which service uses the database", hint="[migrations] service names it"
        )
    return [*apis, *rolling][0]


def application(site: Site, facts: Facts) -> swapping.Application:
    """What uses the database, and what it must answer."""
    spec = site.settings.services[consumer(site)]
    return swapping.Application(
        consumers=(consumer(site),),
        edge=site.settings.of_kind("edge")[0],
        address=f"http://CONTAINER:{spec.port}{spec.health.path}" if facts.of(consumer(site)) else "",
        fields=tuple(swapping.field_patterns(spec.health.expect)),
        limit=site.settings.deploy.health_timeout,
        grace=site.settings.deploy.stop_grace,
    )
