"""What an audit of the host's security knows: findings, and which of them are accepted and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flotteq_tasks.model.edge import FORBID_UNKNOWN

# As SARIF names them.
Level = Literal["error", "warning", "note"]

# Databases, engines, consoles, metrics, mail and file servers: what nobody outside has to reach.
USUAL_PORTS = (
    21, 23, 25, 53, 111, 139, 389, 445, 873, 1433, 2049, 2375, 2376, 2377, 3000, 3306, 4243, 5000, 5432, 5601, 5672,
    5984, 6379, 7946, 8000, 8008, 8080, 8081, 8443, 8888, 9000, 9090, 9100, 9200, 9323, 10250, 11211, 15672, 27017,
)  # fmt: skip


@dataclass(frozen=True)
class AuditSettings:
    """``[audit]``: what ``audit.security`` looks at, and what of it is meant to be so.

    Args:
        accept: id of a check and the reason why it does not count.
        image_days: age from which an image is called old.
        ports: which are tried from outside; none: those on which databases, engines, consoles and the like listen.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    accept: Mapping[str, str] = field(default_factory=dict)
    image_days: int = 90
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Risk:
    """One thing that was looked at on all that it concerns.

    Args:
        id: stays the same from version to version; ``CIS-…`` is the number in the CIS Docker Benchmark 1.6.
        title: what should be.
        found: what was seen, in words.
        places: containers, images, files or domains that are not as they should be.
        accepted: why it does not count.
    """

    id: str
    title: str
    found: str
    ok: bool = True
    level: Level = "warning"
    fix: str = ""
    places: tuple[str, ...] = ()
    accepted: str = ""

    @property
    def open(self) -> bool:
        """Whether somebody has to do something."""
        return not self.ok and not self.accepted
