"""From settings to a host."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from flotteq_tasks.host.base import Host
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.host.target import Target
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import Settings


def make_host(settings: Settings, variables: Mapping[str, str]) -> Host:
    """Return the environment's host, not yet connected.

    Args:
        variables: the environment of this process; the SSH key of a CI run may be in one of them.
    """
    if settings.host.address == "local":
        return LocalHost()
    return SshHost(target(settings, variables))


def target(settings: Settings, variables: Mapping[str, str]) -> Target:
    """Return where and as whom to log in."""
    host = settings.host
    key_text = variables.get(host.key_variable, "")
    return Target(
        host=host.address,
        port=host.port,
        user=host.user,
        known_hosts=settings.root / host.known_hosts,
        key_file=_path(settings.root, host.key_file) if host.key_file and not key_text else None,
        key_text=Secret(key_text) if key_text else None,
        use_agent=host.agent and bool(variables.get("SSH_AUTH_SOCK")),
        usual_keys=not host.key_file and not key_text,
        jump=_jump(settings, variables),
        sudo=host.sudo,
        absent=settings.absent,
        trust_hint=f"inv host.trust --env {settings.environment}",
    )


def _jump(settings: Settings, variables: Mapping[str, str]) -> Target | None:
    """``user@address:port``, as ``checks`` lets it through; the same keys and the same known_hosts."""
    text = settings.host.jump
    if not text:
        return None
    user, _, place = text.rpartition("@")
    # An address of IPv6 has colons of its own: with a port it stands in brackets (RFC 3986).
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", place)
    address, port = (found[1] or found[3], found[2] or found[4]) if found else (place, "")
    key_text = variables.get(settings.host.key_variable, "")
    return Target(
        host=address,
        port=int(port or 22),
        user=user or settings.host.user,
        known_hosts=settings.root / settings.host.known_hosts,
        key_file=_path(settings.root, settings.host.key_file) if settings.host.key_file and not key_text else None,
        key_text=Secret(key_text) if key_text else None,
        use_agent=settings.host.agent and bool(variables.get("SSH_AUTH_SOCK")),
        usual_keys=not settings.host.key_file and not key_text,
        trust_hint=f"inv host.trust --env {settings.environment}",
    )


def _path(root: Path, text: str) -> Path:
    return root / os.path.expanduser(text)
