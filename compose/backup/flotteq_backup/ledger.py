"""What happened to sets, one JSON document a line, never rewritten."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flotteq_backup.errors import Busy


def now() -> str:
    """The present, UTC, to the second."""
    return _written(datetime.now(UTC))


def moment(text: str) -> str:
    """A moment as restic writes it, as the ledger writes it."""
    return _written(datetime.fromisoformat(text).astimezone(UTC))


def _written(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Ledger:
    """The file ``ledger.jsonl`` beside the repository."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, event: str, **fields: Any) -> None:
        """Write a line, and wait until the disk has it."""
        line = json.dumps({"at": now(), "event": event, **fields}, sort_keys=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        with os.fdopen(handle, "w") as file:
            # Half of a line that a full disk has left would take this one along.
            size = os.fstat(handle).st_size
            begin = "\n" if size and os.pread(handle, 1, size - 1) != b"\n" else ""
            file.write(f"{begin}{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def events(self) -> list[dict[str, Any]]:
        """All lines, oldest first; one that a power cut left unfinished counts as none."""
        found = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def sets(self, *, gone: bool = False) -> dict[str, dict[str, Any]]:
        """Sets that exist by id, oldest first, with what became of them: verified, drilled, copied.

        Args:
            gone: those that were removed here as well; ``gone`` is true of them.
        """
        sets: dict[str, dict[str, Any]] = {}
        for one in self.events():
            kind, name = one.get("event"), str(one.get("id", ""))
            if kind == "set":
                sets[name] = dict(one)
            elif kind == "removed":
                if gone and name in sets:
                    sets[name]["gone"] = True
                else:
                    sets.pop(name, None)
            elif name in sets:
                _note(sets[name], one)
        # One that came from elsewhere was entered late, and may be old.
        return dict(sorted(sets.items(), key=lambda one: _created(one[1])))


def _created(one: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(one.get("created") or one["at"]))


def _note(found: dict[str, Any], event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "verified":
        found["verified"], found["checked"] = event["ok"], event["at"]
    elif kind == "drilled":
        found["drilled"] = {"at": event["at"], "ok": event["ok"], "seconds": event["seconds"]}
    elif kind == "copied":
        found["copies"] = [*found.get("copies", ()), event["to"]]
    elif kind == "lost":
        found["copies"] = [one for one in found.get("copies", ()) if one != event["to"]]
        found["lost"] = [*found.get("lost", ()), event["to"]]
    elif kind == "manifest":
        found["manifest"] = event["manifest"]
    elif kind == "keep":
        found["keep"] = event["keep"]


@contextmanager
def alone(place: Path, patience: float = 0) -> Iterator[None]:
    """Hold the lock of the repository; the kernel gives it back however the program ends.

    Args:
        patience: seconds to wait for it.

    Raises:
        Busy: another one holds it.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / "lock").open("a") as file:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Busy("another backup or restore runs", hint="wait for its end: inv lock.status") from None
                time.sleep(0.2)
            else:
                break
        yield
