"""What the host says about itself, read in one round trip."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flotteq_tasks.model.release import Release


@dataclass(frozen=True)
class Instance:
    """One container of the project."""

    id: str
    name: str
    service: str
    image: str
    state: str
    health: str
    started: str
    restarts: int
    config_hash: str
    version: str = ""
    exit_code: int = 0
    oom_killed: bool = False
    oneoff: bool = False
    networks: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.state == "running"

    @property
    def healthy(self) -> bool:
        """Whether it runs and its health check, if it has one, passes."""
        return self.running and self.health in ("healthy", "")


@dataclass(frozen=True)
class Facts:
    """The host at one moment.

    Sizes are bytes, ``clock`` is Unix seconds on the host. ``active`` names the containers that the edge sends requests
    to, by service; ``secrets`` gives the fingerprint of each secret's newest value, ``edge_files`` the SHA-256 of
    each of the edge's files by its path in the project directory. ``edge_kept``: a switch did not end. ``locked``:
    an operation is at work. ``certificates``: what the links below ``certs/`` lead to.
    ``restoring``: set and names of the databases of a restore that has not ended.
    ``volumes`` are all of the host, ``own_volumes`` the project's; ``owners``: ``UID:GID`` of those that are not empty.
    """

    engine_version: str = ""
    compose_version: str = ""
    disk_free: int = 0
    disk_total: int = 0
    inodes_free: int = 0
    memory_free: int = 0
    memory_total: int = 0
    clock: float = 0.0
    listening: frozenset[int] = frozenset()
    volumes: frozenset[str] = frozenset()
    own_volumes: frozenset[str] = frozenset()
    owners: Mapping[str, str] = field(default_factory=dict)
    instances: tuple[Instance, ...] = ()
    release: Release | None = None
    active: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    active_release: str = ""
    files_release: str = ""
    edge_kept: bool = False
    locked: bool = False
    edge_files: Mapping[str, str] = field(default_factory=dict)
    maintenance: bool = False
    maintenance_allowed: tuple[str, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    scale: Mapping[str, int] = field(default_factory=dict)
    restoring: Mapping[str, str] = field(default_factory=dict)
    docker_error: str = ""
    compose_error: str = ""

    def of(self, service: str) -> list[Instance]:
        """Containers of a service, one-off ones left out."""
        return [one for one in self.instances if one.service == service and not one.oneoff]

    @property
    def installed(self) -> bool:
        """Whether a release has been live on this host."""
        return self.release is not None
