"""What a set is: enough to prove after a restore that everything is there."""

import json
import tempfile
from typing import Any

from flotteq_backup.relay import Gate
from flotteq_backup.restic import Restic
from flotteq_backup.settings import MANIFEST


def save(store: Restic, document: dict[str, Any], tags: list[str]) -> str:
    """Put a manifest into the repository beside its set; return the snapshot."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file, sort_keys=True)
        file.flush()
        return store.save_stream(["cat", file.name], MANIFEST, tags, Gate(b"{", 2)).snapshot


def load(store: Restic, snapshot: str) -> dict[str, Any]:
    """Read a manifest from the repository."""
    found: dict[str, Any] = json.loads(store.read(snapshot, MANIFEST))
    return found


def entry(document: dict[str, Any], *, verified: bool, seconds: float) -> dict[str, Any]:
    """What the ledger keeps of a set."""
    parts = document["parts"]
    release = document["release"]
    facts = parts.get("db", {}).get("facts", {})
    return {
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
