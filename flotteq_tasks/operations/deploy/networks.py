"""Containers that stay while the networks of a release are others: they join those while they run.

A database that is not replaced must be found by the new containers, and one that is replaced by the old ones, which
serve until the switch. Docker can connect a running container; its connections in other networks do not notice.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from flotteq_tasks.commands import ownership
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site


@dataclass(frozen=True)
class Moves:
    """What a release wants of the networks of what does not roll.

    Args:
        wanted: names of networks, by service.
        lacking: of containers that stay: service → networks to join.
        former: of services that are replaced: networks in which the old containers of others still look for them.
        leaving: networks that containers of databases are in and the release does not give them.
    """

    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leaving: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def words(self) -> list[str]:
        """What a plan says of them."""
        return [f"{name} joins {', '.join(names)} while it runs" for name, names in self.lacking.items()]


def moves(settings: Settings, config: Mapping[str, Any], facts: Facts, changed: set[str]) -> Moves:
    """Compare the networks of the containers that run with those of a release. Pure.

    Args:
        config: the release's resolved Compose file.
        changed: services whose containers it replaces.
    """
    wanted = _wanted(config)
    lacking: dict[str, tuple[str, ...]] = {}
    former: dict[str, tuple[str, ...]] = {}
    leaving: dict[str, tuple[str, ...]] = {}
    for name, service in settings.services.items():
        there = [one for one in facts.of(name) if one.running and one.networks]
        if not there or name not in wanted or service.kind not in ("stateful", "edge", "tool"):
            continue
        extra = tuple(sorted({one for instance in there for one in instance.networks} - set(wanted[name])))
        if name in changed:
            if extra and service.kind != "tool":
                former[name] = extra
        else:
            needed = _shared(wanted, name) if service.kind == "edge" else wanted[name]
            missing = [one for one in needed if any(one not in instance.networks for instance in there)]
            if missing:
                lacking[name] = tuple(missing)
        # The edge keeps what it has: Docker might publish its ports anew.
        if extra and service.kind == "stateful":
            leaving[name] = extra
    return Moves(wanted, lacking, former, leaving)


def join(site: Site, found: Moves, facts: Facts) -> None:
    """Make the networks that are missing and let the containers in that stay.

    Run again, it changes nothing. Nothing has to be undone: an earlier release does not mind.
    """
    if found.lacking:
        make = site.engine.containers.networks(found.lacking)
        site.host.run_all([make, *_connecting(found.lacking, facts)], timeout=180)


def join_again(site: Site, found: Moves, services: Collection[str]) -> None:
    """Let containers that were just replaced into the networks in which others still look for them.

    Args:
        services: which were replaced.
    """
    former = {name: names for name, names in found.former.items() if name in services}
    if former:
        site.host.run_all(_connecting(former, site.engine.facts()), timeout=60)


def leave(settings: Settings, found: Moves, facts: Facts) -> list[Command]:
    """What takes databases out of networks that nobody of the release needs, once the old containers are gone."""
    return [
        ownership.disconnect(settings.project.name, network, one.id)
        for service, networks in found.leaving.items()
        for one in facts.of(service)
        for network in networks
        if one.running and network in one.networks
    ]


def _connecting(joining: Mapping[str, tuple[str, ...]], facts: Facts) -> list[Command]:
    return [
        ownership.connect(network, one.id, alias=name)
        for name, networks in joining.items()
        for one in facts.of(name)
        for network in networks
        if one.running and network not in one.networks
    ]


def _shared(wanted: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """The networks in which the edge finds others. That of its ports comes with its next container."""
    others = {one for other, networks in wanted.items() if other != name for one in networks}
    return tuple(one for one in wanted[name] if one in others)


def _wanted(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    names = {key: str((body or {}).get("name") or key) for key, body in (config.get("networks") or {}).items()}
    return {
        service: tuple(names.get(key, key) for key in (body or {}).get("networks") or {})
        for service, body in (config.get("services") or {}).items()
        if (body or {}).get("networks")
    }
