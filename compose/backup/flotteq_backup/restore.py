"""Restore a database beside the live one, and prove that everything is there."""

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from flotteq_backup import postgres, process
from flotteq_backup.errors import Failed, NotVerified
from flotteq_backup.relay import Gate
from flotteq_backup.restic import Restic
from flotteq_backup.say import say
from flotteq_backup.settings import Settings

# Four segments of Postgres's log, and a part of a large disk.
RESERVE, RESERVED = 64 << 20, 0.02
# Their values are lists of names: quoted as one text they would be one name.
_LISTS = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries")
_SETTINGS = """
select split_part(one, '=', 1) || '=' || substr(one, position('=' in one) + 1)
from pg_db_role_setting, unnest(setconfig) one
where setrole = 0 and setdatabase = (select oid from pg_database where datname = {})"""


@contextmanager
def dump_file(settings: Settings, store: Restic, one: dict[str, Any], name: str) -> Iterator[Path]:
    """The dump of a set as a file, compared with its manifest before anybody reads it; removed afterwards.

    Raises:
        NotVerified: it is not what was written.
    """
    scratch = settings.place / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if free < one["size"] * 1.1:
        raise Failed(f"{free >> 20} MiB are free for the dump, {one['size'] >> 20} are needed", hint="inv backup.prune")
    path = scratch / f"{name}.dump"
    try:
        with say.step("fetch the dump") as note:
            digest, size = store.fetch(one["snapshot"], one["path"], path)
            if (digest, size) != (one["sha256"], one["size"]):
                raise _not_written(name)
            note.text = f"{size >> 10} KiB, hash as in the manifest"
        yield path
    finally:
        path.unlink(missing_ok=True)


class Beside:
    """A database that is filled and compared before anybody uses it.

    Args:
        document: the set's manifest.
        target: its name; dropped when anything is not as it must be.
        dump: the dump, where there is one already; otherwise it comes from the repository.
        trial: the server is there for this alone: it is filled in one transaction, which its log then leaves out, and
            each row is looked for in each index.
    """

    def __init__(
        self,
        settings: Settings,
        store: Restic,
        document: dict[str, Any],
        target: str,
        *,
        dump: Path | None = None,
        trial: bool = False,
    ) -> None:
        self.settings, self.store, self.document, self.target = settings, store, document, target
        self.one = document["parts"]["db"]
        self.dump, self.trial = dump, trial

    def make(self) -> dict[str, Any]:
        """Restore and compare; return its name and what is in it.

        Raises:
            Failed: the restored database is not exactly the one that was dumped; it is gone again.
        """
        with postgres.Session(self.settings, "postgres") as admin:
            self._require(admin)
            self._drop(admin)
            try:
                found = self._fill(admin)
                self._take_over(admin)
            except BaseException:
                with contextlib.suppress(Failed):
                    self._drop(admin)
                raise
        return {
            "database": self.target,
            "id": self.document["id"],
            "tables": len(found["tables"]),
            "rows": sum(one[0] for one in found["tables"].values()),
        }

    def _require(self, admin: postgres.Session) -> None:
        server = postgres.require_same_major(admin)
        before = self.one["facts"]["server"]
        if _major(before) > _major(server):
            raise Failed(f"the set is of Postgres {before}, the server is {server}: an older one cannot take it")
        known = set(admin.ask("select name from pg_available_extensions"))
        missing = sorted(set(self.one["facts"]["extensions"]) - known)
        if missing:
            raise Failed(f"the server lacks the extensions {', '.join(missing)}", hint="services.postgres.image")

    def _fill(self, admin: postgres.Session) -> dict[str, Any]:
        settings = self.settings
        if self.dump is None and settings.jobs == 1:
            with say.step("restore beside") as note:
                self._pour(admin)
                note.text = f"{self.target}, {self.one['size'] >> 10} KiB, hash as in the manifest"
        else:
            with self._dump() as path, say.step("restore beside") as note:
                self._create(admin)
                words = postgres.restore_words(settings, self.target, path)
                process.run(words, limit=settings.limit, environment=postgres.FILLING, watch=self._leave_room)
                note.text = self.target
        with (
            say.step("compare with the manifest") as note,
            postgres.Session(settings, self.target, limit=settings.limit) as session,
        ):
            if not self.trial:
                session.ask("analyze")
            found = postgres.contents(session, self.one["facts"].get("hashed", postgres.BY_TEXT))
            wrong = postgres.differences(self.one["facts"], found)
            if wrong:
                raise NotVerified(f"the restored database is not the one of the manifest: {'; '.join(wrong[:5])}")
            note.text = f"{len(found['tables'])} tables alike"
            moved = postgres.moved_extensions(self.one["facts"], found)
            if moved:
                say.warn(f"the image has other versions of extensions: {moved}")
        with say.step("check the indexes") as note:
            note.text = postgres.check_indexes(settings, self.target, rows=self.trial)
        return found

    def _create(self, admin: postgres.Session) -> None:
        self._leave_room()
        postgres.create(admin, self.target, self.one["facts"], self.settings.user)

    def _pour(self, admin: postgres.Session) -> None:
        """From the repository into the database: the dump takes no room on the disk and no time of its own."""
        self._create(admin)
        gate = Gate(floor=0, stall=self.settings.stall, limit=self.settings.limit, sha256=self.one["sha256"])
        words = postgres.restore_words(self.settings, self.target, None, whole=self.trial)
        snapshot, path = self.one["snapshot"], self.one["path"]
        try:
            self.store.pour(snapshot, path, words, gate, environment=postgres.FILLING, watch=self._leave_room)
        except NotVerified as error:
            raise _not_written(self.document["id"]) from error

    def _leave_room(self) -> None:
        """Stop before the server's disk is full: Postgres ends for everybody when it cannot write its log."""
        if not self.settings.data.is_dir():
            return
        disk = shutil.disk_usage(self.settings.data)
        reserve = max(RESERVE, int(disk.total * RESERVED))
        if disk.free < reserve:
            raise Failed(
                f"the database's disk has {disk.free >> 20} MiB left, {reserve >> 20} stay free: the restore was "
                "stopped",
                hint="inv prune, inv restore.finalize, or more disk",
            )

    def _dump(self) -> AbstractContextManager[Path]:
        if self.dump is not None:
            return nullcontext(self.dump)
        return dump_file(self.settings, self.store, self.one, self.document["id"])

    def _take_over(self, admin: postgres.Session) -> None:
        """The live database's own settings go over to the restored one."""
        for line in admin.ask(_SETTINGS.format(postgres.text(self.settings.database))):
            name, _, value = line.partition("=")
            written = value if name in _LISTS else postgres.text(value)
            admin.ask(f"alter database {postgres.ident(self.target)} set {postgres.ident(name)} = {written}")

    def _drop(self, admin: postgres.Session) -> None:
        admin.ask(f"drop database if exists {postgres.ident(self.target)} with (force)")


def _not_written(name: str) -> NotVerified:
    return NotVerified(f"the dump of set {name} is not what was written: nothing of it is used")


def _major(version: str) -> int:
    return int(version.partition(".")[0].partition(" ")[0])
