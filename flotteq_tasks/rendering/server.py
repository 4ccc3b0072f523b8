"""The files of the host itself: settings in, texts out."""

import json
from collections.abc import Mapping
from typing import Any

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.model.server import ServerFacts
from flotteq_tasks.model.stack import Kind, Settings
from flotteq_tasks.rendering import resources, templates

DAEMON = "/etc/docker/daemon.json"
# First what others need.
_ORDER: tuple[Kind, ...] = ("stateful", "rolling", "tool", "edge")
# HTTP/3 has the port of HTTPS.
_QUIC = 443
# Before Docker 27 the rules for IPv6 are an experiment; without them visitors over IPv6 have the address of a gateway.
_IPV6 = {"ip6tables": True, "experimental": True}
# Seconds beside what the containers themselves need.
_MARGIN = 30


def table(settings: Settings) -> str:
    """Name of the firewall's table."""
    return f"{settings.project.name}_firewall".replace("-", "_")


def ssh_port(settings: Settings) -> int:
    """Where the host's sshd listens."""
    return settings.server.ssh_port or settings.host.port


def place(settings: Settings, name: str) -> str:
    """Path of a file on the host, by its name here."""
    project = settings.project.name
    return {
        "sshd.conf": f"/etc/ssh/sshd_config.d/00-{project}.conf",
        "firewall.nft": f"/etc/{project}/firewall.nft",
        "firewall.service": f"/etc/systemd/system/{project}-firewall.service",
        "stack.service": f"/etc/systemd/system/{project}-stack.service",
        "stack.sh": f"/usr/local/sbin/{project}-stack",
        "sysctl.conf": f"/etc/sysctl.d/60-{project}.conf",
        "upgrades.conf": f"/etc/apt/apt.conf.d/52{project}",
        "needrestart.conf": f"/etc/needrestart/conf.d/{project}.conf",
        "docker.sources": f"/etc/apt/sources.list.d/{project}-docker.sources",
        "docker.asc": f"/etc/apt/keyrings/{project}-docker.asc",
        "sudoers": f"/etc/sudoers.d/{project}",
        "swap": "/swapfile",
    }[name]


def text(settings: Settings, facts: ServerFacts, name: str) -> str:
    """Return one file.

    Raises:
        SettingsError: a template of the project's own does not render.
    """
    search = resources.search_path(settings.root, "server")
    if any((folder / name).is_file() for folder in search):
        return resources.find(settings.root, "server", name).read_text("utf-8")
    return templates.render(templates.environment(search), f"{name}.j2", **_values(settings, facts)).decode()


def daemon(settings: Settings, before: str) -> str:
    """Return Docker's settings: what is there already, with ours over it.

    Raises:
        SettingsError: what is there is no JSON object.
    """
    try:
        found = json.loads(before or "{}")
    except ValueError as error:
        raise SettingsError(f"{DAEMON} on the host is no JSON: {error}", hint=f"correct or remove {DAEMON}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{DAEMON} on the host is no JSON object", hint=f"correct or remove {DAEMON}")
    server = settings.server
    ours: dict[str, Any] = {
        "log-driver": "json-file",
        "log-opts": {"max-size": f"{server.log_mb}m", "max-file": str(server.log_files)},
        "live-restore": True,
        "userland-proxy": server.userland_proxy,
        # Holds on the default network only; the stack has networks of its own.
        "icc": False,
        **(_IPV6 if settings.edge.ipv6_subnet else {}),
    }
    merged = {**found, **ours}
    # Another key order is no change.
    return f"{before}\n" if merged == found and before else json.dumps(merged, indent=2) + "\n"


def _values(settings: Settings, facts: ServerFacts) -> Mapping[str, object]:
    server, deploy = settings.server, settings.deploy
    web = list(server.open_tcp)
    order = [names for kind in _ORDER if (names := settings.of_kind(kind))]
    return {
        "project": settings.project,
        "server": server,
        "table": table(settings),
        "rules": place(settings, "firewall.nft"),
        "ssh_port": ssh_port(settings),
        "web_tcp": web,
        "tcp": list(dict.fromkeys([ssh_port(settings), *web])),
        "udp": list(dict.fromkeys([*([_QUIC] if settings.edge.http3 else []), *server.open_udp])),
        "kernel": not facts.container,
        "distribution": facts.distribution.partition(" ")[0],
        "codename": facts.codename,
        "key": place(settings, "docker.asc"),
        "program": place(settings, "stack.sh"),
        "firewall": place(settings, "firewall.service").rpartition("/")[2],
        "order": order,
        "start_limit": deploy.health_timeout + _MARGIN,
        "stop_limit": deploy.stop_grace * len(order) + _MARGIN,
    }
