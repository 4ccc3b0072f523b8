"""What monitoring reads: files of Prometheus' text format, for the textfile collector of its node exporter."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flotteq_backup.wal import Slot

# Mounted where [backup] metrics of flotteq.toml names a directory.
PLACE = Path("/metrics")
_HELP = {
    "flotteq_backup_last_verified_timestamp_seconds": "When the newest verified set of a part was taken.",
    "flotteq_backup_size_bytes": "Size of that part.",
    "flotteq_backup_added_bytes": "What that set added to the repository.",
    "flotteq_backup_duration_seconds": "How long that set took.",
    "flotteq_backup_sets": "Sets in the host's repository.",
    "flotteq_backup_last_drill_timestamp_seconds": "When a set was last restored where nobody uses it.",
    "flotteq_backup_last_drill_ok": "Whether that set was whole.",
    "flotteq_backup_drill_rto_seconds": "How long that restore took.",
    "flotteq_backup_free_bytes": "Free bytes beside the host's repository.",
    "flotteq_wal_received": "Whether somebody receives the write-ahead log without a gap.",
    "flotteq_wal_lag_bytes": "What the server keeps of it because it has not been received.",
    "flotteq_wal_last_stored_timestamp_seconds": "When the received log went to the repository last.",
    "flotteq_backup_job_last_end_timestamp_seconds": "When a command of the backup program last ended.",
    "flotteq_backup_job_exit_code": "Its exit code.",
    "flotteq_backup_job_duration_seconds": "How long it took.",
}


@dataclass(frozen=True)
class Sample:
    """One value with its labels."""

    name: str
    labels: Mapping[str, str]
    value: float


def of_sets(sets: Iterable[Mapping[str, Any]], free: int) -> Iterator[Sample]:
    """What the ledger says. Pure.

    Args:
        sets: oldest first, as the ledger has them.
        free: bytes.
    """
    known = list(sets)
    good = [one for one in reversed(known) if one.get("verified")]
    for where in ("local", *sorted({copy for one in good for copy in one.get("copies", ())})):
        having = [one for one in good if where == "local" or where in one.get("copies", ())]
        for part in sorted({part for one in having for part in one["parts"]}):
            newest = next(one for one in having if part in one["parts"])
            labels = {"part": part, "repository": where}
            yield Sample("flotteq_backup_last_verified_timestamp_seconds", labels, _seconds(newest["created"]))
            if where == "local":
                yield Sample("flotteq_backup_size_bytes", {"part": part}, newest["parts"][part]["size"])
                yield Sample("flotteq_backup_added_bytes", {"part": part}, newest["parts"][part]["added"])
                yield Sample("flotteq_backup_duration_seconds", {"part": part}, newest["seconds"])
    for state in (True, False):
        count = sum(bool(one.get("verified")) is state for one in known)
        yield Sample("flotteq_backup_sets", {"state": "verified" if state else "unverified"}, count)
    yield from _of_drills(known)
    yield Sample("flotteq_backup_free_bytes", {}, free)


def _of_drills(sets: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
    """A base backup is drilled behind a set: the one that was well must not hide the other."""
    drilled = sorted((one for one in sets if one.get("drilled")), key=lambda one: str(one["drilled"]["at"]))
    newest = {"base" in one["parts"]: one["drilled"] for one in drilled}
    if newest:
        # Base backups may stay behind where point-in-time recovery was turned off: nobody drills them any more.
        last = newest.get(False, drilled[-1]["drilled"])
        yield Sample("flotteq_backup_last_drill_timestamp_seconds", {}, _seconds(last["at"]))
        yield Sample("flotteq_backup_last_drill_ok", {}, int(all(one["ok"] for one in newest.values())))
        yield Sample("flotteq_backup_drill_rto_seconds", {}, last["seconds"])


def of_log(slot: Slot | None, stored: str) -> list[Sample]:
    """What is known of the received log. Pure.

    Args:
        slot: None: there is none, or the server does not answer.
        stored: when it was stored last, ISO 8601.
    """
    received = slot is not None and slot.active and not slot.lost
    lag = [Sample("flotteq_wal_lag_bytes", {}, slot.lag)] if slot else []
    return [
        Sample("flotteq_wal_received", {}, int(received)),
        *lag,
        Sample("flotteq_wal_last_stored_timestamp_seconds", {}, _seconds(stored)),
    ]


def of_job(job: str, end: float, code: int, seconds: float) -> list[Sample]:
    """How a command ended. Pure.

    Args:
        end: Unix seconds.
        code: its exit code.
        seconds: how long it took.
    """
    return [
        Sample("flotteq_backup_job_last_end_timestamp_seconds", {"job": job}, end),
        Sample("flotteq_backup_job_exit_code", {"job": job}, code),
        Sample("flotteq_backup_job_duration_seconds", {"job": job}, seconds),
    ]


def text(name: str, samples: Iterable[Sample]) -> str:
    """The file's text. Pure.

    Args:
        name: project and environment: two stacks of one host have a file each.
    """
    lines: list[str] = []
    for metric in sorted(samples, key=lambda one: list(_HELP).index(one.name)):
        head = [f"# HELP {metric.name} {_HELP[metric.name]}", f"# TYPE {metric.name} gauge"]
        lines += head if head[0] not in lines else []
        labels = ",".join(f'{key}="{value}"' for key, value in {"stack": name, **metric.labels}.items())
        lines.append(f"{metric.name}{{{labels}}} {metric.value:.15g}")
    return "".join(f"{line}\n" for line in lines)


def write(place: Path, name: str, backups: Path, sets: Iterable[Mapping[str, Any]], job: list[Sample]) -> None:
    """Write both files, each in one step: a reader never sees half of one.

    Args:
        place: directory of the collector; nothing happens where it is not mounted.
        backups: the directory of the host's repository.
    """
    if not place.is_dir():
        return
    free = shutil.disk_usage(backups).free
    files = {f"{name}-backup": of_sets(sets, free), f"{name}-backup-{job[0].labels['job']}": job}
    for stem, samples in files.items():
        write_file(place, name, stem, samples)


def write_file(place: Path, name: str, stem: str, samples: Iterable[Sample]) -> None:
    """Write one file in one step; nothing happens where the collector's directory is not mounted."""
    if not place.is_dir():
        return
    temporary = place / f".{stem}.next"
    temporary.write_text(text(name, samples))
    temporary.chmod(0o644)
    os.replace(temporary, place / f"{stem}.prom")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(str(moment)).timestamp()
