"""Copy sets to other repositories, and bring them back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flotteq_tasks.model.backup import Away, BackupSet, joined
from flotteq_tasks.model.errors import SecretError, SettingsError
from flotteq_tasks.model.stack import CopySettings
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.backup.sets import RESTORING, everywhere, prepare
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.names import unknown

# Where the job finds the secrets of copies; /run/secrets belongs to the Compose file.
SECRETS = "/run/copies"


@dataclass(frozen=True)
class Elsewhere:
    """What the job needs to reach other repositories: words behind its command, and files."""

    words: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


def elsewhere(site: Site, names: Iterable[str] | None = None) -> Elsewhere:
    """Describe other repositories to the job.

    Args:
        names: which; None: all of flotteq.toml.

    Raises:
        SecretError: the host does not have a secret that they need.
    """
    copies = site.settings.backup.copies
    chosen = {name: copies[name] for name in (copies if names is None else names)}
    secrets = list(dict.fromkeys(secret for copy in chosen.values() for secret in copy.secrets))
    on_host = site.engine.facts().secrets if secrets else {}
    missing = [secret for secret in secrets if secret not in on_host]
    if missing:
        # Docker would make directories where files are missing.
        raise SecretError(
            f"{site.host.name} does not have the secrets of the copies: {', '.join(missing)}",
            hint="\n".join([*(f"inv secrets.set {secret}" for secret in missing), "inv secrets.push"]),
        )
    return Elsewhere(
        tuple(word for name, copy in chosen.items() for word in ("--to", _described(name, copy))),
        tuple(f"{site.settings.directory}/secrets/{secret}:{SECRETS}/{secret}:ro" for secret in secrets),
    )


def _described(name: str, copy: CopySettings) -> str:
    return json.dumps(
        {
            "name": name,
            "repository": copy.repository,
            "password": copy.password,
            "ssh_key": copy.ssh_key,
            "host_key": copy.host_key,
            "credentials": dict(copy.credentials),
        },
        sort_keys=True,
    )


def named(site: Site, name: str) -> list[str]:
    """The copies that a person means: one, or all of flotteq.toml.

    Raises:
        SettingsError: flotteq.toml has none.
        UsageError: there is none of that name.
    """
    copies = list(site.settings.backup.copies)
    if not copies:
        raise SettingsError(
            "flotteq.toml has no [backup.copies.NAME]: there is no other repository",
            hint="docs/BACKUPS.md, Off-site copies",
        )
    if name and name not in copies:
        raise unknown("copy", name, copies)
    return [name] if name else copies


def copy(site: Site, name: str, variables: Mapping[str, str]) -> dict[str, list[str]]:
    """Copy every verified set to other repositories that do not have it; return the ids that went to each.

    Args:
        name: of a copy; empty: to all.

    Raises:
        FlotteqError: one could not be reached or written; the sets on the host stay as they are.
    """
    names = named(site, name)
    with locked(site, holder("backup.copy", variables)) as keeper:
        prepare(site)
        there = elsewhere(site, names)
        found = run_job(site, ["copy", *there.words], volumes=there.volumes)
        copied: dict[str, list[str]] = found["copied"]
        keeper.write("backup.copy", copied=copied)
    return copied


def listed(site: Site, name: str, variables: Mapping[str, str]) -> list[BackupSet]:
    """The sets that exist anywhere, oldest first; other repositories are asked what they have.

    Args:
        name: of a copy; empty: all are asked.

    Raises:
        FlotteqError: one could not be reached.
    """
    names = named(site, name)
    with locked(site, holder("backup.list --copies", variables)):
        prepare(site)
        there = elsewhere(site, names)
        found = run_job(site, ["elsewhere", *there.words], volumes=there.volumes)
    return joined(everywhere(site), {copy: [Away(**one) for one in sets] for copy, sets in found["copies"].items()})


def fetch(site: Site, name: str, wanted: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Bring a set back from another repository into the host's own, and read it back; return its id and parts.

    Args:
        name: of the copy; may be empty where there is only one.
        wanted: an id, the beginning of one, or ``latest``: the newest there.

    Raises:
        UsageError: there are several copies and none was named.
        FlotteqError: it could not be reached (1), there is no such set (2), or what came is damaged (5).
    """
    names = named(site, name)
    if len(names) > 1:
        raise unknown("copy", name or "(none)", names)
    with locked(site, holder(f"backup.fetch {wanted}", variables)) as keeper:
        prepare(site)
        there = elsewhere(site, names)
        # A base backup brings the log along, whose segments belong to the receiver.
        owners = RESTORING if site.settings.backup.pitr else ()
        found = run_job(site, ["fetch", wanted, *there.words], volumes=there.volumes, capabilities=owners)
        keeper.write("backup.fetch", id=found["id"], source=names[0])
    return found


def verify(
    site: Site, name: str, wanted: str, variables: Mapping[str, str], *, full_speed: bool = False
) -> dict[str, Any]:
    """Read a set back from another repository to its last byte; return its id and parts.

    Args:
        name: of the copy.
        wanted: an id of the host's own sets, the beginning of one, or ``latest``.
        full_speed: without the pauses of ``backup.duty``.

    Raises:
        FlotteqError: it is not there (2), it could not be reached (1), or it is damaged (5).
    """
    names = named(site, name)
    with locked(site, holder(f"backup.verify {wanted} --copy {name}", variables)) as keeper:
        there = elsewhere(site, names)
        found = run_job(site, ["verify", wanted, *there.words], volumes=there.volumes, full_speed=full_speed)
        keeper.write("backup.verify", id=found["id"], source=name)
    return found
