"""Recover the cluster to a moment in a server of its own, and dump its database for a restore beside the live one."""

import dataclasses
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flotteq_backup import base, drill, postgres, process, wal
from flotteq_backup.errors import Failed, Unknown
from flotteq_backup.restic import Restic
from flotteq_backup.say import say
from flotteq_backup.settings import Settings

# Nobody but the job reaches it, and nothing here has to survive a power cut. Without hot_standby it needs none of the
# live server's limits.
_OPTIONS = (
    "listen_addresses=", "hot_standby=off", "fsync=off", "full_page_writes=off", "autovacuum=off", "archive_mode=off",
    "synchronous_commit=off", "max_wal_senders=0", "wal_level=minimal", "shared_buffers=64MB",
    "shared_preload_libraries=", "maintenance_work_mem=64MB", "dynamic_shared_memory_type=mmap", "jit=off", "ssl=off",
    "logging_collector=off", "log_destination=stderr", "lc_messages=C", "restart_after_crash=off",
    "recovery_target_action=promote",
)  # fmt: skip
# A file's time may be a tick of the kernel earlier than what was written; here a little more, for another last digit.
_TICK = timedelta(milliseconds=25)
_REDO = re.compile(r"redo done at ([0-9A-F]+)/([0-9A-F]+)")
_TOO_EARLY, _TOO_LATE = "before consistent recovery point", "recovery ended before configured recovery target"


class _Short(Failed):
    """The log ends before the moment."""


def choose(sets: Iterable[Mapping[str, Any]], to: datetime) -> Mapping[str, Any]:
    """The newest verified base backup from which a moment can be reached. Pure.

    Args:
        sets: oldest first, as the ledger has them.

    Raises:
        Unknown: there is none; the oldest moment is named.
    """
    bases = [one for one in sets if one.get("verified") and one.get("base")]
    found = [one for one in bases if datetime.fromisoformat(one["base"]["stopped"]) <= to]
    if not found:
        oldest = bases[0]["base"]["stopped"] if bases else ""
        what = f"the oldest base backup is of {oldest[:19]} UTC" if oldest else "there is no verified base backup"
        raise Unknown(f"{to:%Y-%m-%d %H:%M:%S} UTC cannot be reached: {what}", hint="inv backup.list")
    return found[-1]


