"""The received log in the repositories: on the host, and elsewhere."""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flotteq_backup import wal
from flotteq_backup.copies import Copy
from flotteq_backup.errors import Failed
from flotteq_backup.ledger import now
from flotteq_backup.restic import Restic
from flotteq_backup.settings import Settings

TAG = "part=wal"
# What was stored last, for whoever asks how old it is.
STATE = "wal.json"


def push(settings: Settings, store: Restic) -> dict[str, Any]:
    """Store all that was received; return what ``wal.json`` says afterwards.

    Each snapshot holds the whole: the one before it is removed, its data when retention runs.

    Raises:
        Failed: nothing is received on this host.
    """
    place = wal.folder(settings)
    if not wal.chains(place):
        raise Failed("no log is received on this host", hint="[backup] pitr = true in flotteq.toml, then inv deploy")
    saved = store.save_tree(str(place), [TAG])
    if not saved.complete:
        # A segment was completed, and so renamed, while it was read.
        store.forget([saved.snapshot])
        saved = store.save_tree(str(place), [TAG])
    before = state(settings.place).get("snapshot", "")
    document = {"at": now(), "snapshot": saved.snapshot, "size": saved.size, "added": saved.added}
    if saved.complete:
        _write(settings.place / STATE, document)
        store.forget([before] if before in {str(one["id"]) for one in store.snapshots(TAG)} else [])
    return document


def send(settings: Settings, store: Restic, snapshot: str, to: Iterable[Copy]) -> list[str]:
    """Copy a snapshot of the log to other repositories; return their names. Nothing is removed there.

    Raises:
        Failed: names each that failed; the others have it.
    """
    done, failures = [], {}
    for copy in to:
        try:
            away = copy.open(settings.name, pace=store.pace)
            away.ensure(like=store)
            away.copy(store, [snapshot])
            done.append(copy.name)
        except Failed as error:
            failures[copy.name] = error.message
    if failures:
        raise Failed(
            "; ".join(f"the log did not reach {name}: {message}" for name, message in failures.items()),
            hint="the log on the host is untouched, and goes with the next one",
        )
    return done


def bring(store: Restic, away: Restic, since: str) -> None:
    """Copy the log from another repository, the newest snapshot of every day since a moment (ISO 8601)."""
    newest = {
        str(one["time"])[:10]: str(one["id"])
        for one in away.snapshots(TAG)
        if datetime.fromisoformat(_seconds(str(one["time"]))) >= datetime.fromisoformat(since)
    }
    store.copy(away, newest.values())


def unpack(settings: Settings, store: Restic, chain: str) -> None:
    """Put a chain of the log back to where it was received, from all snapshots that have some of it.

    A segment that was not complete in an earlier snapshot gives way to the complete one. What is newer stays: the
    receiver may be writing to it, and the server keeps nothing of what it has acknowledged.

    Raises:
        Failed: none has it.
    """
    place = wal.folder(settings) / chain
    place.mkdir(parents=True, exist_ok=True)
    for snapshot in store.snapshots(TAG):
        try:
            store.restore(str(snapshot["id"]), str(place), str(place), newer=True)
        except Failed as error:
            # One from before the chain, or from behind it, has nothing to give.
            if "not found" not in f"{error.message} {error.details}":
                raise
    if not list(place.iterdir()):
        raise Failed(f"no repository has the log of chain {chain}")


def outdated(store: Restic, place: Path, bases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Snapshots of the log from before every base backup, without the newest of this host."""
    oldest = min((datetime.fromisoformat(one["stopped"]) for one in bases), default=None)
    current = state(place).get("snapshot", "")
    return [
        str(one["id"])
        for one in store.snapshots(TAG)
        if one["id"] != current and oldest and datetime.fromisoformat(_seconds(str(one["time"]))) < oldest
    ]


def state(place: Path) -> dict[str, Any]:
    """What was stored last: ``at``, ``snapshot``, ``size``; empty before the first time."""
    try:
        found: dict[str, Any] = json.loads((place / STATE).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _write(path: Path, document: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, sort_keys=True))
    os.replace(part, path)


def _seconds(moment: str) -> str:
    """restic writes nanoseconds, which no parser here reads."""
    head, dot, tail = moment.partition(".")
    zone = tail.lstrip("0123456789") if dot else ""
    return f"{head}{zone}"
