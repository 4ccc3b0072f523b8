"""Base backups: the whole cluster as files, from which the received log leads to any later moment."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flotteq_backup import postgres, process, wal
from flotteq_backup.errors import Failed, NotVerified
from flotteq_backup.pace import FULL, Pace
from flotteq_backup.restic import Restic, Saved
from flotteq_backup.say import say
from flotteq_backup.settings import Settings

# Below the directory of the backups; fixed, because restic groups snapshots by path.
FOLDER = "base"
MARGIN = 1.2
_START = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$", re.M)
_NOW = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"


def take(settings: Settings, store: Restic, tags: Iterable[str]) -> tuple[Saved, dict[str, Any]]:
    """Copy the cluster, check the copy against its manifest, and store it.

    Returns:
        the snapshot, and where the log leads on from: ``chain``, its first ``segment``, ``segment_bytes``, ``stopped``
        (the earliest moment to which it can be recovered) and ``server`` (its version).

    Raises:
        Failed: nobody receives the log, there is no room, or the copy is not whole.
    """
    place = settings.place / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    with postgres.Session(settings, "postgres", limit=settings.limit) as session:
        server = postgres.require_same_major(session)
        if wal.drop_lost(session):
            say.warn("the slot was lost: WAL is missing. Another chain begins with this base backup")
        chain = wal.require_receiver(session, wal.folder(settings))
        _room(settings, int(session.ask("select sum(pg_database_size(oid)) from pg_database")[0]))
        try:
            process.run(words(settings, place), limit=settings.limit, pace=store.pace)
            stopped = session.ask(_NOW)[0]
            segment = first_segment((place / "backup_label").read_text())
            size = int(session.ask("select setting from pg_settings where name = 'wal_segment_size'")[0])
            lacks = wal.gap(wal.folder(settings) / chain, segment, size)
            if lacks:
                raise Failed(f"the WAL receiver's {lacks}", hint="inv backup.base")
            check(place, limit=settings.limit, pace=store.pace)
            saved = store.save_tree(str(place), tags)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    found = {"chain": chain, "segment": segment, "segment_bytes": size, "stopped": stopped, "server": server}
    return saved, found


def words(settings: Settings, place: Path) -> list[str]:
    """What copies the cluster, with the log that the copy itself needs."""
    return [
        "pg_basebackup", f"--pgdata={place}", "--format=plain", "--wal-method=stream", "--checkpoint=fast",
        "--manifest-checksums=SHA256", "--no-password", "--host", settings.server, "--username", settings.user,
    ]  # fmt: skip


def check(place: Path, *, limit: float, pace: Pace = FULL) -> None:
    """Compare every file with the copy's own manifest, and read its log.

    Raises:
        NotVerified: one is not what the server sent.
    """
    try:
        process.run(["pg_verifybackup", "--quiet", str(place)], limit=limit, pace=pace)
    except Failed as error:
        raise NotVerified(f"the base backup is damaged: {error.message}", details=error.details) from error


def first_segment(label: str) -> str:
    """The segment from which recovery begins, as backup_label names it. Pure.

    Raises:
        Failed: it names none.
    """
    found = _START.search(label)
    if found is None:
        raise Failed("backup_label of the base backup names no segment")
    return found[1]


def _room(settings: Settings, size: int) -> None:
    free = shutil.disk_usage(settings.place).free
    if free < size * MARGIN:
        raise Failed(
            f"{free >> 20} MiB are free for a base backup, {int(size * MARGIN) >> 20} are needed",
            hint="inv backup.prune",
        )
