"""Rules for the Compose file, checked on what ``docker compose config --format json`` says about it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from flotteq_tasks.model.stack import RECEIVER, Service, Settings
from flotteq_tasks.settings import schema

# Files that programs replace by rename: a mounted one would stay the old one inside the container.
FILE_SUFFIXES = frozenset({".conf", ".sh", ".pem", ".yml", ".yaml", ".json", ".env", ".toml", ".crt", ".key"})


def check_compose(settings: Settings, compose: Mapping[str, Any]) -> list[str]:
    """Return a line with file and key path for each rule the Compose file breaks.

    Args:
        settings: says which services there are and of which kind.
        compose: the parsed output of ``docker compose config --format json``.
    """
    parts = (_names(settings, compose), _all_services(settings, compose), _volumes(compose))
    return [f"{settings.project.compose_file}: {line}" for part in parts for line in part]


def _names(settings: Settings, compose: Mapping[str, Any]) -> Iterator[str]:
    if compose.get("name") != settings.project.name:
        yield f'name: is "{compose.get("name", "")}", flotteq.toml has project.name = "{settings.project.name}"'
    there = compose.get("services") or {}
    for name in settings.services:
        if name not in there:
            yield f"services: {name} is missing, flotteq.toml has services.{name}{_meant(name, there)}"
    for name in there:
        # Without point-in-time recovery it has no container.
        if name not in settings.services and name != RECEIVER:
            yield f"services.{name}: flotteq.toml has no such service{_meant(name, settings.services)}"


def _meant(name: str, names: Any) -> str:
    near = schema.nearest(name, names)
    return f', did you mean "{near}"?' if near else ""


def _all_services(settings: Settings, compose: Mapping[str, Any]) -> Iterator[str]:
    for name, body in (compose.get("services") or {}).items():
        if name in settings.services:
            for key, message in _service(settings, settings.services[name], name, body or {}):
                yield f"services.{name}.{key}: {message}"
            if settings.services[name].kind == "edge" and settings.edge.ipv6_subnet:
                yield from _ipv6(compose, name, body or {})


def _ipv6(compose: Mapping[str, Any], name: str, body: Mapping[str, Any]) -> Iterator[str]:
    networks = compose.get("networks") or {}
    if not any((networks.get(one) or {}).get("enable_ipv6") for one in body.get("networks") or {}):
        yield f'services.{name}.networks: none has enable_ipv6, as edge.ipv6_subnet wants: "${{EDGE_NETWORK:-edge}}"'


def _service(settings: Settings, service: Service, name: str, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if service.kind != "edge":
        edge = next(iter(settings.of_kind("edge")), "the edge")
        if body.get("ports"):
            ports = ", ".join(_port(port) for port in body["ports"])
            yield "ports", f"would publish {name} on {ports} of the host: only {edge} may have ports"
        if body.get("network_mode") == "host":
            yield "network_mode", f"would publish {name} on the host: only {edge} may have ports"
    elif settings.edge.http3 and not any(_is_quic(port) for port in body.get("ports") or []):
        yield "ports", f'edge.http3 needs UDP, too: add "{settings.edge.https_port}:443/udp"'
    if service.kind == "rolling" and body.get("container_name"):
        yield "container_name", "remove it: a release runs beside the one before, and a name can only be used once"
    if service.kind == "job" and not body.get("profiles"):
        yield "profiles", "is missing: without `profiles: [ops]` a plain `up` would start the job"
    if service.kind != "job" and not _has_healthcheck(body.get("healthcheck") or {}):
        yield "healthcheck", "is missing: a deploy waits for it"
    for index, mount in enumerate(body.get("volumes") or []):
        if mount.get("type") == "bind" and _is_file(str(mount.get("source", ""))):
            where, what = f"volumes[{index}]", _local(settings, mount["source"])
            yield (
                where,
                f"mounts the single file {what}: a replaced file stays old inside, mount its directory",
            )


def _local(settings: Settings, source: str) -> str:
    """A path of the project directory on the host as the Compose file on this machine has it."""
    own = f"{settings.directory}/"
    return f"./{source.removeprefix(own)}" if source.startswith(own) else source


def _is_quic(port: Any) -> bool:
    return isinstance(port, dict) and port.get("protocol") == "udp" and port.get("target") == 443


def _port(port: Any) -> str:
    """Name a published port; without a host port Docker chooses one."""
    if not isinstance(port, dict):
        return f"port {port}"
    published = port.get("published")
    return f"port {published}" if published else f"a random port (for {port.get('target')})"


def _has_healthcheck(check: dict[str, Any]) -> bool:
    test = check.get("test") or []
    return not check.get("disable") and bool(test) and test not in (["NONE"], "NONE")


def _is_file(source: str) -> bool:
    path = PurePosixPath(source)
    return "secrets" not in path.parts and (path.suffix in FILE_SUFFIXES or bool(re.match(r"\.env(\.|$)", path.name)))


def _volumes(compose: Mapping[str, Any]) -> Iterator[str]:
    for name, body in (compose.get("volumes") or {}).items():
        if not (body or {}).get("name"):
            yield f"volumes.{name}.name: is missing: without it another project name means another, empty volume"
