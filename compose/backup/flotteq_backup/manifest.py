"""What a set is: enough to prove after a restore that everything is there."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from flotteq_backup.relay import Gate
from flotteq_backup.restic import Restic
from flotteq_backup.settings import MANIFEST

# Manifests of sets that were taken in a hurry wait here for the next run.
PENDING = "manifests"


def tags(name: str, part: str) -> list[str]:
    """What a snapshot of a set carries."""
    return [f"run={name}", f"part={part}"]


def save(store: Restic, document: dict[str, Any]) -> str:
    """Put a manifest into the repository beside its set; return the snapshot."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file, sort_keys=True)
        file.flush()
        gate = Gate(b"{", 2)
        return store.save_stream(["cat", file.name], MANIFEST, tags(document["id"], "manifest"), gate).snapshot


def keep(place: Path, document: dict[str, Any]) -> None:
    """Leave a manifest beside the repository, whole or not at all, until ``waiting`` is asked."""
    folder = place / PENDING
    folder.mkdir(mode=0o700, exist_ok=True)
    part = folder / f"{document['id']}.part"
    with part.open("w") as file:
        json.dump(document, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    part.rename(part.with_suffix(".json"))


def waiting(place: Path) -> list[Path]:
    """Manifests that are not in the repository yet, oldest first."""
    return sorted((place / PENDING).glob("*.json"))


def load(store: Restic, snapshot: str) -> dict[str, Any]:
    """Read a manifest from the repository."""
    found: dict[str, Any] = json.loads(store.read(snapshot, MANIFEST))
    return found


def entry(document: dict[str, Any], *, verified: bool, seconds: float) -> dict[str, Any]:
    """What the ledger keeps of a set."""
    parts = document["parts"]
    release = document["release"]
    facts = parts.get("db", {}).get("facts", {})
    based = {"base": parts["base"]["base"]} if "base" in parts else {}
    return {
        **based,
        "rows": {name: one[0] for name, one in facts.get("tables", {}).items()},
        "on_disk": facts.get("size", 0),
        "id": document["id"],
        "name": document["name"],
        "created": document["created"],
        "reason": document["reason"],
        "keep_days": document["keep_days"],
        "version": release.get("version", ""),
        "release": release.get("id", ""),
        "parts": {
            name: {key: one[key] for key in ("snapshot", "size", "files", "added")} for name, one in parts.items()
        },
        "size": sum(one["size"] for one in parts.values()),
        "added": sum(one["added"] for one in parts.values()),
        "verified": verified,
        "seconds": seconds,
    }
