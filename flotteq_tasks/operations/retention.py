"""What uses the disk, and what can go: everything that no kept release and no container needs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flotteq_tasks.commands import retention as scripts
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import GOOD
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.releases import Listed, all_releases, read_all, read_command

JOURNAL_LINES = 20_000


@dataclass(frozen=True)
class StoredImage:
    """An image of a service on the host. ``size`` in Docker's words."""

    repository: str
    tag: str
    digest: str
    id: str
    size: str

    @property
    def reference(self) -> str:
        """The reference that removes it."""
        return f"{self.repository}@{self.digest}" if self.digest != "<none>" else self.id


@dataclass(frozen=True)
class Usage:
    """What uses the disk. ``rows``: what and how much; ``removable``: images that retention would remove."""

    rows: tuple[tuple[str, str], ...]
    removable: tuple[StoredImage, ...]
    free: int
    total: int


def kept_releases(known: Sequence[Listed], retain: int) -> list[Listed]:
    """The last good releases and the newest of as many versions, as many failed ones, and the live one.

    Failed ones never push out a good one, nor do many releases of one version another version.
    """
    every = [one for one in known if one.release.result == GOOD]
    newest = list({one.release.version: one for one in reversed(every)}.values())
    newest.sort(key=lambda one: one.release.id, reverse=True)
    good = [one for one in every if one in every[:retain] or one in newest[:retain]]
    failed = [one for one in known if one.release.result != GOOD][:retain]
    live = [one for one in known if one.live and one not in good]
    return [*good, *failed, *live]


def removable_images(
    stored: Iterable[StoredImage], known: Sequence[Listed], facts: Facts, retain: int
) -> list[StoredImage]:
    """Images that neither a kept good release nor a container needs. Pure."""
    needed = {
        image
        for one in kept_releases(known, retain)
        if one.release.result == GOOD
        for image in one.release.images.values()
    }
    needed |= {one.image for one in facts.instances}
    digests = {reference.rpartition("@")[2] for reference in needed}
    return [image for image in stored if image.digest not in digests and image.id not in digests]


def usage(site: Site) -> Usage:
    """Measure; nothing is removed."""
    facts = site.engine.facts()
    lines = site.host.run(
        scripts.space(str(site.settings.directory), site.settings.project.backups), timeout=120
    ).out.splitlines()
    rows = [(parts[0], parts[1]) for parts in (line.split("\t") for line in lines) if len(parts) > 1]
    removable = removable_images(_stored(site), all_releases(site), facts, site.settings.deploy.retain)
    return Usage(tuple(rows), tuple(removable), facts.disk_free, facts.disk_total)


def prune(site: Site, variables: Mapping[str, str]) -> list[StoredImage]:
    """Remove what retention does not keep; return the images that went."""
    with locked(site, holder("prune", variables)) as keeper:
        gone = sweep(site)
        keeper.write("prune", images=len(gone))
    return gone


def sweep(site: Site, *, first: Sequence[Command] = (), seconds: float = 0) -> list[StoredImage]:
    """Remove under a lock that the caller holds; return the images that went.

    Args:
        first: commands before, in the same round trip as the look at what is there.
        seconds: how long they may take.
    """
    settings, engine = site.settings, site.engine
    look = [read_command(site), engine.look(), scripts.images(_repositories(settings))]
    done = site.host.run_all([*first, *look], timeout=seconds + 180)
    listed, seen, stored = (one.out for one in done[-3:])
    known, facts = read_all(listed), engine.seen(seen)
    kept = kept_releases(known, settings.deploy.retain)
    names = {f"{name}.{mark}" for one in kept for name, mark in one.release.secrets.items()}
    names |= {f"{name}.{mark}" for name, mark in facts.secrets.items()}
    gone = removable_images(_images(stored), known, facts, settings.deploy.retain)
    tidy = scripts.sweep(
        str(settings.directory),
        settings.project.backups,
        releases=sorted(one.release.id for one in kept),
        secrets=sorted(names),
        journal_lines=JOURNAL_LINES,
    )
    site.host.run_all([tidy, *([scripts.remove_images(_references(gone))] if gone else [])], timeout=300)
    return gone


def _references(images: Iterable[StoredImage]) -> list[str]:
    found = []
    for image in images:
        if image.tag != "<none>":
            found.append(f"{image.repository}:{image.tag}")
        found.append(image.reference)
    return list(dict.fromkeys(found))


def _stored(site: Site) -> list[StoredImage]:
    return _images(site.host.run(scripts.images(_repositories(site.settings))).out)


def _images(text: str) -> list[StoredImage]:
    return [StoredImage(*line.split(maxsplit=4)) for line in text.splitlines() if re.match(r"\S+ \S+ \S+ \S+ \S", line)]


def _repositories(settings: Settings) -> list[str]:
    return [settings.repository(name) for name, service in settings.services.items() if service.build]
