"""Repositories elsewhere: how they are opened, what goes there and what comes back."""

import base64
import binascii
import json
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flotteq_backup import manifest
from flotteq_backup.errors import Failed, Unknown
from flotteq_backup.ledger import Ledger, moment
from flotteq_backup.pace import FULL, Pace
from flotteq_backup.restic import Restic
from flotteq_backup.say import say
from flotteq_backup.settings import Settings

SECRETS = Path("/run/copies")
KEYS = Path("/run/keys")
# Seconds.
CONNECT = 15
_PORTS = {"http": 80, "https": 443}
# A peer that is gone ends the connection after 45 s; nobody is asked for anything.
_SSH = (
    "-o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3 -o IdentitiesOnly=yes "
    "-o StrictHostKeyChecking=yes"
)


@dataclass(frozen=True)
class Copy:
    """One other repository.

    Args:
        repository: as restic writes it: ``sftp:…``, ``rest:…``, ``s3:…``.
        password, ssh_key: names of secrets; the key is the private key's file as one line of base64.
        host_key: the SSH server's public key: ``ssh-ed25519 AAAA…``.
        credentials: restic's variables, each with the name of the secret that it gets.
    """

    name: str
    repository: str
    password: str = "restic_password"  # noqa: S105 - a name
    ssh_key: str = ""
    host_key: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> "Copy":
        """From the JSON of an argument; nothing in it is secret."""
        return cls(**json.loads(text))

    def open(self, host: str, secrets: Path = SECRETS, keys: Path = KEYS, *, pace: Pace = FULL) -> Restic:
        """The repository, with files for its key and variables for its credentials.

        Args:
            host: restic's host: project and environment.
            secrets: directory in which every secret is a file.
            keys: directory in memory.
            pace: with which pauses it works.

        Raises:
            Failed: a secret is missing or is no key, or nobody listens at the address.
        """
        self._answers()
        environment = {variable: self._secret(secrets, name) for variable, name in self.credentials.items()}
        options = ("-o", f"sftp.args={self._ssh(secrets, keys)}") if self.repository.startswith("sftp:") else ()
        return Restic(host, options, self.repository, str(secrets / self.password), environment, pace=pace)

    def _answers(self) -> None:
        """Ask for a connection: restic itself would try for a quarter of an hour before it says anything."""
        url = urlsplit(self.repository.partition(":")[2])
        if url.hostname and url.scheme in _PORTS:
            try:
                socket.create_connection((url.hostname, url.port or _PORTS[url.scheme]), timeout=CONNECT).close()
            except OSError as error:
                raise Failed(f"{url.hostname} does not answer: {error.strerror or error}") from error

    def _ssh(self, secrets: Path, keys: Path) -> str:
        keys.mkdir(mode=0o700, exist_ok=True)
        known, identity = keys / f"{self.name}.known", keys / self.name
        known.write_text(f"{self.name} {self.host_key}\n")
        try:
            _private(identity, base64.b64decode(self._secret(secrets, self.ssh_key), validate=True))
        except binascii.Error:
            raise Failed(
                f"the secret {self.ssh_key} is no SSH key in one line of base64",
                hint=f"base64 -w0 id_ed25519 | inv secrets.set {self.ssh_key}",
            ) from None
        return f"{_SSH} -o UserKnownHostsFile={known} -o HostKeyAlias={self.name} -i {identity}"

    def _secret(self, secrets: Path, name: str) -> str:
        try:
            return (secrets / name).read_text().strip()
        except OSError as error:
            raise Failed(f"the secret {name} of the copy {self.name} is not there: {error.strerror}") from error


def send(store: Restic, away: Restic, name: str, ledger: Ledger) -> list[str]:
    """Copy every verified set that another repository does not have; return their ids.

    Snapshots of parts go before the manifests: a set without manifest is none. Nothing is removed there, ever. What
    was removed there stays away, as retention there wants it, unless nothing at all is left.

    Raises:
        Failed: the other repository cannot be opened or written; what was copied before stays.
    """
    away.ensure(like=store)
    first, found = firsts(store), away.snapshots()
    there, runs = _firsts(found), {_run(one) for one in found}
    for one in ledger.sets(gone=True).values():
        if one.get("gone") and name in one.get("copies", ()) and one["id"] not in runs:
            ledger.add("lost", id=one["id"], to=name)
    sets = [one for one in ledger.sets().values() if one.get("verified")]
    for one in sets:
        if name in one.get("copies", ()) and not _is_there(one, first, there):
            ledger.add("lost", id=one["id"], to=name)
            one["lost"] = [*one.get("lost", ()), name]
    wanted = [one for one in sets if not there or name not in one.get("lost", ())]
    missing = [one for one in wanted if not _is_there(one, first, there)]
    away.copy(store, [id_ for one in missing for id_ in _parts(one)])
    away.copy(store, [one["manifest"] for one in missing])
    there = firsts(away)
    for one in wanted:
        if not _is_there(one, first, there):
            raise Failed(f"set {one['id']} is not whole after it was copied")
        if one in missing or name not in one.get("copies", ()):
            ledger.add("copied", id=one["id"], to=name)
    return [one["id"] for one in missing]


