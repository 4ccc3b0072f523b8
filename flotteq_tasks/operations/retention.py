"""What uses the disk, and what can go: everything that no kept release and no container needs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flotteq_tasks.commands import retention as scripts
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import GOOD, Release
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.releases import Listed, read_all, read_command
from flotteq_tasks.operations.repair import repair

JOURNAL_LINES = 20_000
# References of images in one command: a shell's text may have 128 KiB (Linux: MAX_ARG_STRLEN), and one has some 120.
AT_ONCE = 400


@dataclass(frozen=True)
class StoredImage:
    """An image of a service on the host. ``size``: bytes, layers that it shares with others included."""

    repository: str
    tag: str
    digest: str
    id: str
    size: int

    @property
    def reference(self) -> str:
        """The reference that removes it."""
        return f"{self.repository}@{self.digest}" if self.digest != "<none>" else self.id


@dataclass(frozen=True)
class Item:
    """Something that retention removes. ``kind``: image, release, dump, secret, plan or asset; ``size``: bytes."""

    kind: str
    name: str
    size: int


@dataclass(frozen=True)
class Usage:
    """What uses the disk. ``rows``: what and how many bytes; ``removable``: what retention would remove."""

    rows: tuple[tuple[str, int], ...]
    removable: tuple[Item, ...]
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


def removable(
    stock: Iterable[Item], images: Iterable[StoredImage], known: Sequence[Listed], facts: Facts, retain: int
) -> list[Item]:
    """Everything that would go, images first. Pure.

    Args:
        stock: what there is besides images.
        images: those that go; one with several tags counts once.
    """
    kept = kept_releases(known, retain)
    stays = {(kind, one.release.id) for one in kept for kind in ("release", "dump")}
    stays |= {("secret", name) for name in kept_secrets(kept, facts)}
    by_id = {one.id: Item("image", f"{one.repository.rpartition('/')[2]}:{one.tag}", one.size) for one in images}
    return [*by_id.values(), *(one for one in stock if (one.kind, one.name) not in stays)]


def kept_secrets(kept: Iterable[Listed], facts: Facts) -> set[str]:
    """File names of the secret versions that kept releases or the present have."""
    names = {f"{name}.{mark}" for one in kept for name, mark in one.release.secrets.items()}
    return names | {f"{name}.{mark}" for name, mark in facts.secrets.items()}


def usage(site: Site) -> Usage:
    """Measure; nothing is removed."""
    settings = site.settings
    space = scripts.space(str(settings.directory), settings.project.backups)
    done = site.host.run_all([space, *look(site)], timeout=300, together=True)
    rows = [(parts[0], in_bytes(parts[1])) for parts in _lines(done[0].out) if len(parts) > 1]
    stock = found(site, done[1:])
    return Usage(tuple(rows), tuple(stock.gone), stock.facts.disk_free, stock.facts.disk_total)


def in_bytes(text: str) -> int:
    """Bytes as a number or in Docker's words, which count in thousands: ``1.2GB``; 0 for nothing."""
    match = re.match(r"([\d.]+)\s*([kMGT]?)B?", text)
    return round(float(match[1]) * 1000 ** ("", "k", "M", "G", "T").index(match[2])) if match else 0


def prune(site: Site, variables: Mapping[str, str]) -> list[Item]:
    """Remove what retention does not keep; return what went."""
    with locked(site, holder("prune", variables)) as keeper:
        # What puts back a deploy whose client died belongs to no recorded release: it would go.
        repair(site, keeper)
        gone = sweep(site, found(site, site.host.run_all(look(site), timeout=180, together=True)))
        images = sum(one.kind == "image" for one in gone)
        keeper.write("prune", images=images, bytes=sum(one.size for one in gone))
    return gone


@dataclass(frozen=True)
class Found:
    """What is there, and what of it goes. ``known``: the releases, ``images``: those that go."""

    known: Sequence[Listed]
    facts: Facts
    images: Sequence[StoredImage]
    gone: list[Item]


def sweep(site: Site, stock: Found, beside: Sequence[Command] = (), seconds: float = 0) -> list[Item]:
    """Remove under a lock that the caller holds; return what went.

    Args:
        beside: commands that run side by side with it, in the same round trip.
        seconds: how long they may take.
    """
    settings = site.settings
    kept = kept_releases(stock.known, settings.deploy.retain)
    tidy = scripts.sweep(
        str(settings.directory),
        settings.project.backups,
        releases=sorted(one.release.id for one in kept),
        secrets=sorted(kept_secrets(kept, stock.facts)),
        journal_lines=JOURNAL_LINES,
        assets_hours=settings.deploy.assets_hours,
    )
    references = _references(stock.images)
    parts = [references[at : at + AT_ONCE] for at in range(0, len(references), AT_ONCE)]
    images = [scripts.remove_images(part) for part in parts]
    site.host.run_all([*beside, tidy, *images[:1]], timeout=seconds + 300, together=True)
    for more in images[1:]:
        site.host.run(more, timeout=300)
    return stock.gone


def look(site: Site) -> list[Command]:
    """The commands whose results ``found`` wants; they only read."""
    settings = site.settings
    stock = scripts.stock(
        str(settings.directory), settings.project.backups, assets_hours=settings.deploy.assets_hours
    )  # fmt: skip
    return [read_command(site), site.engine.look(), scripts.images(_repositories(settings)), stock]


def found(site: Site, done: Sequence[Done], live: Release | None = None) -> Found:
    """Judge what ``look`` saw. Pure.

    Args:
        live: the release that became the live one after the look.
    """
    listed, seen, stored, stock = (one.out for one in done)
    known, facts, retain = read_all(listed), site.engine.seen(seen), site.settings.deploy.retain
    if live is not None:
        known = [Listed(live, live=True), *(replace(one, live=False) for one in known)]
    images = removable_images(_images(stored), known, facts, retain)
    items = [Item(kind, name, in_bytes(amount)) for kind, name, amount in _lines(stock)]
    return Found(known, facts, images, removable(items, images, known, facts, retain))


def _lines(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def _references(images: Iterable[StoredImage]) -> list[str]:
    found = []
    for image in images:
        if image.tag != "<none>":
            found.append(f"{image.repository}:{image.tag}")
        found.append(image.reference)
    return list(dict.fromkeys(found))


def _images(text: str) -> list[StoredImage]:
    words = [line.split() for line in text.splitlines()]
    sizes = {line[1]: int(line[2]) for line in words if line[0] == "size" and len(line) == 3}
    listed = [line[1:] for line in words if line[0] == "image" and len(line) == 5]
    return [StoredImage(name, tag, digest, id, sizes.get(id, 0)) for name, tag, digest, id in listed]


def _repositories(settings: Settings) -> list[str]:
    return [settings.repository(name) for name, service in settings.services.items() if service.build]