class Recovery:
    """One recovery.

    Args:
        entry: the base backup's set, as the ledger has it.
        to: the moment, with its offset; None: the end of the base backup.
    """

    def __init__(self, settings: Settings, store: Restic, entry: Mapping[str, Any], to: datetime | None = None) -> None:
        self.settings, self.store, self.entry, self.to = settings, store, entry, to
        self.base: Mapping[str, Any] = entry["base"]
        self.chain = wal.folder(settings) / self.base["chain"]
        self.size = int(self.base["segment_bytes"])
        self.arrived = False

    @contextmanager
    def dump(self, document: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The dump of the recovered database as a file, and what is in it; both are gone afterwards.

        Args:
            document: the manifest of the base backup's set.

        Raises:
            Failed: the moment cannot be reached, or something that is needed is not there.
        """
        self._arrive()
        scratch = self.settings.place / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        path = scratch / f"{self.entry['id']}.dump"
        try:
            with drill.empty(drill.PLACE) as here:
                self._room(document["parts"]["base"])
                self._fetch(document["parts"]["base"], here)
                with self._server(here):
                    facts = self._dump_to(path)
            yield path, facts
        finally:
            path.unlink(missing_ok=True)

    def prove(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Recover where nobody uses it, and read every row; return id, parts, rows, seconds.

        Raises:
            Failed: it cannot be recovered, or the log that leads on from it is not there.
        """
        started = time.monotonic()
        with drill.empty(drill.PLACE) as here:
            self._room(document["parts"]["base"])
            self._fetch(document["parts"]["base"], here)
            with self._server(here), say.step("read every row") as note:
                with postgres.Session(self._there(), self.settings.database, limit=self.settings.limit) as session:
                    found = postgres.contents(session)["tables"]
                note.text = f"{len(found)} tables"
        return {
            "id": document["id"],
            "parts": ["base"],
            "rows": sum(one[0] for one in found.values()),
            "seconds": round(time.monotonic() - started, 1),
        }

    def _arrive(self) -> None:
        """The log must have arrived up to a transaction behind the moment, where the live server still writes it."""
        with say.step("log") as note, postgres.Session(self.settings, "postgres") as session:
            known = wal.chains(
                wal.folder(self.settings), session.ask("select system_identifier from pg_control_system()")[0]
            )
            if not known or known[-1] != self.base["chain"]:
                note.text = "an earlier chain"
                return
            self.arrived = wal.catch_up(session)
            note.text = "received up to now" if self.arrived else "as far as it was received"

    def _room(self, part: Mapping[str, Any]) -> None:
        log = sum(one.stat().st_size for one in wal.from_segment(self.chain, self.base["segment"]))
        needed = int(part["size"] * 2.1) + log
        free = shutil.disk_usage(drill.PLACE).free
        if free < needed:
            raise Failed(
                f"{free >> 20} MiB are free for a recovery, {needed >> 20} are needed", hint="inv backup.prune"
            )

    def _fetch(self, part: Mapping[str, Any], here: Path) -> None:
        data, log = here / "data", here / "wal"
        with say.step("fetch the base backup") as note:
            data.mkdir(mode=0o700)
            log.mkdir(mode=0o700)
            self.store.restore(part["snapshot"], part["path"], str(data))
            base.check(data, limit=self.settings.limit)
            note.text = f"{self.entry['id']}, every file as in its manifest"
        with say.step("fetch the log") as note:
            note.text = f"{self._collect(log)} segments"
        data.chmod(0o700)
        (data / "recovery.signal").touch()
        # The live server's own settings are none of this one's.
        (data / "postgresql.auto.conf").write_text("")
        (here / "hba").write_text("local all all trust\n")
        (here / "conf").write_text("")
        owner = pwd.getpwnam("postgres")
        for folder, names, files in os.walk(here):
            for name in [*names, *files]:
                os.chown(Path(folder) / name, owner.pw_uid, owner.pw_gid, follow_symlinks=False)

    def _collect(self, log: Path) -> int:
        """Put the segments where the server finds them."""
        files = wal.from_segment(self.chain, self.base["segment"])
        lacks = wal.gap(self.chain, self.base["segment"], self.size)
        if lacks:
            raise Failed(f"the log has a gap: {lacks}", hint=f"inv backup.fetch --set {self.entry['id']}")
        for one in files:
            target = log / one.name.removesuffix(".partial")
            if target.exists():
                continue
            try:
                shutil.copyfile(one, target)
            except FileNotFoundError:
                # It was completed, and so renamed, since it was listed.
                shutil.copyfile(one.with_suffix(""), target)
        return len(files)

    @contextmanager
    def _server(self, here: Path) -> Iterator[None]:
        with say.step("recover") as note:
            target = f"recovery_target_time={self.to.isoformat(sep=' ')}" if self.to else "recovery_target=immediate"
            try:
                server = self._start(here, target)
            except _Short:
                # Nothing was committed between the end of the log and the moment, for it was received for longer.
                server = self._start(here, "")
            with postgres.Session(self._there(), "postgres") as session:
                last = session.ask("select pg_last_xact_replay_timestamp() at time zone 'UTC'")[0]
            note.text = f"the last change is of {last[:23]} UTC" if last else "no change since the base backup"
        try:
            yield
        finally:
            drill.stop(server, here / "data")

    def _start(self, here: Path, target: str) -> "subprocess.Popen[bytes]":
        said = here / "log"
        with said.open("wb") as file:
            server = subprocess.Popen(
                server_words(here, target), user="postgres", group="postgres", extra_groups=[],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        try:
            drill.wait_ready(server, limit=self.settings.limit)
        except Failed as error:
            words = said.read_text(errors="replace")
            if target and self.to and _TOO_LATE in words and self._is_all(words):
                raise _Short("the log has no transaction behind the moment") from error
            raise self._failed(words) from error
        return server

    def _is_all(self, said: str) -> bool:
        """Whether a server that found no transaction behind the moment has read all that was received until then.

        It ends at a damaged record as at the last one: then it ended far from the newest segment.
        """
        last, redo = wal.newest(self.chain), _REDO.search(said)
        if self.arrived or self.to is None or last is None or last + _TICK < self.to or redo is None:
            return False
        ended = ((int(redo[1], 16) << 32) + int(redo[2], 16)) // self.size
        newest = max(wal.position(one.name, self.size) for one in wal.from_segment(self.chain, self.base["segment"]))
        # The newest may have been begun and not written to.
        return ended >= newest - 1

    def _failed(self, said: str) -> Failed:
        when = f"{self.to:%Y-%m-%d %H:%M:%S} UTC" if self.to else "its end"
        if _TOO_LATE in said:
            return Unknown(f"{when} cannot be reached: the log that was received ends before", hint="inv backup.list")
        if _TOO_EARLY in said:
            return Unknown(
                f"{when} cannot be reached: the base backup {self.entry['id']} ended later", hint="inv backup.list"
            )
        return Failed(f"the server did not recover to {when}", details="\n".join(said.strip().splitlines()[-15:]))

    def _there(self) -> Settings:
        return dataclasses.replace(self.settings, server=drill.SOCKET)

    def _dump_to(self, path: Path) -> dict[str, Any]:
        there = self._there()
        with say.step("dump") as note:
            with postgres.Session(there, there.database, limit=there.limit) as session:
                facts = postgres.contents(session)
            process.run(
                [
                    "pg_dump", "--format=custom", "--compress=0", "--no-password", f"--file={path}",
                    "--host", there.server, "--username", there.user, there.database,
                ],
                limit=there.limit,
            )  # fmt: skip
            path.chmod(0o600)
            note.text = f"{len(facts['tables'])} tables, {path.stat().st_size >> 10} KiB"
        return facts


def server_words(here: Path, target: str) -> list[str]:
    """The server that recovers and is then asked; its configuration is here alone, not that of the live one.

    Args:
        target: where recovery ends, a setting with its value; empty: with the log.
    """
    options = (
        *_OPTIONS, f"unix_socket_directories={drill.SOCKET}", f"hba_file={here}/hba", f"config_file={here}/conf",
        f"restore_command=cp {here}/wal/%f %p", *([target] if target else []),
    )  # fmt: skip
    return ["postgres", "-D", str(here / "data"), *(word for one in options for word in ("-c", one))]
