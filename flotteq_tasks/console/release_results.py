"""How releases and the audit log look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from flotteq_tasks.console.console import Console
from flotteq_tasks.console.table import duration, size
from flotteq_tasks.operations.releases import brief

if TYPE_CHECKING:
    from flotteq_tasks.operations.history import Entry
    from flotteq_tasks.operations.interrupted import Progress
    from flotteq_tasks.operations.plan import Plan
    from flotteq_tasks.operations.releases import Difference, Listed
    from flotteq_tasks.operations.retention import Item, Usage

# Columns of a terminal from which the ids of releases fit, too.
WIDE = 110


def show_releases(console: Console, rows: Sequence[Listed]) -> None:
    """The list, newest first; the live one is marked."""
    if console.json:
        console.document([{**asdict(one.release), "live": one.live, "changed": list(one.changed)} for one in rows])
        return
    if not rows:
        console.line("no release yet: inv deploy --version v1.0.0")
        return
    head = ("", "VERSION", "WHEN (UTC)", "BY", "TOOK", "SIZE", "RESULT", "CHANGED", "ID")
    shown = len(head) if console.width >= WIDE else len(head) - 1
    console.table(head[:shown], [_row(one)[:shown] for one in rows], right=[5])
    if shown < len(head):
        console.line("\nids, digests, reasons of failures: inv releases --json")


def _row(one: Listed) -> tuple[str, ...]:
    release = one.release
    return (
        "*" if one.live else "",
        release.version,
        release.created[:16].replace("T", " "),
        release.by,
        duration(release.seconds) if release.seconds else "-",
        size(release.size) if release.size else "-",
        release.result,
        _services(one.changed),
        release.id,
    )


def _services(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{len(names)} services"


def show_difference(console: Console, rows: Sequence[Difference]) -> None:
    """What differs, one thing a line."""
    if console.json:
        console.document([asdict(one) for one in rows])
        return
    if not rows:
        console.line("the two releases are the same")
        return
    console.table(("WHAT", "NAME", "FIRST", "SECOND"), [(one.what, one.name, one.first, one.second) for one in rows])


def show_history(console: Console, rows: Sequence[Entry]) -> None:
    """The audit log, newest first."""
    if console.json:
        console.document([asdict(one) for one in rows])
        return
    table = [
        (
            one.at[:19].replace("T", " "),
            one.what,
            f"{one.who} on {one.where}",
            one.result + (f" at {one.step}" if one.step and one.result != "done" else ""),
            duration(one.seconds) if one.seconds is not None else "-",
        )
        for one in rows
    ]
    console.table(("WHEN (UTC)", "WHAT", "WHO", "RESULT", "TOOK"), table)


def show_progress(console: Console, found: Progress) -> None:
    """Where the host is."""
    if console.json:
        console.document({**asdict(found), "last": asdict(found.last) if found.last else None})
        return
    console.line(found.lock)
    if found.last:
        where = f" at step '{found.last.step}'" if found.last.step and found.last.result != "done" else ""
        console.line(f"last: {found.last.what} by {found.last.who}, {found.last.result}{where}")
    console.line(f"live: {found.version or 'nothing'}")
    if found.half_done:
        console.line(f"something is half-done: {found.remedy}")


def show_plan(console: Console, plan: Plan) -> None:
    """What a deploy would do, and why."""
    if console.json:
        console.document({"changes": plan.changes, **asdict(plan)})
        return
    if not plan.changes:
        console.line(f"{plan.version} is live: nothing to do")
        _warn(console, plan)
        return
    console.line(f"{plan.live or 'nothing'} → {plan.version}\n")
    rows = [("container", one.service, one.reason) for one in plan.containers]
    rows += [("image", name, f"{brief(old) or '-'} → {brief(new)}") for name, (old, new) in plan.images.items()]
    rows += [("secret", name, f"{old or '-'} → {new}") for name, (old, new) in plan.secrets.items()]
    rows += [("file", path, what) for path, what in plan.files.items()]
    rows += [("migration", name, "pending") for name in plan.pending]
    console.table(("WHAT", "NAME", "WHY"), rows)
    console.line()
    fetched = "unknown" if plan.download is None else f"{size(plan.download)} fetched now: the deploy finds it"
    console.line(f"download  {fetched if plan.download != 0 else 'nothing: the host has all images'}")
    console.line(f"disk      {size(plan.disk)} needed, {size(plan.disk_free)} free")
    console.line(f"memory    {size(plan.memory)} more while both run, {size(plan.memory_free)} free")
    _warn(console, plan)


def _warn(console: Console, plan: Plan) -> None:
    for warning in plan.warnings:
        console.line(f"! {warning}")


def show_usage(console: Console, usage: Usage) -> None:
    """What uses the disk, and what could go."""
    if console.json:
        console.document({**asdict(usage), "reclaimable": sum(one.size for one in usage.removable)})
        return
    rows = [(what, size(amount)) for what, amount in usage.rows]
    console.table(("WHAT", "SIZE"), [*rows, ("free", f"{size(usage.free)} of {size(usage.total)}")], right=[1])
    if not usage.removable:
        console.line("\nretention would remove nothing")
        return
    console.line("\nretention would remove: inv prune")
    _show_items(console, usage.removable)


def show_pruned(console: Console, gone: Sequence[Item]) -> None:
    """What retention removed."""
    if console.json:
        console.document({"removed": [asdict(one) for one in gone], "size": sum(one.size for one in gone)})
        return
    if not gone:
        console.line("nothing to remove")
        return
    _show_items(console, gone)


def _show_items(console: Console, items: Sequence[Item]) -> None:
    """One line for each kind and a total; images share layers, so that less may become free."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in items):
        same = [one for one in items if one.kind == kind]
        names = ", ".join(one.name for one in same)
        rows.append((f"{kind}s", str(len(same)), size(sum(one.size for one in same)), names))
    rows.append(("total", str(len(items)), size(sum(one.size for one in items)), ""))
    console.table(("WHAT", "COUNT", "SIZE", "WHICH"), rows, right=[1, 2])
