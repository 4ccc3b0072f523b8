"""The write-ahead log that the receiver keeps: chains of segments without a gap, one for each life of its slot."""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from flotteq_backup import postgres
from flotteq_backup.errors import Failed
from flotteq_backup.settings import Settings

SLOT = "wal_receiver"
# Below the directory of the backups, as the job sees it; fixed, because restic groups snapshots by path.
FOLDER = "wal"
PATIENCE = 60
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_SLOT = f"""
select coalesce(wal_status, 'reserved'), active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
from pg_replication_slots where slot_name = '{SLOT}'"""  # noqa: S608 - a constant
# A condition is waited for inside of one statement: a session costs more than the wait.
_WAIT = """
do $do$ begin
  for moment in 1..{limit} * 10 loop
    perform pg_stat_clear_snapshot();
    exit when {condition};
    perform pg_sleep(0.1);
  end loop;
end $do$"""
_ACTIVE = f"exists (select from pg_replication_slots where slot_name = '{SLOT}' and active)"
_FLUSHED = f"""exists (select from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid
  where s.slot_name = '{SLOT}' and r.flush_lsn >= '{{lsn}}'::pg_lsn)"""


@dataclass(frozen=True)
class Slot:
    """What the server says of the slot: ``status`` as in pg_replication_slots, ``lag`` in bytes."""

    status: str
    active: bool
    lag: int

    @property
    def lost(self) -> bool:
        """Whether WAL that it was to keep is gone: its chain has ended."""
        return self.status == "lost"


def slot(session: postgres.Session) -> Slot | None:
    """The slot; None where there is none."""
    found = session.ask(_SLOT)
    if not found:
        return None
    status, active, lag = found[0].split("|")
    return Slot(status, active == "t", int(lag))


def new_chain(system: str, moment: datetime) -> str:
    """Name of a chain: the cluster that it belongs to, and when it began. Names of one cluster sort by time."""
    return f"{system}-{moment:%Y%m%dT%H%M%SZ}"


def chains(place: Path, system: str = "") -> list[str]:
    """Names of the chains in a directory, of one cluster or of all, oldest first."""
    found = [one.name for one in place.iterdir() if one.is_dir()] if place.is_dir() else []
    return sorted((name for name in found if name.startswith(f"{system}-" if system else "")), key=_began)


def _began(name: str) -> str:
    return name.rpartition("-")[2]


def number(segment: str) -> str:
    """What orders segments: their name without the timeline, as pg_archivecleanup compares them."""
    return segment[8:24]


def from_segment(chain: Path, first: str) -> list[Path]:
    """The files of a chain that are needed from a segment on, oldest first; the last one may end in ``.partial``."""
    files = [one for one in chain.iterdir() if _SEGMENT.match(one.name)] if chain.is_dir() else []
    return sorted((one for one in files if number(one.name) >= number(first)), key=lambda one: one.name)


def position(segment: str, size: int) -> int:
    """Which segment of the whole log it is.

    Args:
        size: bytes of a segment: each of the first eight digits stands for 4 GiB.
    """
    name = number(segment)
    return int(name[:8], 16) * ((1 << 32) // size) + int(name[8:], 16)


def gap(chain: Path, first: str, size: int) -> str:
    """What a chain lacks from a segment on, in words; empty: nothing.

    Args:
        size: bytes of a segment.
    """
    there = sorted({position(one.name, size) for one in from_segment(chain, first)})
    wanted = position(first, size)
    if not there or there[0] != wanted:
        return f"chain {chain.name} does not have segment {first}"
    for before, after in pairwise(there):
        if after != before + 1:
            return (
                f"chain {chain.name} lacks {after - before - 1} segments behind the {before - wanted + 1}. of {first}"
            )
    return ""


def newest(chain: Path) -> datetime | None:
    """When a chain was last written to; None for one without a file."""
    found = [one.stat().st_mtime for one in from_segment(chain, "0" * 24)]
    return datetime.fromtimestamp(max(found), UTC) if found else None


def trim(place: Path, bases: Iterable[Mapping[str, Any]]) -> int:
    """Remove what no base backup needs; return the number of segments.

    Args:
        place: directory of the chains.
        bases: every base backup that is kept: ``chain`` and its first ``segment``.
    """
    needed: dict[str, str] = {}
    for base in bases:
        chain, first = str(base["chain"]), str(base["segment"])
        needed[chain] = min(needed.get(chain, first), first, key=number)
    removed, names = 0, chains(place)
    for name in names:
        if name in needed:
            going = [
                one for one in (place / name).iterdir()
                if _SEGMENT.match(one.name) and number(one.name) < number(needed[name])
            ]  # fmt: skip
            for one in going:
                one.unlink()
            removed += len(going)
        elif name != names[-1]:
            # Nothing can be recovered with it; the newest one waits for its first base backup.
            removed += len(list((place / name).iterdir()))
            shutil.rmtree(place / name)
    return removed


def require_receiver(session: postgres.Session, place: Path) -> str:
    """The chain that is being received.

    Raises:
        Failed: nobody receives, or the slot is lost.
    """
    session.ask(_WAIT.format(limit=PATIENCE, condition=_ACTIVE))
    found = slot(session)
    if found is None or not found.active or found.lost:
        state = "has no slot" if found is None else "has lost its slot" if found.lost else "is not connected"
        raise Failed(
            f"the WAL receiver {state}: nothing could be recovered later", hint="inv logs --service wal-receiver"
        )
    known = chains(place, session.ask("select system_identifier from pg_control_system()")[0])
    if not known:
        raise Failed(f"the WAL receiver has not begun to write to {place}", hint="inv logs --service wal-receiver")
    return known[-1]


def drop_lost(session: postgres.Session) -> bool:
    """Remove a slot whose WAL is gone, so that the receiver begins another chain; return whether there was one."""
    found = slot(session)
    if found is None or not found.lost:
        return False
    session.ask(f"select pg_drop_replication_slot('{SLOT}')")
    return True


def catch_up(session: postgres.Session) -> bool:
    """Let everything that has happened until now arrive, and a transaction behind it; return whether it did.

    Recovery to a time ends at the first transaction behind that time: on a quiet server there would be none.
    """
    session.ask("select pg_logical_emit_message(true, 'flotteq', 'recovery')")
    lsn = session.ask("select pg_current_wal_lsn()")[0]
    condition = _FLUSHED.format(lsn=lsn)
    session.ask(_WAIT.format(limit=PATIENCE, condition=condition))
    return session.ask(f"select {condition}")[0] == "t"


def folder(settings: Settings) -> Path:
    """Where the chains lie."""
    return settings.place / FOLDER
