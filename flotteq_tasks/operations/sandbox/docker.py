"""The Docker engine of this machine, as far as the sandbox needs it."""

import json
from collections.abc import Iterable
from typing import Any

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, Host


class Docker:
    """Runs ``docker …`` on a host.

    Args:
        host: where the engine's client runs: this machine.
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    def run(self, *words: str | Iterable[str], timeout: float = 60, check: bool = True, stdin: bytes = b"") -> Done:
        """Run one docker command; see ``Host.run``."""
        return self.host.run(Command("docker", *words), timeout=timeout, check=check, stdin=stdin)

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what ``docker KIND inspect`` says, or None where there is no such thing."""
        done = self.run(kind, "inspect", name, check=False)
        if not done.ok:
            return None
        found: list[dict[str, Any]] = json.loads(done.out)
        return found[0] if found else None

    def image_id(self, reference: str) -> str | None:
        """Return the ID of a local image, or None."""
        found = self.inspect("image", reference)
        return str(found["Id"]) if found else None

    def exec(
        self, container: str, *words: str, timeout: float = 60, check: bool = True, stdin: bytes = b"", user: str = ""
    ) -> Done:
        """Run a command in a container; ``stdin`` is handed over when there is some."""
        options = [*(["-i"] if stdin else []), *(["--user", user] if user else [])]
        return self.run("exec", options, container, words, timeout=timeout, check=check, stdin=stdin)
