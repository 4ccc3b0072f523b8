"""Names of everything a sandbox instance is made of."""

import re
from dataclasses import dataclass
from pathlib import Path

from flotteq_tasks.model.errors import UsageError

DEFAULT_INSTANCE = "flotteq-sandbox"


@dataclass(frozen=True)
class Names:
    """Names of one instance: two can run side by side.

    Args:
        instance: prefix of all names.

    Raises:
        UsageError: Docker would refuse the name.
    """

    instance: str = DEFAULT_INSTANCE

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,45}", self.instance):
            raise UsageError(
                f"the sandbox's name {self.instance!r} is not usable",
                hint="2 to 41 small letters, digits and hyphens, for example flotteq-tests",
            )

    @property
    def host(self) -> str:
        """The container that is the VPS."""
        return f"{self.instance}-host"

    @property
    def registry(self) -> str:
        """The container of the registry."""
        return f"{self.instance}-registry"

    @property
    def acme(self) -> str:
        """The container of the ACME server."""
        return f"{self.instance}-acme"

    @property
    def dns(self) -> str:
        """The container of the DNS server."""
        return f"{self.instance}-dns"

    @property
    def containers(self) -> tuple[str, ...]:
        """All containers."""
        return (self.host, self.registry, self.acme, self.dns)

    @property
    def docker_volume(self) -> str:
        """The volume below the VPS's own Docker engine."""
        return f"{self.instance}-docker"

    @property
    def registry_volume(self) -> str:
        """The volume of the registry."""
        return f"{self.instance}-registry"

    @property
    def network(self) -> str:
        """The network."""
        return self.instance

    @property
    def bare(self) -> "Names":
        """Names of the bare host beside it."""
        return Names(f"{self.instance}-bare")

    def state(self, root: Path) -> Path:
        """The directory of keys and files of this instance, below the repository."""
        folder = root / ".sandbox"
        return folder if self.instance == DEFAULT_INSTANCE else folder / "instances" / self.instance
