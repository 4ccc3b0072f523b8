"""What the Compose file tells the container."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRETS = Path("/run/secrets")
STATE = Path("/flotteq/state")
DATA = Path("/data")
# Where each kind of files is mounted; fixed, because restic groups snapshots by path.
SOURCES = {"uploads": "/src/uploads", "certs": "/src/certs"}
DUMP = "/flotteq.dump"
MANIFEST = "/flotteq.manifest"
PARTS = ("db", *SOURCES)


@dataclass(frozen=True)
class Settings:
    """One stack.

    Args:
        name: project and environment; restic's host, so that retention finds its own snapshots.
        place: directory with repository, ledger, cache and scratch.
        database, user, server: of Postgres.
        floor: fewest bytes of a dump.
        stall, limit: seconds.
        jobs: connections of a restore; more than one need the dump as a file.
        workers: parallel workers of a query in the live database.
        duty: share of the time in which a backup works.
        data: where the server's disk can be seen, when a database is restored on it.
        keep: how many last, daily, weekly, monthly, yearly sets.
    """

    name: str = "flotteq"
    place: Path = Path("/backups")
    database: str = "postgres"
    user: str = "postgres"
    server: str = "postgres"
    floor: int = 512
    stall: float = 120
    limit: float = 4 * 3600
    jobs: int = 1
    workers: int = 0
    duty: float = 1.0
    keep: tuple[int, ...] = (3, 7, 5, 12, 2)
    secrets: Path = SECRETS
    state: Path = STATE
    data: Path = DATA
    sources: Mapping[str, str] = field(default_factory=lambda: dict(SOURCES))

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """From the container's environment; nothing in it is secret."""
        number = {name: float(variables.get(f"BACKUP_{name.upper()}") or default) for name, default in _NUMBERS.items()}
        return cls(
            name=variables.get("BACKUP_NAME", "flotteq"),
            database=variables.get("PGDATABASE", "postgres"),
            user=variables.get("PGUSER", "postgres"),
            server=variables.get("PGHOST", "postgres"),
            floor=int(number["floor"]),
            stall=number["stall"],
            limit=number["limit"],
            jobs=int(number["jobs"]),
            workers=int(number["workers"]),
            duty=number["duty"],
            keep=tuple(int(one) for one in variables.get("BACKUP_KEEP", "3 7 5 12 2").split()),
        )

    @property
    def repository(self) -> Path:
        """The repository on the host's disk."""
        return self.place / "restic"

    def release(self) -> dict[str, Any]:
        """The live release: id, version, image digests; empty before the first one."""
        try:
            found: dict[str, Any] = json.loads((self.state / "current.json").read_text())
        except (OSError, ValueError):
            return {}
        return {key: found[key] for key in ("id", "version", "images", "migrations") if key in found}


_NUMBERS = {"floor": 512, "stall": 120, "limit": 4 * 3600, "jobs": 1, "workers": 0, "duty": 1}


def give_credentials(settings: Settings) -> None:
    """Let Postgres's programs and restic find their passwords in files; no command line carries one."""
    passfile = Path("/run/pgpass")
    password = (settings.secrets / "db_password").read_text().strip()
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    handle = os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"*:*:*:*:{escaped}\n")
    os.environ.update(
        PGPASSFILE=str(passfile),
        PGCONNECT_TIMEOUT="10",
        PGOPTIONS="",
        RESTIC_PASSWORD_FILE=str(settings.secrets / "restic_password"),
        RESTIC_REPOSITORY=str(settings.repository),
        RESTIC_CACHE_DIR=str(settings.place / "cache"),
        RESTIC_PROGRESS_FPS="0.1",
        TMPDIR="/tmp",  # noqa: S108 - the container's own
    )
