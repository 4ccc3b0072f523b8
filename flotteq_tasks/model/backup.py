"""Sets of backups as the host's ledger has them. A set counts when it was read back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flotteq_tasks.model.errors import UsageError

PARTS = ("db", "uploads", "certs")


@dataclass(frozen=True)
class Drill:
    """A trial restore: when, whether everything was there, and the seconds until it was."""

    at: str
    ok: bool
    seconds: float


@dataclass(frozen=True)
class BackupSet:
    """One set. Sizes are bytes; ``parts`` gives the size of each, ``added`` what the repository grew by.

    Args:
        rows: number of rows of every table of the database.
        on_disk: what the database takes on the server's disk.
        base: of a base backup: the ``chain`` of log that leads on from it, and when it ``stopped``, the earliest moment
            that it can be recovered to.
        checked: when it was last read back; empty: right after it was taken.
        copies: other repositories that have it.
        here: whether the host's own repository has it.
    """

    id: str
    created: str
    reason: str
    version: str
    parts: Mapping[str, int]
    size: int
    added: int
    verified: bool
    seconds: float = 0.0
    problem: str = ""
    checked: str = ""
    keep_days: int = 0
    drilled: Drill | None = None
    copies: tuple[str, ...] = field(default=())
    rows: Mapping[str, int] = field(default_factory=dict, repr=False)
    on_disk: int = 0
    base: Mapping[str, str] = field(default_factory=dict)
    here: bool = True

    @property
    def where(self) -> tuple[str, ...]:
        """Every repository that has it; ``host`` is the host's own."""
        return (*(["host"] if self.here else []), *self.copies)

    def hours(self, now: datetime) -> float:
        """Its age in hours."""
        return (now - datetime.fromisoformat(self.created)).total_seconds() / 3600


def read_ledger(text: str) -> list[BackupSet]:
    """The sets that the host has, oldest first. Pure; a line that a power cut left unfinished counts as none."""
    return [one for one in read_everything(text) if one.here]


def read_everything(text: str) -> list[BackupSet]:
    """The sets that exist anywhere, as far as the ledger knows: those that only a copy has as well. Pure."""
    sets: dict[str, BackupSet] = {}
    for line in text.splitlines():
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        _take(sets, event)
    # One that came from elsewhere was entered late, and may be old.
    known = sorted(sets.values(), key=lambda one: datetime.fromisoformat(one.created))
    return [one for one in known if one.where]


def _take(sets: dict[str, BackupSet], event: Mapping[str, Any]) -> None:
    name, kind = str(event.get("id", "")), event.get("event")
    if kind == "set":
        sets[name] = BackupSet(
            id=name,
            created=event["created"],
            reason=event["reason"],
            version=event["version"],
            parts={part: int(one["size"]) for part, one in event["parts"].items()},
            size=int(event["size"]),
            added=int(event["added"]),
            verified=bool(event["verified"]),
            seconds=float(event["seconds"]),
            problem=event.get("problem", ""),
            keep_days=int(event.get("keep_days", 0)),
            rows=event.get("rows", {}),
            on_disk=int(event.get("on_disk", 0)),
            base=event.get("base", {}),
        )
    elif kind == "removed" and name in sets:
        sets[name] = replace(sets[name], here=False)
    elif name in sets:
        sets[name] = _noted(sets[name], event)


def _noted(found: BackupSet, event: Mapping[str, Any]) -> BackupSet:
    match event.get("event"):
        case "verified":
            problem = "" if event["ok"] else str(event.get("problem", "damaged"))
            return replace(found, verified=bool(event["ok"]), checked=event["at"], problem=problem)
        case "drilled":
            return replace(found, drilled=Drill(event["at"], bool(event["ok"]), float(event["seconds"])))
        case "copied":
            return replace(found, copies=(*found.copies, str(event["to"])))
        case "lost":
            return replace(found, copies=tuple(one for one in found.copies if one != event["to"]))
    return found


@dataclass(frozen=True)
class Away:
    """A set as another repository shows it: what can be seen of it there without reading it."""

    id: str
    created: str
    parts: Mapping[str, int]
    reason: str = ""
    version: str = ""


def joined(sets: Iterable[BackupSet], copies: Mapping[str, Iterable[Away]]) -> list[BackupSet]:
    """Sets of the ledger beside those that the other repositories say they have, oldest first. Pure.

    Args:
        copies: what was asked, by the name of the copy; one that was not asked keeps what the ledger says of it.
    """
    found = {one.id: replace(one, copies=tuple(name for name in one.copies if name not in copies)) for one in sets}
    for name, there in copies.items():
        for one in there:
            known = found.get(one.id) or BackupSet(
                one.id, one.created, one.reason, one.version, one.parts, sum(one.parts.values()), 0, verified=True,
                here=False,
            )  # fmt: skip
            found[one.id] = replace(known, copies=(*known.copies, name))
    return sorted((one for one in found.values() if one.where), key=lambda one: one.created)


def choose(sets: Iterable[BackupSet], wanted: str, part: str) -> BackupSet:
    """The set that a person means. Pure.

    Args:
        sets: as ``read_everything`` has them.
        wanted: an id, the beginning of one, ``latest`` (the newest verified one) or ``pre-deploy``.
        part: what must be in it.

    Raises:
        UsageError: there is none, or more than one; the newest are named. Or only a copy has it.
    """
    everything = [one for one in sets if part in one.parts]
    having = [one for one in everything if one.here]
    good = [one for one in having if one.verified]
    if wanted == "latest":
        found = good[-1:]
    elif wanted == "pre-deploy":
        found = [one for one in good if one.reason.startswith("pre-deploy")][-1:]
    else:
        found = [one for one in having if wanted and one.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    away = [one for one in everything if wanted and one.id.startswith(wanted) and not one.here]
    if not found and len(away) == 1:
        raise UsageError(
            f"the host does not have set {away[0].id} any more, only {', '.join(away[0].copies)}",
            hint=f"inv backup.fetch --copy {away[0].copies[0]} --set {away[0].id}",
        )
    newest = ", ".join(one.id for one in having[-5:]) or "none"
    what = "there is no verified set" if wanted in ("latest", "pre-deploy") else "there is no set"
    what = f"more than one set begins with {wanted}" if found else f"{what} {wanted} with {part}"
    raise UsageError(what, hint=f"the newest: {newest}. `inv backup.list` shows all")


@dataclass(frozen=True)
class Promise:
    """How old the newest verified set of a part may be, and how old it is; ``age`` is None where there is none.

    ``where``: the name of a copy; empty: on the host itself.
    """

    part: str
    hours: int
    age: float | None
    set: str = ""
    where: str = ""

    @property
    def kept(self) -> bool:
        """Whether it is young enough."""
        return self.age is not None and self.age <= self.hours


def promises(
    sets: Iterable[BackupSet], hours: Mapping[str, int], now: datetime | None = None, copies: Iterable[str] = ()
) -> list[Promise]:
    """Compare the newest verified set of every part, here and in every copy, with what was promised. Pure."""
    present, known = now or datetime.now(UTC), list(sets)
    found = []
    for where in ("", *copies):
        having = [one for one in reversed(known) if one.verified and (not where or where in one.copies)]
        for part, limit in hours.items():
            newest = next((one for one in having if part in one.parts), None)
            age, name = (newest.hours(present), newest.id) if newest else (None, "")
            found.append(Promise(part, limit, age, name, where))
    return found
