"""What a service writes to belongs to the user that it runs as, also on a host where it ran as root before."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flotteq_tasks.commands import ownership
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site

_NUMBERS = re.compile(r"(\d+)(?::(\d+))?")


def hand_over(settings: Settings, config: Mapping[str, Any]) -> Command:
    """The command that hands everything over; nothing happens where it is so already.

    Args:
        config: the resolved Compose file: a release from before users were set has none, and nothing to hand over.
    """
    return ownership.hand_over((owner, place) for _, owner, place in _writable(settings, config))


def settle(site: Site, place: str, *, whole: bool = False) -> None:
    """Let a service write again where a restore has put back what had other owners in its time.

    Args:
        place: a volume, or a directory on the host.
        whole: the files are the service's as well; else they keep the owners that the set knows, and only directories
            are handed over.
    """
    found = [(owner, one) for _, owner, one in _writable(site.settings, site.engine.config()) if one == place]
    if found:
        site.host.run(ownership.hand_over(found, whole=whole), timeout=600)


def handed(text: str) -> Iterator[str]:
    """What ``hand_over`` printed, in sentences."""
    for line in text.splitlines():
        _, place, owner, count = line.split()
        yield f"{place}: {count} files now belong to {owner}, as which its service runs"


def foreign(settings: Settings, config: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    """Volumes that a deploy hands over, in sentences; a look at the outermost directory only."""
    for service, owner, place in _writable(settings, config):
        now = facts.owners.get(place, "")
        if now and now.partition(":")[0] != owner.partition(":")[0]:
            yield f"{place} belongs to {now}; the deploy hands it over to {owner}, as which {service} runs"


def torn(settings: Settings, config: Mapping[str, Any], facts: Facts, services: list[str]) -> Iterator[str]:
    """Databases that could not read their own files: handing those over would break the server that runs.

    Args:
        services: whose containers are to be replaced.
    """
    for service, owner, place in _volumes(settings, config, ("stateful",)):
        now = facts.owners.get(place, "")
        if service in services and now and now.partition(":")[0] != owner.partition(":")[0]:
            yield f"{place} belongs to {now}, but services.{service}.user is {owner}: it could not start"


def _writable(settings: Settings, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Service, owner and place: volumes of what rolls, directories of the project that anything else writes to."""
    yield from _volumes(settings, config, ("rolling",))
    for service, owner, body in _owned(settings, config, ("rolling", "edge", "tool")):
        for mount in body.get("volumes") or []:
            own = str(mount.get("source", "")).startswith(f"{settings.directory}/")
            if mount.get("type") == "bind" and own and not mount.get("read_only"):
                yield service, owner, str(mount["source"])


def _volumes(settings: Settings, config: Mapping[str, Any], kinds: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    names = {key: str((body or {}).get("name") or key) for key, body in (config.get("volumes") or {}).items()}
    for service, owner, body in _owned(settings, config, kinds):
        for mount in body.get("volumes") or []:
            if mount.get("type") == "volume" and not mount.get("read_only"):
                yield service, owner, names.get(str(mount.get("source", "")), str(mount.get("source", "")))


def _owned(
    settings: Settings, config: Mapping[str, Any], kinds: tuple[str, ...]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Services of these kinds whose user is a number: a name means something in their image only."""
    for service, body in (config.get("services") or {}).items():
        spec, numbers = settings.services.get(service), _NUMBERS.fullmatch(str((body or {}).get("user") or ""))
        if spec is not None and spec.kind in kinds and numbers:
            yield service, f"{numbers[1]}:{numbers[2] or numbers[1]}", body
