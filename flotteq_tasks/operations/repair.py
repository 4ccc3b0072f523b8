"""What a client that died left behind is cleared before anything new begins.

The edge's file of upstreams is the truth: whoever is named there serves. Everything is brought in line with it.
"""

from collections.abc import Collection

from flotteq_tasks.commands import nginx
from flotteq_tasks.model.errors import CommandFailed
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import GOOD
from flotteq_tasks.model.stack import PLANS, STORES_WAL, Settings
from flotteq_tasks.operations import edge_files, passwords, releases
from flotteq_tasks.operations.backup import settling
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.lock import Keeper


def strays(facts: Facts, rolling: list[str], hidden: Collection[str] = ()) -> list[Instance]:
    """Containers of rolling services that serve nobody, one-off ones, and those beside one that took their place.

    Where the edge's file is gone, nobody knows who serves: then none of them is one.

    Args:
        hidden: rolling services without a public name, which the edge's file never names.
    """
    judged = set(rolling) - set(hidden) if facts.active or facts.active_release else set()
    serving = {name for names in edge_files.serving(facts).values() for name in names}
    return [
        one
        for one in facts.instances
        if not (one.oneoff and one.name.endswith((STORES_WAL, PLANS)))
        and (
            one.oneoff
            or (one.service in judged and one.name not in serving)
            or (one.service in hidden and _beside_live(facts, one))
            or _replaced(facts, one, rolling)
        )
    ]


def _beside_live(facts: Facts, one: Instance) -> bool:
    """Whether it has another image than the live release, of which one runs."""
    image = facts.release.images.get(one.service) if facts.release else None
    return one.image != image and any(other.running and other.image == image for other in facts.of(one.service))


def _strays(settings: Settings, facts: Facts) -> list[Instance]:
    rolling = settings.of_kind("rolling")
    return strays(facts, rolling, [name for name in rolling if name not in settings.public])


def _replaced(facts: Facts, one: Instance, rolling: list[str]) -> bool:
    """Whether it is an ended half of an edge's replacement: the other half runs."""
    fixed = one.service not in rolling and not one.running
    return fixed and any(other.running for other in facts.of(one.service))


def needs_repair(settings: Settings, facts: Facts) -> bool:
    """Whether something is half-done: an unrecorded switch, files of another release, strays, a restore, a rotation."""
    foreign = facts.release is not None and facts.files_release not in ("", facts.release.id)
    left = bool(_strays(settings, facts)) or bool(facts.restoring)
    return _unrecorded(facts) or foreign or left or bool(passwords.half_rotated(settings, facts))


def remedy(settings: Settings, facts: Facts) -> str:
    """What to say of something that is half-done."""
    rotated = passwords.half_rotated(settings, facts)
    if facts.restoring:
        what = settling.named(facts.restoring)
    elif rotated:
        what = f"a rotation of {', '.join(rotated)}"
    else:
        return "inv deploy.resume goes on, inv deploy.abort takes it back"
    return f"{what}: inv deploy.abort brings it to an end, so does the next deploy, restore or start"


def _unrecorded(facts: Facts) -> bool:
    live = facts.release
    return facts.active_release not in ("", edge_files.NONE) and (live is None or live.id != facts.active_release)


def repair(site: Site, keeper: Keeper) -> Facts:
    """Finish or take back what an earlier operation left half-done; return the facts afterwards.

    A release that was recorded stays. One that was switched to but never recorded was not verified: the edge goes back
    to the containers from before, which are still there because they are removed last.
    """
    facts = site.engine.facts()
    if not needs_repair(site.settings, facts):
        if facts.edge_kept:
            facts = _read_again(site, facts)
            edge_files.forget(site)
        return facts
    site.report.warn("an earlier operation did not end; repairing")
    if _unrecorded(facts):
        facts = _settle(site, facts, keeper)
    elif facts.edge_kept:
        facts = _read_again(site, facts)
    if facts.release is not None:
        site.engine.activate(facts.release.id)
    left = _strays(site.settings, facts)
    if left:
        keeper.write("repair", removed=[one.name for one in left])
        site.engine.retire(left)
    edge_files.forget(site)
    for name in passwords.settle(site, facts):
        site.report.warn(f"a rotation of {name} did not end: its server has the value again that the live release has")
        keeper.write("repair", rotation=name)
    if facts.restoring:
        site.report.warn(settling.settle(site, facts))
        keeper.write("repair", restore=settling.named(facts.restoring))
    return site.engine.facts()


def _read_again(site: Site, facts: Facts) -> Facts:
    """Let the edge do what its files say: their client may have died before the reload.

    Else it would go on sending requests to containers that the files do not name, and that are removed now.
    """
    if not any(one.running for one in facts.of(site.settings.of_kind("edge")[0])):
        return facts
    try:
        edge_files.reload(site)
    except CommandFailed as error:
        if error.code != nginx.REFUSED:
            raise
        # They were cut off half-way themselves.
        edge_files.switch_back(site)
    # Old workers may have taken a minute to end: a clock that was read before them would look wrong.
    return site.engine.facts()


def _settle(site: Site, facts: Facts, keeper: Keeper) -> Facts:
    found = releases.manifest(site, facts.active_release)
    if found is not None and found.result == GOOD:
        keeper.write("repair", recorded=found.id)
        releases.record(site, found)
    else:
        keeper.write("repair", switched_back=facts.active_release)
        edge_files.switch_back(site)
    return site.engine.facts()
