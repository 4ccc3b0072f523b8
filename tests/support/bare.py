"""A bare host of the tests' own, a project that leads to it, and a look at it from outside."""

import json
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from flotteq_tasks.host.base import Done
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox import lifecycle, machine
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.files import Sandbox
from flotteq_tasks.operations.sandbox.names import Names
from support.cli import Cli

# All that are reserved, and where databases, engines and test servers usually listen.
PORTS = (*range(1, 1025), 2375, 2376, 2377, 3000, 3306, 5000, 5432, 6379, 7946, 8000, 8080, 8081, 8443, 9000, 9090)
_AT_ONCE = 256
# Seconds: a dropped packet is never answered, an open port answers within a millisecond.
_PATIENCE = 0.7


@dataclass
class Bare:
    """The host, the command line of its project, and its address in the sandbox's network."""

    sandbox: Sandbox
    inv: Cli
    address: str

    def host(self, script: str, *, check: bool = True, timeout: float = 120) -> Done:
        """Run a shell script as root on the host, past its sshd."""
        return lifecycle.exec_on_host("sh", "-c", script, instance=self.sandbox.instance, timeout=timeout, check=check)

    def reboot(self) -> None:
        """Stop it as a shutdown does, start it, and wait until somebody can log in."""
        docker, names = Docker(LocalHost()), Names(self.sandbox.instance)
        docker.run("restart", "--time", "60", names.host, timeout=120)
        machine.wait_for_machine(docker, names)

    def open_ports(self, more: Iterable[int] = ()) -> list[int]:
        """Where somebody outside gets a connection."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            ports = sorted({*PORTS, *more})
            return [port for port, is_open in zip(ports, pool.map(self._answers, ports), strict=True) if is_open]

    def differing(self) -> list[str]:
        """Names of the items that ``inv server.check`` complains about."""
        found: dict[str, Any] = json.loads(self.inv("server.check", "--json").out)
        return [one["name"] for one in found["items"] if not one["ok"]]

    def _answers(self, port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(_PATIENCE)
            return probe.connect_ex((self.address, port)) == 0
