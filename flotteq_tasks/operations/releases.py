"""The record of releases on the host."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.release import FAILED, GOOD, Release
from flotteq_tasks.operations.context import Site

_ALL = """
cd "$1/releases" 2>/dev/null || exit 0
for file in */manifest.json; do
  [ ! -f "$file" ] || { tr -d '\\n' < "$file"; echo; }
done
printf 'live '; tr -d '\\n' < "$1/state/current.json" 2>/dev/null || true
"""


@dataclass(frozen=True)
class Listed:
    """A release in the list. ``changed``: services whose image differs from the good release before it."""

    release: Release
    live: bool
    changed: tuple[str, ...] = ()


def record(site: Site, release: Release) -> None:
    """Make a release the live one."""
    manifest = File(release.to_json().encode())
    directory = str(site.settings.directory)
    site.host.write_tree(directory, {f"releases/{release.id}/manifest.json": manifest, "state/current.json": manifest})


def record_back(site: Site, before: Release | None, failed: str) -> None:
    """Make the release before the live one again, or none when there was none."""
    if before is not None:
        record(site, before)
    else:
        site.host.run(script('rm -f "$1/state/current.json"', str(site.settings.directory)))
    site.host.run(script('rm -f "$1/releases/$2/manifest.json"', str(site.settings.directory), failed))


def record_failed(site: Site, release: Release, reason: str) -> None:
    """Write down that a release failed, and why."""
    failed = replace(release, result=FAILED, reason=reason[:500])
    site.host.write(f"{site.settings.directory}/releases/{release.id}/manifest.json", File(failed.to_json().encode()))


def manifest(site: Site, release_id: str) -> Release | None:
    """Read a release's manifest, None where it was never recorded."""
    content = site.host.read(f"{site.settings.directory}/releases/{release_id}/manifest.json")
    return Release.from_json(content) if content else None


def all_releases(site: Site) -> list[Listed]:
    """All releases that the host knows, newest first."""
    return read_all(site.host.run(read_command(site)).out)


def read_command(site: Site) -> Command:
    """The command of ``all_releases``, for a round trip with others."""
    return script(_ALL, str(site.settings.directory))


def read_all(text: str) -> list[Listed]:
    """What ``all_releases`` returns, from the output of ``read_command``."""
    found, live = [], ""
    for line in text.splitlines():
        if line.startswith("live"):
            live = json.loads(line[5:])["id"] if line[5:].strip() else ""
        elif line.strip():
            found.append(Release.from_json(line))
    ordered = sorted(found, key=lambda one: one.id)
    listed, before = [], None
    for one in ordered:
        changed = tuple(name for name, image in one.images.items() if before and before.images.get(name) != image)
        listed.append(Listed(one, one.id == live, changed))
        before = one if one.result == GOOD else before
    return listed[::-1]


def live(known: Sequence[Listed]) -> Release | None:
    """The live release."""
    return next((one.release for one in known if one.live), None)


def choose(known: Sequence[Listed], to: str) -> Release:
    """The release that a rollback means.

    Args:
        known: newest first.
        to: version or id; empty: what was live before the live release, never what was rolled back from.

    Raises:
        UsageError: there is none; the good ones are listed.
    """
    current = live(known)
    good = [one.release for one in known if one.release.result == GOOD and not one.live]
    if current is not None and to in (current.id, current.version):
        return current
    matching = [one for one in good if to in (one.id, one.version)] if to else _before(current, good)
    if matching:
        return matching[0]
    exists = ", ".join(dict.fromkeys(one.version for one in good)) or "none"
    error = UsageError(
        f"there is no good release {to} to go back to" if to else "there is no earlier good release to go back to",
        hint=f"good releases on the host: {exists}",
    )
    error.exit_code = UsageError.exit_code.FAILED
    raise error


def _before(current: Release | None, good: Sequence[Release]) -> list[Release]:
    """Good releases of another version that a second rollback may go to, the right one first.

    After a rollback the live release is an old one again: before it came what was live before that old one.
    """
    if current is None:
        return list(good)
    by_id = {one.id: one for one in [*good, current]}
    found: list[Release] = []
    step = current
    for _ in good:
        start = by_id.get(step.origin)
        before = by_id.get(start.previous) if start else None
        if before is None:
            break
        found, step = [*found, before], before
    # Retention may have taken a link of that chain: ids sort by time.
    older = sorted((one for one in good if one.origin < current.origin), key=lambda one: one.origin, reverse=True)
    return [one for one in [*found, *older] if one.version != current.version]


def crossed(live: Release | None, target: Release) -> list[str]:
    """Migrations that the live release has applied and the target does not know. Unknown lists cross nothing."""
    if live is None or not live.migrations or not target.migrations:
        return []
    return [name for name in live.migrations if name not in target.migrations]


def first_with(known: Sequence[Listed], names: Sequence[str]) -> Release | None:
    """The oldest release that applied one of these migrations: the dump before its deploy knows none of them.

    Args:
        known: newest first.
    """
    return next((one.release for one in reversed(known) if set(names) & set(one.release.migrations)), None)


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two releases."""

    what: str
    name: str
    first: str
    second: str


def difference(known: Sequence[Listed], first: str, second: str) -> list[Difference]:
    """What differs between two releases.

    Args:
        first, second: version or id.

    Raises:
        UsageError: there is no such release; those that exist are listed.
    """
    left, right = _named(known, first), _named(known, second)
    found = [Difference("version", "", left.version, right.version)] if left.version != right.version else []
    for what, one, other in (
        ("image", left.images, right.images),
        ("file", left.files, right.files),
        ("secret", left.secrets, right.secrets),
        ("replicas", left.replicas, right.replicas),
    ):
        for name in sorted({*one, *other}):
            before, after = str(one.get(name, "-")), str(other.get(name, "-"))
            if before != after:
                found.append(Difference(what, name, brief(before), brief(after)))
    return found


def _named(known: Sequence[Listed], name: str) -> Release:
    for one in known:
        if name in (one.release.id, one.release.version):
            return one.release
    exists = ", ".join(dict.fromkeys(one.release.version for one in known)) or "none"
    error = UsageError(f"there is no release {name}", hint=f"releases on the host: {exists}")
    error.exit_code = UsageError.exit_code.FAILED
    raise error


def brief(value: str) -> str:
    """A reference as tag and first digits of its digest; a hash as its first digits."""
    name, at, digest = value.rpartition("@sha256:")
    tag = name.rpartition("/")[2]
    return f"{tag}@{digest[:12]}" if at else value[:12]
