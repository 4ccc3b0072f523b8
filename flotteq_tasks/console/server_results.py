"""What a host has and lacks, and what a setup changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from flotteq_tasks.console.console import Console

if TYPE_CHECKING:
    from flotteq_tasks.operations.server import Prepared, State


def show_server(console: Console, states: Sequence[State], *, changes: bool = False) -> None:
    """A row for each item; below, line by line, what differs: ``-`` is there, ``+`` is wanted.

    Args:
        changes: they are what a setup would do, not faults.
    """
    differing = [one for one in states if not one.ok]
    if console.json:
        items = [{"name": one.name, "what": one.what, "ok": one.ok, "changes": one.changes} for one in states]
        console.document({"ok": not differing, "items": items})
        return
    console.table(("", "ITEM", "WHAT"), [("ok" if one.ok else "!!", one.name, one.what) for one in states])
    for one in differing:
        console.line(f"\n# {one.name}")
        console.line("\n".join(f"  {line}" for line in one.changes))
    if not differing:
        console.line(f"\n{len(states)} items are as they must be" + ("; nothing to do" if changes else ""))
    else:
        hint = "inv server.setup makes them so" if changes else "see it: inv server.setup --dry-run"
        console.line(f"\n{len(differing)} of {len(states)} items differ: {hint}")


def show_prepared(console: Console, done: Prepared) -> None:
    """What was changed, and what a person should know of it."""
    if console.json:
        console.document({"ok": True, **asdict(done)})
        return
    if not done.changed:
        console.line(f"{done.host} is as it must be; nothing was changed")
        return
    console.line(f"{done.host} is ready · changed: {', '.join(done.changed)}")
    for note in done.notes:
        console.line(f"  {note}")
