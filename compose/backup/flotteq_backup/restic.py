"""The store. Its exit codes are kept apart: 3 incomplete, 10 no repository, 11 locked, 12 wrong key."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from flotteq_backup import process
from flotteq_backup.errors import Failed
from flotteq_backup.pace import FULL, Pace
from flotteq_backup.relay import Gate, Relayed, relay

INCOMPLETE, ABSENT, LOCKED, WRONG_KEY = 3, 10, 11, 12
PIECE = 1 << 20
# Seconds in which a repository must open: restic itself tries for a quarter of an hour.
PROBE = 60


@dataclass(frozen=True)
class Saved:
    """A snapshot: its id, what it holds, and what it added to the repository.

    Args:
        complete: every file was read.
        unread: those that were not, as far as restic names them.
    """

    snapshot: str
    size: int
    files: int
    added: int
    sha256: str = ""
    complete: bool = True
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restic:
    """A repository.

    Args:
        host: written into every snapshot; never the container's own name, which changes.
        options: in front of every command.
        place: the repository as restic writes it, with the file of its key; empty: as the environment says.
        environment: its credentials.
        own: nobody but this program works on it, one at a time.
        pace: with which pauses it works where it takes long.
    """

    host: str
    options: tuple[str, ...] = ()
    place: str = ""
    key: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    own: bool = False
    pace: Pace = FULL

    def ensure(self, like: "Restic | None" = None) -> bool:
        """Make the repository where there is none; return whether it was made.

        Args:
            like: another one, between which and this one sets are copied: both cut data at the same places then.

        Raises:
            Failed: another key made it, it is damaged, or it does not answer.
        """
        try:
            # Even this would take a lock, and fail for good where one that died has left an exclusive one.
            self._run("cat", "config", "--no-lock", limit=PROBE)
        except Failed as error:
            # Before 0.17 every failure is 1: then its words tell.
            if f"code {WRONG_KEY}" in error.message or "wrong password" in error.details:
                raise Failed(
                    f"the repository does not open with this {Path(self.key or 'restic_password').name}: another key "
                    "made it",
                    hint=f"put the key that made it into the secret {Path(self.key or 'restic_password').name}",
                ) from error
            if f"code {ABSENT}" not in error.message and "Is there a repository" not in error.details:
                raise
            if like is None:
                self._run("init")
            else:
                self._run("init", *like.source(), "--copy-chunker-params", other=like)
            return True
        # Here the caller holds the lock of the whole repository: whoever left one is dead. Elsewhere others may work.
        self._run("unlock", *(["--remove-all"] if self.own else []))
        return False

    def source(self) -> list[str]:
        """The words that name this repository as the one that is copied from."""
        return ["--from-repo", self.place, "--from-password-file", self.key]

    def copy(self, source: "Restic", snapshots: Iterable[str]) -> None:
        """Copy snapshots of another repository into this one; those that are here already are left out."""
        ids = list(snapshots)
        if ids:
            self._run("copy", "--retry-lock", "10m", *source.source(), *ids, limit=4 * 3600, other=source, paced=True)

    def snapshots(self, *tags: str) -> list[dict[str, Any]]:
        """Snapshots that carry all tags, oldest first."""
        words = ["--tag", ",".join(tags)] if tags else []
        found: list[dict[str, Any]] = json.loads(self._run("snapshots", "--json", "--host", self.host, *words) or "[]")
        return sorted(found, key=lambda one: str(one["time"]))

    def save_stream(self, producer: Sequence[str], path: str, tags: Iterable[str], gate: Gate) -> Saved:
        """Save a program's output as one file; without a good end there is no snapshot."""
        words = self._words("backup", "--json", "--stdin", "--stdin-filename", path, "--host", self.host, _tags(tags))
        done: Relayed = relay(producer, words, gate, pace=self.pace)
        summary = _summary(done.said)
        if int(summary.get("total_bytes_processed", -1)) != done.size:
            raise Failed(f"restic stored {summary.get('total_bytes_processed')} bytes of {done.size}")
        return Saved(summary["snapshot_id"], done.size, 1, _added(summary), done.sha256)

    def save_tree(self, path: str, tags: Iterable[str]) -> Saved:
        """Save a directory with owners, modes, links; files that cannot be read make it incomplete."""
        words = self._words(
            "backup",
            "--json",
            "--one-file-system",
            f"--exclude={path}/.flotteq-restore",
            "--host",
            self.host,
            _tags(tags),
            path,
        )
        code, out, err = process.finish(words, limit=4 * 3600, pace=self.pace)
        if code not in (0, INCOMPLETE):
            raise process.failed("restic", code, err.decode(errors="replace"))
        found = _summary(out.decode())
        return Saved(
            found["snapshot_id"],
            int(found["total_bytes_processed"]),
            int(found["total_files_processed"]),
            _added(found),
            complete=code == 0,
            unread=_unread(err.decode()),
        )

    def hash_of(self, snapshot: str, path: str, *, archive: bool = False, limit: float = 4 * 3600) -> tuple[str, int]:
        """Read a file, or a directory as an archive, back to its last byte; return SHA-256 and size.

        Raises:
            Failed: a piece is missing or is not what was written.
        """
        with open(os.devnull, "wb") as sink:
            return self._read_to(sink, snapshot, path, archive=archive, limit=limit)

    def fetch(self, snapshot: str, path: str, target: Path, *, limit: float = 4 * 3600) -> tuple[str, int]:
        """Write a file of a snapshot to the disk; return SHA-256 and size.

        Raises:
            Failed: a piece is missing or is not what was written.
        """
        with target.open("wb") as sink:
            os.fchmod(sink.fileno(), 0o600)
            return self._read_to(sink, snapshot, path, archive=False, limit=limit)

    def pour(
        self,
        snapshot: str,
        path: str,
        consumer: Sequence[str],
        gate: Gate,
        *,
        environment: Mapping[str, str],
        watch: Callable[[], None],
    ) -> None:
        """Send a file of a snapshot to a program, which sees its end only when it is what was written.

        Args:
            environment: more variables for the program.
            watch: as of ``relay``.

        Raises:
            Failed, NotVerified: as of ``relay``.
        """
        words, variables = self._words("dump", snapshot, path), {**self.environment, **environment}
        relay(words, consumer, gate, environment=variables, watch=watch)

    def _read_to(self, sink: IO[bytes], snapshot: str, path: str, *, archive: bool, limit: float) -> tuple[str, int]:
        words = self._words("dump", *(["--archive", "tar"] if archive else []), snapshot, path)
        reader = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, **self.environment},
        )  # fmt: skip
        assert reader.stdout and reader.stderr  # noqa: S101
        clock = threading.Timer(limit, process.stop, [reader])
        clock.start()
        try:
            digest, size = hashlib.sha256(), 0
            with self.pace.of(reader):
                while piece := reader.stdout.read(PIECE):
                    digest.update(piece)
                    sink.write(piece)
                    size += len(piece)
            said = reader.stderr.read().decode(errors="replace")
            code = reader.wait()
        finally:
            clock.cancel()
            process.stop(reader)
        if code != 0:
            raise process.failed("restic", code, said)
        return digest.hexdigest(), size

    def read(self, snapshot: str, path: str) -> str:
        """A small file's text."""
        return self._run("dump", snapshot, path)

    def restore(self, snapshot: str, path: str, target: str, *, newer: bool = False) -> None:
        """Put a directory's content into an empty one, and compare what was written.

        Args:
            newer: the directory may have files; one that is as new as in the snapshot stays as it is.
        """
        words = ["--overwrite", "if-newer"] if newer else []
        self._run("restore", f"{snapshot}:{path}", "--target", target, "--verify", *words, limit=4 * 3600)

    def entries(self, snapshot: str, path: str) -> list[dict[str, Any]]:
        """Everything below a directory of a snapshot."""
        lines = self._run("ls", "--json", "--recursive", snapshot, path).splitlines()
        return [json.loads(line) for line in lines if '"path"' in line]

    def check(self, *, data: str = "") -> None:
        """Check structure and, of a part such as ``1/7`` or ``100%``, every byte."""
        self._run("check", *([f"--read-data-subset={data}"] if data else []), limit=4 * 3600, paced=True)

    def forget(self, snapshots: Iterable[str], *, prune: bool = False) -> None:
        """Remove snapshots."""
        ids = list(snapshots)
        if ids:
            self._run(
                "forget", *(["--prune", "--max-unused", "5%"] if prune else []), *ids, limit=4 * 3600, paced=prune
            )

    def prune(self) -> None:
        """Remove data that no snapshot needs."""
        self._run("prune", "--max-unused", "5%", limit=4 * 3600, paced=True)

    def _words(self, *words: str) -> list[str]:
        where = ["--repo", self.place, "--password-file", self.key] if self.place else []
        return ["restic", *([] if "--json" in words else ["--quiet"]), *where, *self.options, *words]

    def _run(self, *words: str, limit: float = 900, other: "Restic | None" = None, paced: bool = False) -> str:
        options, environment = (other.options, other.environment) if other else ((), {})
        both = {**environment, **self.environment}
        call = [*self._words(*words), *options]
        pace = self.pace if paced else FULL
        try:
            return process.run(call, limit=limit, environment=both, pace=pace)
        except Failed as error:
            if not self.own or "already locked" not in f"{error.message}{error.details}":
                raise
        # As in ``ensure``: one that was killed left its lock.
        process.run(self._words("unlock", "--remove-all"), environment=both)
        return process.run(call, limit=limit, environment=both, pace=pace)


def _tags(tags: Iterable[str]) -> str:
    return f"--tag={','.join(tags)}"


def _summary(said: str) -> dict[str, Any]:
    """The last message of ``backup --json``."""
    for line in reversed(said.splitlines()):
        if '"summary"' in line:
            found: dict[str, Any] = json.loads(line)
            return found
    raise Failed("restic ended without saying which snapshot it made")


def _unread(said: str) -> tuple[str, ...]:
    """The files that ``backup --json`` could not read."""
    found = []
    for line in said.splitlines():
        if '"item"' in line and '"error"' in line:
            item = str(json.loads(line).get("item", ""))
            found += [item] if item else []
    return tuple(dict.fromkeys(found))


def _added(summary: dict[str, Any]) -> int:
    return int(summary.get("data_added_packed") or summary.get("data_added") or 0)
