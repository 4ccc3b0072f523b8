"""Take a set: the parts that were asked for, one manifest, read back, written into the ledger."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flotteq_backup import base, manifest, postgres
from flotteq_backup.errors import Empty, Failed, NotVerified
from flotteq_backup.ledger import Ledger, now
from flotteq_backup.relay import Gate
from flotteq_backup.restic import Restic, Saved
from flotteq_backup.say import say
from flotteq_backup.settings import DUMP, Settings

MARGIN = 1.2
RESERVE = 0.05


@dataclass
class Taking:
    """One set on its way.

    Args:
        reason: why it is taken: ``scheduled``, ``manual``, ``pre-deploy v1.2.0`` …
        keep_days: retention leaves it alone for so long.
        quick: for a deploy, which waits for it. Nothing is read back: restic has read and compared every piece before
            it stored it, and the dump's size is compared here. The manifest waits beside the repository for the next
            run of this program: each run of restic costs a second for the key alone.
    """

    settings: Settings
    store: Restic
    ledger: Ledger
    reason: str = "manual"
    keep_days: int = 0
    quick: bool = False
    id: str = ""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Sorts by time, and two in one second differ.
        self.id = self.id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"

    def take(self, parts: Iterable[str]) -> dict[str, Any]:
        """Take the set; return it as the ledger has it.

        Raises:
            Failed: no part of it is left in the repository.
            Empty: it is a quick one, and the database has no table.
            NotVerified: it exists, but what was read back is not what was written, or a file could not be read.
        """
        started = time.monotonic()
        wanted = list(parts)
        self._room()
        try:
            # The database first: every file that it names is in the set then.
            for part in wanted:
                with say.step(part) as note:
                    note.text = self._part(part)
            document = self._document()
            with say.step("manifest"):
                if self.quick:
                    manifest.keep(self.settings.place, document)
                else:
                    self.snapshots.append(manifest.save(self.store, document))
        except BaseException:
            # What stays is removed by the next run: it has no manifest.
            with contextlib.suppress(Failed):
                self.store.forget(self.snapshots)
            raise
        return self._finish(document, started)

    def _finish(self, document: dict[str, Any], started: float) -> dict[str, Any]:
        problem = "" if self.quick else self._read_back(document)
        problem = problem or "; ".join(
            _unread(name, one) for name, one in self.parts.items() if not one.get("complete", True)
        )
        entry = manifest.entry(document, verified=not problem, seconds=round(time.monotonic() - started, 1))
        self.ledger.add("set", **entry, manifest="" if self.quick else self.snapshots[-1], problem=problem)
        if problem:
            raise NotVerified(f"set {self.id} was taken but is not verified: {problem}", hint="inv backup.doctor")
        return {**entry, "at": now()}

    def _read_back(self, document: dict[str, Any]) -> str:
        with say.step("read back") as note:
            try:
                note.text = verify(self.store, document)
            except Failed as error:
                note.text = error.message
                return error.message
        return ""

    def _room(self) -> None:
        usage = shutil.disk_usage(self.settings.place)
        last = [one for one in self.ledger.sets().values() if one.get("added")][-3:]
        wanted = int(MARGIN * max((int(one["added"]) for one in last), default=0))
        needed = max(wanted, int(usage.total * RESERVE))
        if usage.free < needed:
            raise Failed(
                f"{usage.free >> 20} MiB are free for backups, {needed >> 20} are needed",
                hint="inv backup.prune, or more disk",
            )

    def _database(self) -> str:
        settings = self.settings
        with postgres.Session(settings, settings.database, limit=settings.limit) as session:
            postgres.require_same_major(session)
            # Each worker would take a core from the application, which waits for the same server.
            session.ask(f"set max_parallel_workers_per_gather={settings.workers}")
            session.ask("begin isolation level repeatable read read only")
            # Read before the dump: a sequence can only go on meanwhile.
            snapshot = session.ask("select pg_export_snapshot()")[0]
            facts = postgres.contents(session, postgres.BY_QUALIFIED, self.store.pace)
            if self.quick and not facts["tables"]:
                raise Empty("the database has no table")
            gate = Gate(b"PGDMP", settings.floor, settings.stall, settings.limit)
            words = postgres.dump_words(settings, snapshot)
            began = time.monotonic()
            saved = self.store.save_stream(words, DUMP, self._tags("db"), gate)
            seconds = time.monotonic() - began
        self._add("db", saved, path=DUMP, database=settings.database, facts=facts)
        rows = sum(one[0] for one in facts["tables"].values())
        return f"{len(facts['tables'])} tables, {rows} rows, {saved.size >> 10} KiB stored in {seconds:.1f} s"

    def _part(self, part: str) -> str:
        return self._database() if part == "db" else self._cluster() if part == "base" else self._tree(part)

    def _cluster(self) -> str:
        began = time.monotonic()
        saved, facts = base.take(self.settings, self.store, self._tags("base"))
        self._add("base", saved, path=str(self.settings.place / base.FOLDER), complete=saved.complete, base=facts)
        self.parts["base"]["owner"] = {"uid": 0, "gid": 0, "mode": 0o700}
        return f"{saved.files} files, {saved.size >> 10} KiB checked and stored in {time.monotonic() - began:.1f} s"

    def _tree(self, part: str) -> str:
        path = self.settings.sources[part]
        if not Path(path).is_dir():
            raise Failed(f"{part}: {path} is not mounted", hint="services.backup.volumes in the Compose file")
        began = time.monotonic()
        saved = self.store.save_tree(path, self._tags(part))
        if not saved.complete:
            # What was removed between restic's two looks is not listed the second time.
            passing, saved = saved, self.store.save_tree(path, self._tags(part))
            self.store.forget([passing.snapshot])
        seconds = time.monotonic() - began
        top = os.lstat(path)
        self._add(
            part, saved, path=path, complete=saved.complete,
            owner={"uid": top.st_uid, "gid": top.st_gid, "mode": top.st_mode & 0o7777},
        )  # fmt: skip
        return f"{saved.files} files, {saved.size >> 10} KiB stored in {seconds:.1f} s, {saved.added >> 10} KiB new"

    def _add(self, part: str, saved: Saved, **more: Any) -> None:
        self.parts[part] = {**asdict(saved), **more}
        self.snapshots.append(saved.snapshot)

    def _document(self) -> dict[str, Any]:
        return {
            "format": 1,
            "id": self.id,
            "name": self.settings.name,
            "created": now(),
            "reason": self.reason,
            "keep_days": self.keep_days,
            "release": self.settings.release(),
            "parts": self.parts,
        }

    def _tags(self, part: str) -> list[str]:
        return manifest.tags(self.id, part)


def _unread(part: str, one: dict[str, Any]) -> str:
    names = one["unread"]
    first = f", the first of {len(names)}: {names[0]}" if names else ""
    return f"files of {part} could not be read{first}"


def verify(store: Restic, document: dict[str, Any]) -> str:
    """Read every part of a set back to its last byte; a note.

    Raises:
        Failed: a part cannot be read, or is not what the manifest says.
    """
    total = 0
    for part, one in document["parts"].items():
        if part == "db":
            digest, size = store.hash_of(one["snapshot"], one["path"])
            if (digest, size) != (one["sha256"], one["size"]):
                raise NotVerified(
                    f"{part}: read back {size} bytes of hash {digest[:12]}, "
                    f"written were {one['size']} bytes of {one['sha256'][:12]}"
                )
        else:
            _, size = store.hash_of(one["snapshot"], one["path"], archive=True)
            if size < one["size"]:
                raise NotVerified(f"{part}: read back {size} bytes, at least {one['size']} must be there")
        total += size
    return f"{total >> 10} KiB"


def sweep(store: Restic) -> list[str]:
    """Remove what an interrupted run left: snapshots of a set that has no manifest. Returns their ids."""
    known = store.snapshots()
    whole = {tag for one in known if "part=manifest" in one.get("tags", ()) for tag in one["tags"]}
    left = [
        str(one["id"])
        for one in known
        # The received log belongs to no set.
        if "part=wal" not in one.get("tags", ())
        and not whole & {tag for tag in one.get("tags", ()) if tag.startswith("run=")}
    ]
    store.forget(left)
    return left
