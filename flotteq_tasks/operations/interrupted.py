"""An operation whose client died: say so, take it back, or go on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.deploy import Deployed, DeployRequest, deploy, deploy_locked
from flotteq_tasks.operations.history import Entry, history
from flotteq_tasks.operations.lock import locked, who_holds
from flotteq_tasks.operations.repair import needs_repair, remedy, repair

# As the program of the timers writes it into the journal.
TIMER = "timer"
# Operations among which the last one of a person is looked for: a day has about five of timers.
RECENT = 50


@dataclass(frozen=True)
class Progress:
    """Where the host is: who holds the lock, what ran last and how far it came, whether something is left half-done."""

    lock: str
    last: Entry | None
    half_done: bool
    version: str
    remedy: str = ""


def progress(site: Site) -> Progress:
    """Read lock, journal and containers; nothing is changed."""
    past = history(site, lines=1)
    facts = site.engine.facts()
    lock = who_holds(site.host, site.state)
    # Under a lock that is held the work goes on: nothing has to be taken back.
    half_done = "is locked by" not in lock and needs_repair(site.settings, facts)
    return Progress(
        lock=lock,
        last=past[0] if past else None,
        half_done=half_done,
        version=facts.release.version if facts.release else "",
        remedy=remedy(site.settings, facts) if half_done else "",
    )


def abort(site: Site, variables: Mapping[str, str]) -> str:
    """Bring the host back to the live release; return what is live in one sentence.

    Services that were replaced one after the other have no former containers any more: they are replaced once more.

    Raises:
        FlotteqError: they could not be; the exit code says what is true now.
    """
    who = holder("deploy.abort", variables)
    with locked(site, who) as keeper:
        facts = repair(site, keeper)
        if facts.release is not None and foreign(facts, site.settings.of_kind("rolling")):
            back = DeployRequest.back_to(facts.release)
            deploy_locked(site, back, who, keeper, facts=facts, variables=variables)
            facts = site.engine.facts()
    return f"{facts.release.version} is live; nothing is half-done" if facts.release else "nothing is live or half-done"


def foreign(facts: Facts, rolling: Iterable[str]) -> list[str]:
    """Services of which another image serves than that of the live release. Pure."""
    images = facts.release.images if facts.release else {}
    serving = {name for names in edge_files.serving(facts).values() for name in names}
    return [
        name for name in rolling if any(one.image != images.get(name) for one in facts.of(name) if one.name in serving)
    ]


def resume(site: Site, variables: Mapping[str, str]) -> Deployed:
    """Deploy the version again whose deploy did not end.

    Raises:
        FlotteqError: the last operation was no deploy, or it ended.
    """
    # A timer's job that came since changed nothing of it.
    past = [one for one in history(site, lines=RECENT) if one.who != TIMER]
    last = past[0] if past else None
    if last is None or last.result != "unfinished" or not last.what.startswith("deploy "):
        what = f"the last operation was '{last.what}': {last.result}" if last else "nothing has been done yet"
        raise FlotteqError(f"there is no deploy to go on with; {what}", hint="inv history")
    return deploy(site, DeployRequest.resumed(last.what.removeprefix("deploy "), last.options), variables)
