"""Graders that others wrote, in an image of their own, beside the sandbox host in its network."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.images import ensure_graders
from flotteq_tasks.operations.sandbox.names import Names
from support.stack import DOMAINS

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Graders:
    """Runs a grader: the five names are where the sandbox host has them, and its certificate authority is trusted."""

    image: str
    network: str
    address: str
    root: Path

    def run(self, *words: str, limit: float, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one and return what it said.

        Args:
            limit: seconds.
            folder: where it works; it can only read there.
        """
        place = [f"--volume={folder}:/folder:ro", "--workdir=/folder"] if folder else []
        names = [f"--add-host={domain}:{self.address}" for domain in DOMAINS.values()]
        trust = [f"--volume={self.root}:/ca.pem:ro", "--env=NODE_EXTRA_CA_CERTS=/ca.pem"]
        options = ["--rm", "--init", f"--network={self.network}", *names, *trust, *place]
        command = ["docker", "run", *options, self.image, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)


def graders(instance: str, root: Path, say: Callable[[str], None]) -> Graders:
    """The image, built where it is missing, beside a sandbox.

    Args:
        instance: the sandbox's name.
        root: its certificate authority.
    """
    docker = Docker(LocalHost(cwd=ROOT))
    image = ensure_graders(docker, ROOT, ROOT / ".sandbox", say)
    names = Names(instance)
    host = docker.inspect("container", names.host)
    assert host is not None
    address = host["NetworkSettings"]["Networks"][names.network]["IPAddress"]
    return Graders(image, names.network, address, root)
