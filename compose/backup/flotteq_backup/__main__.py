"""The program's commands. Each holds the repository's lock, speaks its result as JSON and ends with its exit code."""

import argparse
import contextlib
import dataclasses
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flotteq_backup import (
    archive,
    arguments,
    backup,
    copies,
    drill,
    metrics,
    postgres,
    recover,
    restore,
    retention,
    trees,
    wal,
)
from flotteq_backup.copies import Copy
from flotteq_backup.errors import FAILED, Busy, Empty, Failed, NotCopied, NotVerified, Unknown
from flotteq_backup.ledger import Ledger, alone
from flotteq_backup.library import Library
from flotteq_backup.say import say
from flotteq_backup.settings import PARTS, Settings, give_credentials

# Seconds.
PATIENCE = 60
# What works with pauses: nobody waits for it. A restore and a drill work without, and so does the set before a deploy.
PACED = ("run", "run-volume", "base", "wal", "copy", "verify", "prune")


class Program(Library):
    """The commands."""

    def run(self, given: argparse.Namespace) -> Any:
        """Take a set."""
        if given.quick:
            return self.run_quick(given)
        return self._run(given, [part for part in PARTS if part in given.part])

    def base(self, given: argparse.Namespace) -> Any:
        """Take a set of the whole cluster, and store the log that leads on from it."""
        entry = self._run(given, ["base"])
        self.wal(given)
        return entry

    def wal(self, given: argparse.Namespace) -> Any:
        """Store the received log, here and elsewhere."""
        self.open()
        with say.step("log") as note:
            document = archive.push(self.settings, self.store)
            note.text = f"{document['size'] >> 10} KiB, {document['added'] >> 10} KiB new"
        self._measure_log(document["at"])
        try:
            archive.send(self.settings, self.store, document["snapshot"], given.to)
        except Failed as error:
            raise NotCopied(error.message, hint=error.hint, details=error.details) from error
        return document

    def _measure_log(self, stored: str) -> None:
        slot = None
        # A server that does not answer is what the measure says; the log is stored all the same.
        with contextlib.suppress(Failed), postgres.Session(self.settings, "postgres") as session:
            slot = wal.slot(session)
        samples = metrics.of_log(slot, stored)
        try:
            metrics.write_file(metrics.PLACE, self.settings.name, f"{self.settings.name}-wal", samples)
        except OSError as error:
            say.warn(f"metrics: {error.strerror or error}")

    def recover_db(self, given: argparse.Namespace) -> Any:
        """Recover the cluster to a moment, and restore its database beside the live one."""
        self.learn()
        to = datetime.fromisoformat(given.to)
        entry = recover.choose(self.ledger.sets().values(), to)
        recovery = recover.Recovery(self.settings, self.store, entry, to)
        with recovery.dump(self.document(dict(entry))) as (path, facts):
            made = {"id": entry["id"], "parts": {"db": {"facts": facts}}}
            return restore.Beside(self.settings, self.store, made, given.target, dump=path).make()

    def _run(self, given: argparse.Namespace, parts: list[str]) -> Any:
        self.open()
        self.catch_up()
        left = backup.sweep(self.store)
        if left:
            say.warn(f"removed {len(left)} snapshots of a backup that did not end")
        self.learn()
        taking = backup.Taking(self.settings, self.store, self.ledger, given.reason, given.keep_days)
        entry = taking.take(parts)
        try:
            copies.send_all(self.settings, self.store, self.ledger, given.to)
        except Failed as error:
            raise NotCopied(
                f"set {entry['id']} is good on the host, but {error.message}", hint=error.hint, details=error.details
            ) from error
        return entry

    def copy(self, given: argparse.Namespace) -> Any:
        """Copy every verified set to other repositories that do not have it."""
        self.open()
        self.learn()
        return {"copied": copies.send_all(self.settings, self.store, self.ledger, given.to)}

    def fetch(self, given: argparse.Namespace) -> Any:
        """Bring a set back from another repository, and read it back."""
        (copy,) = given.to
        away = copy.open(self.settings.name)
        with say.step(f"open {copy.name}"):
            made = self.store.ensure(like=away)
        if made:
            # The ledger has outlived its repository: what it names is not here any more.
            for name in self.ledger.sets():
                self.ledger.add("removed", id=name)
        with say.step("fetch") as note:
            found = copies.bring(self.store, away, copy, given.id, self.settings.name)
            self.learn()
            based = self.ledger.sets().get(found, {}).get("base")
            if based:
                archive.bring(self.store, away, based["stopped"])
                archive.unpack(self.settings, self.store, based["chain"])
            note.text = found
        verified = self.verify(argparse.Namespace(id=found, data="", to=[]))
        if copy.name not in self.ledger.sets()[found].get("copies", ()):
            self.ledger.add("copied", id=found, to=copy.name)
        return verified

    def elsewhere(self, given: argparse.Namespace) -> Any:
        """Say which sets other repositories have; nothing is changed, here or there."""
        return {"copies": {copy.name: copies.whole(copy.open(self.settings.name)) for copy in given.to}}

    def run_quick(self, given: argparse.Namespace) -> Any:
        """Take a set of the database with as few runs of restic as it takes; none of a database without a table."""
        try:
            return self._quick(given)
        except Failed as error:
            if not error.message.startswith("restic ended"):
                raise
        # No repository yet, or locked by a run that died: whatever else it is, this says it in words.
        self.open()
        return self._quick(given)

    def _quick(self, given: argparse.Namespace) -> Any:
        taking = backup.Taking(self.settings, self.store, self.ledger, given.reason, given.keep_days, quick=True)
        try:
            return taking.take(["db"])
        except Empty:
            return {"id": "", "parts": {}}

    def verify(self, given: argparse.Namespace) -> Any:
        """Read a set back, and check the repository."""
        chosen = self.choose(given.id)
        if given.to:
            return self._verify_copy(given.to[0], chosen)
        try:
            with say.step("read back") as note:
                document = self.document(chosen)
                note.text = backup.verify(self.store, document)
        except Unknown:
            raise
        except Failed as error:
            self.ledger.add("verified", id=chosen["id"], ok=False, problem=error.message)
            raise NotVerified(
                f"set {chosen['id']} is damaged: {error.message}", hint="inv backup.all", details=error.details
            ) from error
        try:
            with say.step("check the repository") as note:
                data = f"{datetime.now(UTC).isoweekday()}/7" if given.data == "weekday" else given.data
                self.store.check(data=data)
                note.text = f"{data} of its data" if data else "structure"
        except Failed as error:
            hurt = self._hurt()
            what = f"set {', '.join(hurt)} is damaged" if hurt else "the repository is damaged, every set can be read"
            raise NotVerified(f"{what}: {error.message}", hint="inv backup.all", details=error.details) from error
        self.ledger.add("verified", id=document["id"], ok=True)
        return {"id": document["id"], "parts": sorted(document["parts"])}

    def _hurt(self) -> list[str]:
        """Read every set that counts, the newest first, and mark those that are damaged; their ids.

        A check looks at the whole repository: what it finds need not be a piece of the set that was asked for.
        """
        # What is read from the cache proves nothing of the repository.
        store, hurt = dataclasses.replace(self.store, options=(*self.store.options, "--no-cache")), list[str]()
        for one in reversed([one for one in self.ledger.sets().values() if one.get("verified")]):
            with say.step(f"read back {one['id']}") as note:
                try:
                    note.text = backup.verify(store, self.document(one, store))
                except Failed as error:
                    note.text = error.message
                    hurt.append(str(one["id"]))
                    self.ledger.add("verified", id=one["id"], ok=False, problem=error.message)
        return hurt

    def _verify_copy(self, copy: Copy, chosen: dict[str, Any]) -> Any:
        away = copy.open(self.settings.name, pace=self.store.pace)
        with say.step(f"read back from {copy.name}") as note:
            document = copies.document(self.store, away, chosen, copy.name)
            note.text = backup.verify(away, document)
        return {"id": document["id"], "parts": sorted(document["parts"])}

    def restore_db(self, given: argparse.Namespace) -> Any:
        """Restore a set's database beside the live one."""
        document = self.document(self.choose(given.id, "db"))
        taken, here = document["parts"]["db"]["database"], self.settings.database
        if taken != here:
            raise Unknown(
                f"set {document['id']} is one of the database {taken}, not of {here}",
                hint="database.name in flotteq.toml; by hand: docs/RESTORE.md, Without this program",
            )
        return restore.Beside(self.settings, self.store, document, given.target).make()

    def restore_tree(self, given: argparse.Namespace) -> Any:
        """Restore a set's files beside those that are there, compare them, and exchange both."""
        document = self.document(self.choose(given.id, given.part))
        root, stamp = Path(given.place), f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        trees.finish(root)
        with say.step("restore beside") as note:
            incoming = trees.beside(root, "new")
            note.text = trees.restore(self.store, document["parts"][given.part], incoming)
            if given.part == "certs":
                note.text += f", {trees.check_certificates(incoming)}"
        with say.step("exchange") as note:
            count = trees.exchange(root, incoming, root / trees.KEPT / f"before-{stamp}")
            trees.own(root, document["parts"][given.part])
            note.text = f"{count} entries"
        return {"id": document["id"], "part": given.part, "before": f"before-{stamp}"}

    def undo_tree(self, given: argparse.Namespace) -> Any:
        """Exchange the files with those from before the last restore; once more: the other way round."""
        root = Path(given.place)
        trees.finish(root)
        kept = trees.former(root)
        if not kept:
            raise Failed(f"there are no {given.part} from before a restore")
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        trees.exchange(root, kept[-1], root / trees.KEPT / f"before-{stamp}")
        return {"id": "", "part": given.part, "before": f"before-{stamp}"}

    def finish_tree(self, given: argparse.Namespace) -> Any:
        """Bring an exchange to its end that was cut off; remove what was being restored when there was none."""
        root = Path(given.place)
        count = trees.finish(root)
        shutil.rmtree(root / trees.KEPT / "new", ignore_errors=True)
        return {"part": given.part, "exchanged": bool(count)}

    def run_volume(self, given: argparse.Namespace) -> Any:
        """Take a set of one directory that is mounted for this run."""
        self.open()
        self.catch_up()
        settings = dataclasses.replace(self.settings, sources={given.part: given.place})
        taking = backup.Taking(settings, self.store, self.ledger, given.reason, given.keep_days)
        return taking.take([given.part])

    def prune(self, given: argparse.Namespace) -> Any:
        """Remove the sets that retention does not keep, and the data that no other needs."""
        self.learn()
        sets, now = sorted(self.ledger.sets().values(), key=retention.created), datetime.now(UTC)
        events = self.ledger.events()
        found = retention.plan(sets, retention.Keep(*self.settings.keep), now)
        retention.guard(sets, found, events[-1]["at"] if events else "", now, many=given.many)
        if not given.dry_run and found.remove:
            going = [one for one in sets if one["id"] in found.remove]
            with say.step("remove") as note:
                self.store.forget([id_ for one in going for id_ in _snapshots(one)], prune=True)
                for one in going:
                    self.ledger.add("removed", id=one["id"])
                note.text = f"{len(going)} sets"
        if not given.dry_run:
            self._trim()
        return {"keep": found.keep, "remove": found.remove, "dry_run": given.dry_run}

    def _trim(self) -> None:
        """Remove what no base backup needs of the received log."""
        place = wal.folder(self.settings)
        if not wal.chains(place):
            return
        bases = [one["base"] for one in self.ledger.sets().values() if one.get("base")]
        with say.step("log") as note:
            self.store.forget(archive.outdated(self.store, self.settings.place, bases))
            note.text = f"{wal.trim(place, bases)} segments removed"
            # Every snapshot of the log takes the place of the one before.
            self.store.prune()

    def drill(self, given: argparse.Namespace) -> Any:
        """Restore a set where nobody uses it."""
        chosen = self.choose(given.id)
        started = time.monotonic()
        try:
            document = self.document(chosen)
            if "base" in document["parts"]:
                found = recover.Recovery(self.settings, self.store, chosen).prove(document)
            else:
                found = drill.drill(self.settings, self.store, document)
        except Unknown:
            raise
        except Failed as error:
            seconds = round(time.monotonic() - started, 1)
            self.ledger.add("drilled", id=chosen["id"], ok=False, seconds=seconds, problem=error.message)
            raise NotVerified(
                f"set {chosen['id']} could not be restored: {error.message}",
                hint="inv backup.all",
                details=error.details,
            ) from error
        self.ledger.add("drilled", id=chosen["id"], ok=True, seconds=found["seconds"])
        return found


