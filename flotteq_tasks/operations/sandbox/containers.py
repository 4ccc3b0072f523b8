"""Containers of a sandbox: made once, started again, made anew when their definition changed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flotteq_tasks.model.errors import CommandFailed, PreflightFailed
from flotteq_tasks.operations.sandbox.docker import Docker

_KEY_LABEL = "flotteq.sandbox.key"


@dataclass(frozen=True)
class Definition:
    """What ``docker run`` is told.

    Args:
        name: of the container.
        image: reference.
        options: of ``docker run``, without published ports.
        words: the command.
    """

    name: str
    image: str
    options: Sequence[str]
    words: Sequence[str] = ()

    @property
    def key(self) -> str:
        """A hash of everything but the name; ports may differ from machine to machine."""
        text = "\n".join([self.image, *self.options, "--", *self.words])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_current(docker: Docker, definition: Definition) -> bool:
    """Whether a container of this name exists and was made from this definition."""
    found = docker.inspect("container", definition.name)
    return bool(found) and (found or {})["Config"]["Labels"].get(_KEY_LABEL) == definition.key


def create(docker: Docker, definition: Definition, publish: Sequence[str] = ()) -> None:
    """Make a container and start it; ``publish`` are values of ``--publish``."""
    labels = ["--label", f"{_KEY_LABEL}={definition.key}"]
    ports = [f"--publish={port}" for port in publish]
    docker.run(
        "create", "--name", definition.name, labels, ports, definition.options, definition.image, definition.words
    )
    start(docker, definition.name)


def start(docker: Docker, name: str) -> None:
    """Start a container that was stopped; one that runs stays as it is.

    Raises:
        PreflightFailed: another program has taken its published port.
    """
    try:
        docker.run("start", name)
    except CommandFailed as error:
        if "already in use" in error.details or "already allocated" in error.details:
            raise PreflightFailed(
                f"{name} cannot start: another program listens on its port",
                hint="see who it is (ss -ltnp), or let the sandbox choose other ports: inv sandbox.down, then up",
                details=error.details,
            ) from error
        raise


def remove(docker: Docker, *names: str) -> None:
    """Remove containers, running or not; those that are not there do not matter."""
    docker.run("rm", "--force", "--volumes", names, timeout=120, check=False)


def published(docker: Docker, name: str) -> dict[int, tuple[str, int]]:
    """Return port in the container → (address, port) on this machine, as it was made."""
    found: dict[str, Any] = docker.inspect("container", name) or {}
    bindings = (found.get("HostConfig") or {}).get("PortBindings") or {}
    return {
        int(port.partition("/")[0]): (targets[0]["HostIp"], int(targets[0]["HostPort"]))
        for port, targets in bindings.items()
        if targets
    }


def state(docker: Docker, name: str) -> str:
    """Return running, exited, … or absent."""
    found = docker.inspect("container", name)
    return str(found["State"]["Status"]) if found else "absent"
