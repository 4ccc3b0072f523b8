"""The audit log: who changed what, from where, with which result."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flotteq_tasks.commands.shell import script
from flotteq_tasks.operations.context import Site


@dataclass(frozen=True)
class Entry:
    """One operation. ``result``: done, failed, or unfinished (its client died, or it still runs)."""

    at: str
    what: str
    who: str
    where: str
    result: str
    seconds: float | None = None
    error: str = ""
    step: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def history(site: Site, *, lines: int) -> list[Entry]:
    """The last operations, newest first.

    Args:
        lines: so many operations at the most.
    """
    done = site.host.run(script('tail -n 4000 "$1/journal.jsonl" 2>/dev/null || true', site.state))
    return entries(done.out)[-lines:][::-1]


def entries(text: str) -> list[Entry]:
    """Read journal lines into operations, oldest first. Pure."""
    found: list[Entry] = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line that the host could not finish writing: a full disk, a power cut
        _take(found, event)
    return found


def _take(found: list[Entry], event: dict[str, Any]) -> None:
    kind = event.get("event")
    if kind == "start":
        found.append(
            Entry(event["at"], event.get("what", ""), event.get("who", ""), event.get("where", ""), "unfinished")
        )
    elif found and kind == "end" and "result" in event:
        begun, error = found[-1], event.get("error", "")
        found[-1] = replace(
            begun,
            result=event["result"],
            seconds=_between(begun.at, event["at"]),
            error=error,
            step=begun.step if error else "",
        )
    elif found and kind == "request":
        asked = {key: value for key, value in event.items() if key not in ("at", "event")}
        found[-1] = replace(found[-1], options=asked)
    elif found and kind == "begin":
        found[-1] = replace(found[-1], step=event.get("step", ""))


def _between(start: str, end: str) -> float:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 1)
