"""How sets of backups look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flotteq_tasks.console.console import Console
from flotteq_tasks.console.table import duration, size
from flotteq_tasks.model.backup import PARTS, BackupSet, Promise
from flotteq_tasks.model.recovery import Window

if TYPE_CHECKING:
    from flotteq_tasks.operations.backup.escrow import Written
    from flotteq_tasks.operations.backup.pitr import Checked
    from flotteq_tasks.operations.schedule import Scheduled


def show_taken(console: Console, found: BackupSet) -> None:
    """One sentence about a set that was just taken."""
    if console.json:
        console.document(asdict(found))
        return
    what = ", ".join(f"{part} {size(amount)}" for part, amount in found.parts.items())
    console.line(f"set {found.id}: {what}; {size(found.added)} new · read back · {found.seconds:.1f} s")


def show_sets(console: Console, rows: Sequence[BackupSet], reach: Sequence[Window] = ()) -> None:
    """The sets, newest first; then the moments that the database can be restored to."""
    if console.json:
        console.document([{**asdict(one), "where": one.where} for one in reversed(rows)])
        return
    if not rows:
        console.line("no set yet: inv backup.all")
        return
    now = datetime.now(UTC)
    head = ("ID", "AGE", "PARTS", "SIZE", "NEW", "VERSION", "WHY", "VERIFIED", "DRILLED", "WHERE")
    console.table(head, [_row(one, now) for one in reversed(rows)], right=[3, 4])
    away = [one for one in rows if not one.here]
    if away:
        console.line(
            f"{len(away)} of them only elsewhere: inv backup.fetch --copy {away[-1].copies[0]} --set {away[-1].id} "
            "brings one back"
        )
    for window in reach:
        console.line(f"any moment of {window}: inv restore.db --to")


def _row(one: BackupSet, now: datetime) -> tuple[str, ...]:
    drilled = "-" if one.drilled is None else f"{one.drilled.seconds:.0f} s" if one.drilled.ok else "FAILED"
    parts = ",".join(sorted(one.parts, key=lambda part: (part not in PARTS, (*PARTS, part).index(part), part)))
    return (
        one.id,
        duration(max(0.0, one.hours(now) * 3600)),
        parts,
        size(one.size),
        size(one.added),
        one.version or "-",
        one.reason,
        "yes" if one.verified else f"NO: {one.problem}",
        drilled,
        ", ".join(one.where),
    )


def show_copied(console: Console, found: Mapping[str, Sequence[str]]) -> None:
    """What went where."""
    if console.json:
        console.document({"copied": found})
        return
    for name, ids in found.items():
        console.line(f"{name}: {', '.join(ids) if ids else 'has every verified set already'}")


def show_verified(console: Console, found: Mapping[str, Any]) -> None:
    """One sentence about a set that was read."""
    if console.json:
        console.document({"ok": True, **found})
        return
    console.line(f"set {found['id']} is whole: {', '.join(found['parts'])}")


def show_drill(console: Console, found: Mapping[str, Any]) -> None:
    """One sentence about a trial restore."""
    if console.json:
        console.document(found)
        return
    console.line(
        f"set {found['id']} was restored and is what was backed up: {', '.join(found['parts'])}, "
        f"{found['rows']} rows · {found['seconds']:.1f} s"
    )


def show_kit(console: Console, found: Written) -> None:
    """Where the kit lies and what to do with it."""
    if console.json:
        console.document(asdict(found))
        return
    for one in found.recipients:
        console.line(f"opens for {one}")
    console.line(f"{found.path}: {len(found.files)} files. Keep it where neither this machine nor the host is.")


def show_pruned(console: Console, found: Mapping[str, Any]) -> None:
    """What stays and why, and what goes."""
    if console.json:
        console.document(found)
        return
    rows = [(name, "stays", ", ".join(reasons)) for name, reasons in sorted(found["keep"].items())]
    rows += [(name, "would go" if found["dry_run"] else "removed", "") for name in found["remove"]]
    console.table(("SET", "", "WHY"), sorted(rows, reverse=True))


def show_schedule(console: Console, rows: Sequence[Scheduled]) -> None:
    """The timers, with their next and last run."""
    if console.json:
        console.document({"ok": all(one.ok for one in rows), "jobs": [{**asdict(one), "ok": one.ok} for one in rows]})
        return
    table = [
        (one.name, one.when, _moment(one.next) if one.installed else "NOT INSTALLED", _moment(one.last),
         one.result or "-", one.what)
        for one in rows
    ]  # fmt: skip
    console.table(("JOB", "WHEN", "NEXT (UTC)", "LAST (UTC)", "RESULT", ""), table)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds else "-"


def show_promises(console: Console, rows: Sequence[Promise], log: Checked | None = None) -> None:
    """Age of every part beside what was promised; then the received log."""
    if console.json:
        ok = all(one.kept for one in rows) and not (log and log.problem)
        document: dict[str, Any] = {"ok": ok, "parts": [{**asdict(one), "kept": one.kept} for one in rows]}
        if log is not None:
            reach = [{"from": one.start.isoformat(), "to": one.end.isoformat()} for one in log.windows]
            document["log"] = {"problem": log.problem, "stored": log.stored, "lag": log.lag, "windows": reach}
        console.document(document)
        return
    table = [
        (one.part, one.where or "host", "never" if one.age is None else duration(one.age * 3600), f"{one.hours} h",
         one.set or "-", "kept" if one.kept else "TOO OLD")
        for one in rows
    ]  # fmt: skip
    console.table(("PART", "IN", "AGE", "PROMISED", "SET", ""), table)
    if log is not None:
        console.line(f"log: {log.problem or f'received and stored, {size(log.lag)} behind'}")
        for window in log.windows:
            console.line(f"any moment of {window}")
