"""A release: everything that is needed to run a version again exactly as it was."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

GOOD = "good"
FAILED = "failed"


@dataclass(frozen=True)
class Release:
    """One release as its manifest on the host keeps it.

    Args:
        id: sorts by time and names the version, ``20261123T093000Z-v1.2.0``.
        images: reference with digest for each service.
        secrets: fingerprint for each secret; it is part of the secret's file name on the host.
        files: SHA-256 of each rendered file.
        created: UTC, ISO 8601.
        by: who deployed, from where.
        size: bytes of the images that were built for it, as the engine counts them: shared layers in each.
        seconds: from the start of the rollout until it was verified.
        migrations: names of those that the database had applied when it went live.
        previous: id of the release that was live before.
        again: id of the release that this one runs again; a rollback's.
        result: ``good`` or ``failed``; a failed one has a reason.
    """

    id: str
    version: str
    images: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)
    created: str = ""
    by: str = ""
    size: int = 0
    seconds: float = 0.0
    migrations: tuple[str, ...] = ()
    previous: str = ""
    again: str = ""
    result: str = GOOD
    reason: str = ""

    @property
    def origin(self) -> str:
        """Id of the release that this one is, or runs again."""
        return self.again or self.id

    def to_json(self) -> str:
        """The manifest's text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Release":
        """Read a manifest; keys of a newer tool are ignored."""
        raw: dict[str, Any] = json.loads(text)
        known = {key: value for key, value in raw.items() if key in cls.__dataclass_fields__}
        known["migrations"] = tuple(known.get("migrations", ()))
        return cls(**known)


def release_id(version: str, now: datetime) -> str:
    """The id of a release: UTC time to the second and the version."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{re.sub(r'[^A-Za-z0-9._-]', '_', version)}"
