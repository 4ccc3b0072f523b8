"""What a restore asks and what it did."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flotteq_tasks.console.console import Console
from flotteq_tasks.console.table import duration, size
from flotteq_tasks.model.backup import BackupSet
from flotteq_tasks.operations.backup.pitr import Moment

if TYPE_CHECKING:
    from flotteq_tasks.operations.backup.restore import Preview
    from flotteq_tasks.operations.backup.swap import Restored
    from flotteq_tasks.operations.backup.trees import Exchanged
    from flotteq_tasks.operations.backup.volumes import Volume

SHOWN = 10


def question(found: Preview, environment: str) -> str:
    """What a restore would change, before somebody types the database's name."""
    one = found.set
    lines = [
        f"The database of {environment} becomes that of set {one.id}: {duration(max(0.0, found.hours * 3600))} old, "
        f"version {one.version or 'unknown'}, {'verified' if one.verified else 'NOT VERIFIED: ' + one.problem}."
    ]
    rows = list(found.rows.items())
    lines += [f"  {name}: {now} rows now, {then} afterwards" for name, (now, then) in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"  and {len(rows) - SHOWN} more tables")
    if not rows:
        lines.append("  every table has the same number of rows now")
    return "\n".join(lines)


def question_before(found: Preview | Moment, environment: str) -> str:
    """What a restore would change, of a set or to a moment."""
    if not isinstance(found, Moment):
        return question(found, environment)
    ago = duration(max(0.0, (datetime.now(UTC) - found.to).total_seconds()))
    return (
        f"The database of {environment} becomes what it was at {found.name}, {ago} ago: "
        f"base backup {found.base.id} and the log since. What was written later stays in the present one."
    )


def question_of_files(found: BackupSet, hours: float, part: str, environment: str) -> str:
    """What a restore of files would change."""
    state = "verified" if found.verified else f"NOT VERIFIED: {found.problem}"
    return (
        f"The {part} of {environment} become those of set {found.id}: {duration(max(0.0, hours * 3600))} old, "
        f"{size(found.parts[part])}, {state}. The present ones are put aside."
    )


def question_of_volume(volume: Volume, found: tuple[BackupSet, float] | None, environment: str) -> str:
    """What a restore of a volume would change."""
    stopped = f" {', '.join(volume.services)} is stopped meanwhile." if volume.services else ""
    if found is None:
        return f"The files of {volume.name} of {environment} from before the last restore are put back.{stopped}"
    return question_of_files(*found, volume.part, environment) + stopped


def show_volume(console: Console, done: Exchanged) -> None:
    """One sentence, and how to go back."""
    of = f"those of set {done.set}" if done.set else "the ones from before"
    console.line(f"files of {done.part} are {of}; the former ones are in .flotteq-restore/{done.before}")
    console.line(f"inv restore.volume {done.part} --undo brings them back, inv restore.finalize removes them")


def show_exchanged(console: Console, done: Exchanged) -> None:
    """One sentence, and how to go back."""
    of = f"those of set {done.set}" if done.set else "the ones from before"
    console.line(f"{done.part} are {of}; the former ones are in .flotteq-restore/{done.before}")
    console.line(f"inv restore.{done.part} --undo brings them back, inv restore.finalize removes them")


def show_restored(console: Console, done: Restored) -> None:
    """One sentence, and how to go back."""
    if console.json:
        console.document(asdict(done))
        return
    kind = "what it was at" if done.set.endswith(" UTC") else "that of set"
    of = f" {kind} {done.set}" if done.set else ""
    console.line(
        f"{done.database} is{of or ' the one from before'} · renamed in {done.swapped} ms · "
        f"{done.closed / 1000:.1f} s of maintenance page"
    )
    console.line(f"the former one is {done.before}: inv restore.undo brings it back, inv restore.finalize removes it")
