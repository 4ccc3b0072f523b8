"""Escrow: what a lost host and a lost laptop would take along, sealed for people who keep a key elsewhere."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import PreflightFailed, SecretError, Unhealthy, UsageError
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.backup import kit
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.settings import secrets as store

RECORD = "escrow.json"
# What a person reads first.
SUMMARY = "escrow.json"
_WITHOUT = """--without-escrow backs up all the same, and is remembered: once this host and every machine with its
secrets are lost, nobody can read the backups, wherever they lie"""


@dataclass(frozen=True)
class Escrow:
    """A kit that was written, as the host remembers it: never a value of a secret.

    Args:
        at: ISO 8601, UTC.
        secrets: fingerprint of each secret in it.
        without: a person has decided to do without.
    """

    at: str
    who: str
    recipients: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    without: bool = False


@dataclass(frozen=True)
class Written:
    """A kit: where it lies, for whom, and what is in it."""

    path: str
    recipients: tuple[str, ...]
    files: tuple[str, ...]


def write(site: Site, recipients: Iterable[str], to: str, variables: Mapping[str, str]) -> Written:
    """Write a kit of the host's secrets and the project's configuration to a file here; the host remembers it.

    Args:
        recipients: age public keys, besides those of ``backup.recipients``.
        to: the file; empty: ``escrow-PROJECT-ENVIRONMENT-DATE.age`` in the working directory.

    Raises:
        SecretError: a secret is neither on the host nor here.
        UsageError: there is no recipient, one is no public key, or the file exists.
    """
    settings = site.settings
    everybody = tuple(dict.fromkeys((*settings.backup.recipients, *recipients)))
    name = f"escrow-{settings.project.name}-{settings.environment}-{datetime.now(UTC):%Y%m%d}.age"
    path = Path(to or name)
    if path.exists():
        raise UsageError(f"{path} exists", hint="inv backup.escrow --to ANOTHER-FILE.age")
    kit.readers(everybody)
    with locked(site, holder("backup.escrow", variables)) as keeper:
        with site.report.step("read the secrets") as note:
            values = _values(site)
            note.text = f"{len(values)} secrets"
        files = {
            SUMMARY: _summary(site),
            **_project(settings),
            **{_place(settings, one): value.encode() for one, value in values.items()},
        }
        with site.report.step("seal") as note:
            programs = [one for one in files if os.access(settings.root / one, os.X_OK)]
            _private(path, kit.seal(files, everybody, programs=programs))
            note.text = f"{len(files)} files for {len(everybody)} recipients"
        marks = {one: store.fingerprint(one, Secret(value)) for one, value in values.items()}
        remember(site, Escrow(_now(), holder("", variables)["who"], everybody, marks))
        keeper.write("backup.escrow", recipients=len(everybody), secrets=sorted(marks))
    return Written(str(path), everybody, tuple(files))


def require(site: Site, variables: Mapping[str, str], *, first: bool, without: bool) -> None:
    """Refuse a first backup that only its own host could read.

    Args:
        first: the host has no set yet.
        without: a person says that it is meant so.

    Raises:
        PreflightFailed: no kit was ever written for this host.
    """
    if not (first and site.settings.backup.escrow) or recorded(site) is not None:
        return
    if not without:
        raise PreflightFailed(
            f"{site.host.name}: no escrow kit was written yet: whoever loses this host loses its backups, because the "
            "secret that opens them lies here",
            hint=f"inv backup.escrow --recipient age1…\n{_WITHOUT}",
        )
    remember(site, Escrow(_now(), holder("", variables)["who"], without=True))
    site.report.warn(_WITHOUT.replace("\n", " "))


def check(site: Site, path: str, identity: str) -> list[str]:
    """Open a kit as in a disaster and compare its secrets with the host's; return the names of those that are alike.

    Args:
        path: the kit.
        identity: a file of age private keys; it is read here and goes nowhere.

    Raises:
        Unhealthy: the kit lacks a secret, or has an older value.
        FlotteqError: it does not open.
        UsageError: one of the files cannot be read.
    """
    with site.report.step("open the escrow kit") as note:
        key = _read("--identity", identity, "a file that age-keygen -o wrote").decode(errors="replace")
        files = kit.opened(_read("--kit", path, "a file that inv backup.escrow wrote"), key)
        on_host = site.engine.facts().secrets
        found = {name: files.get(_place(site.settings, name)) for name in site.settings.secrets if name in on_host}
        wrong = [
            name
            for name, value in found.items()
            if value is None or store.fingerprint(name, Secret(value.decode())) != on_host[name]
        ]
        if wrong:
            raise Unhealthy(
                f"{path} is older than the secrets of {site.host.name}: {', '.join(wrong)}", hint="inv backup.escrow"
            )
        note.text = f"{len(found)} secrets are those of the host"
    return list(found)


def recorded(site: Site) -> Escrow | None:
    """The last kit that was written, or the decision to do without; None: neither."""
    text = site.host.read(f"{site.state}/{RECORD}")
    if text is None:
        return None
    found: dict[str, Any] = json.loads(text)
    return Escrow(found["at"], found["who"], tuple(found["recipients"]), found["secrets"], found["without"])


def remember(site: Site, one: Escrow) -> None:
    """Leave a note on the host."""
    document = {
        "at": one.at,
        "who": one.who,
        "recipients": list(one.recipients),
        "secrets": dict(one.secrets),
        "without": one.without,
    }
    site.host.write(f"{site.state}/{RECORD}", File(json.dumps(document, sort_keys=True).encode(), mode=0o640))


def _values(site: Site) -> dict[str, str]:
    """The host's newest value of each secret, else the local one."""
    settings = site.settings
    found, missing = {}, []
    for name in settings.secrets:
        raw = site.host.read(f"{settings.directory}/secrets/{name}")
        local = store.read(settings.root, settings.environment, name) if raw is None else store.check_value(name, raw)
        if local is None:
            missing.append(name)
        else:
            found[name] = local.reveal()
    if missing:
        raise SecretError(
            f"secrets are missing, here and on {site.host.name}: {', '.join(missing)}", hint="inv secrets.list"
        )
    return found


def _summary(site: Site) -> bytes:
    release = site.engine.facts().release
    document = {
        "written": _now(),
        "project": site.settings.project.name,
        "environment": site.settings.environment,
        "version": release.version if release else "",
        "images": dict(release.images) if release else {},
        "copies": {name: one.repository for name, one in site.settings.backup.copies.items()},
    }
    return json.dumps(document, indent=2, sort_keys=True).encode()


def _project(settings: Settings) -> dict[str, bytes]:
    names = [
        "flotteq.toml", "flotteq.local.toml", "tasks.py", f".env.{settings.environment}", settings.host.known_hosts,
        settings.acme.ca_file, settings.project.compose_file, "compose", "nginx", "hooks",
    ]  # fmt: skip
    return kit.local_files(settings.root, [name for name in names if name and not Path(name).is_absolute()])


def _place(settings: Settings, name: str) -> str:
    return f"{store.DIRECTORY}/{settings.environment}/{name}"


def _private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(flag: str, path: str, meant: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{flag} {path}: cannot be read: {error.strerror}", hint=f"it is {meant}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
