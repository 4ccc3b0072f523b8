"""Judgements on files, images and nginx's version. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flotteq_tasks.commands.certbot import KEY_READERS
from flotteq_tasks.model.security import Level, Risk
from flotteq_tasks.operations.secret_store import CONSUMERS_GID

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Flaw:
    """A known vulnerability of nginx: the first version that has it, and the first of each branch that has not."""

    cve: str
    what: str
    since: Version
    fixed: tuple[Version, ...]


# As of 2026-11-26, from https://nginx.org/en/security_advisories.html: those that a set of files like ours can meet.
FLAWS = (
    Flaw("CVE-2026-42533", "map with regular expressions", (0, 9, 6), ((1, 30, 4), (1, 31, 3))),
    Flaw("CVE-2026-93479", "buffer overflow evaluating strings", (1, 30, 0), ((1, 30, 6), (1, 31, 7))),
    Flaw("CVE-2026-95101", "request bodies over HTTP/3", (1, 25, 0), ((1, 30, 6), (1, 31, 7))),
    Flaw("CVE-2026-97629", "forged TLS sessions while ticket keys rotate", (1, 23, 2), ((1, 30, 6), (1, 31, 7))),
)
FLOOR: Version = (1, 30, 6)


def modes(lines: Iterable[str], owners: frozenset[str]) -> Iterator[Risk]:
    """Judge modes and owners.

    Args:
        lines: ``KIND MODE UID GID PATH``, as the script prints them.
        owners: user ids, beside root's, that may own a key of certbot's store.
    """
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    count = dict.fromkeys(_KINDS, 0)
    for line in lines:
        kind, mode, uid, gid, path = line.split(maxsplit=4)
        count[kind] += 1
        if _wrong(kind, int(mode, 8), uid, gid, owners):
            found[kind].append(f"{path} is {mode} {uid}:{gid}")
    for kind, (identity, title, level, fix) in _KINDS.items():
        wrong = found[kind]
        said = "; ".join(wrong) or (f"{count[kind]} looked at" if count[kind] else "not there")
        yield Risk(identity, title, said, not wrong, level, fix, tuple(one.split(" ")[0] for one in wrong))


_KINDS: Mapping[str, tuple[str, str, Level, str]] = {
    "private": ("FILES-private", "nobody but root looks into secrets and backups", "error", "chmod 700"),
    "secret": (
        "FILES-secrets",
        "secrets are read by root and their consumers' group only",
        "error",
        "inv secrets.push",
    ),
    "key": ("FILES-keys", "keys are read by root, their maker and the edge's group only", "error", "chmod 640, chown"),
    "settings": ("FILES-settings", "settings are not everybody's", "warning", "chmod 640"),
    "socket": ("CIS-3.16", "the engine's socket is root's and its group's", "error", "chmod 660, chown root:docker"),
    "daemon": ("CIS-3.18", "the engine's settings are changed by root only", "error", "chmod 644, chown root:root"),
}


def _wrong(kind: str, mode: int, uid: str, gid: str, owners: frozenset[str]) -> bool:
    match kind:
        case "private":
            return bool(mode & 0o077) or uid != "0"
        case "secret":
            return bool(mode & 0o237) or uid != "0" or gid not in {"0", CONSUMERS_GID}
        case "key":
            return bool(mode & 0o137) or uid not in {"0", *owners} or gid not in {"0", KEY_READERS, *owners}
        case "settings":
            return bool(mode & 0o027)
        case "socket":
            return bool(mode & 0o007) or uid != "0"
        case _:
            return bool(mode & 0o022) or uid != "0"


def group(line: str) -> Risk:
    """Judge who may talk to the engine: that is who is root.

    Args:
        line: of ``getent group``.
    """
    members = [name for name in line.strip().rpartition(":")[2].split(",") if name]
    return Risk("CIS-1.1.2", "nobody is root by being in the group docker", ", ".join(members) or "nobody is in it",
                not members, "note", "gpasswd -d NAME docker; inv works with sudo", tuple(members))  # fmt: skip


def nginx(said: str) -> Iterator[Risk]:
    """Compare the edge's nginx with what is known.

    Args:
        said: of ``nginx -V``.
    """
    title = f"nginx has no known vulnerability: {'.'.join(map(str, FLOOR))} or later"
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    if not found:
        yield Risk("NGINX", title, "the edge does not run", ok=False, fix="inv status")
        return
    version = (int(found[1]), int(found[2]), int(found[3]))
    flaws = [one for one in FLAWS if has(version, one)]
    text = ".".join(found.groups())
    words = "; ".join(f"{one.cve}: {one.what}" for one in flaws)
    fix = "a newer tag in services.NAME.image, then inv nginx.upgrade"
    said = f"{text}: {words}" if flaws else text
    yield Risk("NGINX", title, said, not flaws, "error", fix, tuple(one.cve for one in flaws))


def has(version: Version, flaw: Flaw) -> bool:
    """Whether a version has a flaw: not fixed on its own branch, nor later than the newest fix."""
    repaired = any(version[:2] == fix[:2] and version >= fix for fix in flaw.fixed) or version >= max(flaw.fixed)
    return version >= flaw.since and not repaired


def images(described: Sequence[Mapping[str, Any]], *, days: int, now: datetime) -> Risk:
    """Judge the age of the images that run.

    Args:
        days: from which one is old.
    """
    old, unknown = [], 0
    for one in described:
        created = str(one.get("created") or "")
        made = (
            datetime.fromisoformat(re.sub(r"(\.\d{1,6})\d*", r"\1", created).replace("Z", "+00:00"))
            if created
            else None
        )
        # Reproducible builds carry a date of their own: 1970, 1980 or none.
        if made is None or made.year < 2000:
            unknown += 1
        elif (now - made).days >= days:
            tags = one.get("tags") or [str(one.get("id", ""))[:19]]
            old.append(f"{str(tags[0]).rpartition('/')[2]} ({(now - made).days} days)")
    said = "; ".join(old) or f"{len(described)} images" + (f", {unknown} without a date" if unknown else "")
    return Risk("IMAGES", f"no image is older than {days} days", said, not old,
                fix="inv build and inv deploy; a newer tag for third-party images", places=tuple(old))  # fmt: skip