def _snapshots(entry: dict[str, Any]) -> list[str]:
    return [entry["manifest"], *(one["snapshot"] for one in entry["parts"].values())]


def main(words: list[str], variables: dict[str, str]) -> int:
    """Run one command."""
    given = arguments.parser().parse_args(words)
    settings, started, code = Settings.read(variables), time.monotonic(), 0
    if given.command not in PACED or getattr(given, "quick", False):
        settings = dataclasses.replace(settings, duty=1)
    try:
        # Where a log is received, what stores it every few minutes holds the lock for some seconds.
        with alone(Path(settings.place), PATIENCE if wal.folder(settings).is_dir() else 0):
            give_credentials(settings)
            say.result("ok", getattr(Program(settings), given.command.replace("-", "_"))(given))
    except Busy as error:
        if given.command == "wal":
            say.result("ok", {"skipped": error.message})
            return 0
        say.result("failed", {"message": error.message, "hint": error.hint, "details": error.details})
        code = error.code
    except Failed as error:
        say.result("failed", {"message": error.message, "hint": error.hint, "details": error.details})
        code = error.code
    except subprocess.TimeoutExpired as error:
        say.result("failed", {"message": f"{error.cmd[0]} did not end within {error.timeout:g} s and was killed"})
        code = FAILED
    except OSError as error:
        # Of this container's own files: a disk that is full where the ledger is written, a directory that is not there.
        what = error.strerror or str(error)
        say.result("failed", {"message": f"{what}: {error.filename}" if error.filename else what})
        code = FAILED
    # Both are drilled by one job: the second must not take the place of the first.
    job = "drill-base" if given.command == "drill" and given.id == "base" else given.command
    _measure(settings, job, code, time.monotonic() - started)
    return code


def _measure(settings: Settings, command: str, code: int, seconds: float) -> None:
    job = metrics.of_job(command, time.time(), code, seconds)
    try:
        sets = Ledger(settings.place / "ledger.jsonl").sets().values()
        metrics.write(metrics.PLACE, settings.name, settings.place, sets, job)
    except OSError as error:
        # Monitoring that cannot be told is no reason to call a good set bad; what is missing there alarms.
        say.warn(f"metrics: {error.strerror or error}")


if __name__ == "__main__":
    import os

    sys.exit(main(sys.argv[1:], dict(os.environ)))