def send_all(settings: Settings, store: Restic, ledger: Ledger, copies: list[Copy]) -> dict[str, list[str]]:
    """Copy to every other repository; one that fails does not keep the others from theirs.

    Raises:
        Failed: names each that failed.
    """
    done: dict[str, list[str]] = {}
    failures: dict[str, Failed] = {}
    for copy in copies:
        try:
            with say.step(f"copy to {copy.name}") as note:
                done[copy.name] = send(store, copy.open(settings.name, pace=store.pace), copy.name, ledger)
                note.text = f"{len(done[copy.name])} sets"
        except Failed as error:
            failures[copy.name] = error
            say.warn(f"{copy.name}: {error.message}")
    if failures:
        first = next(iter(failures.values()))
        raise Failed(
            "; ".join(f"the copy {name} failed: {one.message}" for name, one in failures.items()),
            hint="the sets on the host are untouched; when the other side answers again: inv backup.copy",
            details=first.details,
        )
    return done


def bring(store: Restic, away: Restic, copy: Copy, wanted: str, name: str) -> str:
    """Copy one set from another repository; return its id.

    Args:
        wanted: an id, the beginning of one, ``latest``, or ``base`` for the newest base backup.
        name: project and environment that it must be of.

    Raises:
        Unknown: there is no such set there; the newest are named.
    """
    by_run = {_run(one): one for one in away.snapshots("part=manifest")}
    based = {_run(one) for one in away.snapshots("part=base")}
    newest = {"latest": set(by_run) - based, "base": set(by_run) & based}
    found = sorted(newest[wanted] if wanted in newest else (run for run in by_run if run.startswith(wanted)))
    if not found or (len(found) > 1 and wanted not in newest):
        known = ", ".join(sorted(by_run)[-5:]) or "none"
        what = "more than one set" if found else "no set"
        raise Unknown(f"{what} {wanted} of {name} in {copy.name}", hint=f"the newest there: {known}")
    manifest_ = by_run[found[-1]]["id"]
    parts = [one["id"] for one in away.snapshots(f"run={found[-1]}") if one["id"] != manifest_]
    store.copy(away, parts)
    store.copy(away, [manifest_])
    return found[-1]


def whole(away: Restic) -> list[dict[str, Any]]:
    """The sets that a repository has, oldest first: id, moment, and the size of each part.

    Told by its list of snapshots alone: to read every manifest would take a second for each.
    """
    found: dict[str, dict[str, Any]] = {}
    there = away.snapshots()
    for one in there:
        if "part=manifest" in one.get("tags", ()):
            found[_run(one)] = {"id": _run(one), "created": moment(one["time"]), "parts": {}}
    for one in there:
        part = next((tag[5:] for tag in one.get("tags", ()) if tag.startswith("part=")), "")
        if part != "manifest" and _run(one) in found:
            # Restic before 0.17 did not write down how much a snapshot holds.
            found[_run(one)]["parts"][part] = int(one.get("summary", {}).get("total_bytes_processed", 0))
    return list(found.values())


def document(store: Restic, away: Restic, entry: Mapping[str, Any], copy: str) -> dict[str, Any]:
    """A set's manifest as another repository has it, with the snapshots of that one.

    Raises:
        Unknown: the set is not there.
    """
    run = f"run={entry['id']}"
    first, there = firsts(store, run), {one: id_ for id_, one in firsts(away, run).items()}
    if not {first[id_] for id_ in _ids(entry)} <= set(there):
        raise Unknown(f"set {entry['id']} is not in {copy}", hint="inv backup.copy")
    found = manifest.load(away, there[first[entry["manifest"]]])
    for part, one in found["parts"].items():
        one["snapshot"] = there[first[entry["parts"][part]["snapshot"]]]
    return found


def firsts(store: Restic, *tags: str) -> dict[str, str]:
    """Every snapshot and the one that it is a copy of, maybe over several repositories; itself where it is none."""
    return _firsts(store.snapshots(*tags))


def _firsts(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(one["id"]): str(one.get("original") or one["id"]) for one in snapshots}


def _is_there(entry: Mapping[str, Any], first: Mapping[str, str], there: Mapping[str, str]) -> bool:
    return {first.get(id_, id_) for id_ in _ids(entry)} <= set(there.values())


def _private(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _run(snapshot: Mapping[str, Any]) -> str:
    return next((tag[4:] for tag in snapshot.get("tags", ()) if tag.startswith("run=")), "")


def _parts(entry: Mapping[str, Any]) -> list[str]:
    return [one["snapshot"] for one in entry["parts"].values()]


def _ids(entry: Mapping[str, Any]) -> list[str]:
    return [entry["manifest"], *_parts(entry)]
