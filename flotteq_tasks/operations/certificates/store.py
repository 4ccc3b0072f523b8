"""What certbot keeps on the host: read, never written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from flotteq_tasks.commands import certbot
from flotteq_tasks.host.base import Host
from flotteq_tasks.model.certificates import Lineage
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations.certificates import x509


@dataclass(frozen=True)
class Store:
    """certbot's certificates.

    Args:
        directory: the project directory on the host.
        clock: the present, UTC.
    """

    host: Host
    directory: str
    clock: Callable[[], datetime]

    def issued(self, lineage: Lineage) -> bytes | None:
        """The newest certificate with its chain, PEM; None: there is none."""
        return self.host.read(f"{self._folder(lineage)}/fullchain.pem")

    def _folder(self, lineage: Lineage) -> str:
        return f"{self.directory}/certbot/conf/live/{lineage.certificate}"

    def pair(self, directory: str) -> tuple[bytes | None, bytes | None]:
        """Certificate and key in a directory of the host, PEM; None for one that is not there."""
        return self.host.read(f"{directory}/fullchain.pem"), self.host.read(f"{directory}/privkey.pem")

    def live(self, lineage: Lineage) -> tuple[bytes, bytes]:
        """The newest certificate and its key, PEM.

        Raises:
            FlotteqError: there is none, or others may read the key.
        """
        store = self._folder(lineage)
        chain, key = self.pair(store)
        if not chain or not key:
            raise FlotteqError(f"{self.host.name}: certbot left no certificate in {store}", hint="inv ssl.init")
        path = f"{store}/privkey.pem"
        mode = self.host.run(certbot.permissions(path)).out.strip()
        if not mode.endswith("0"):
            raise FlotteqError(
                f"{self.host.name}: {path} may be read by others (mode {mode}): it is not put into use",
                hint=f"on the host: chmod 600 {path}",
            )
        return chain, key

    def covered(self, lineage: Lineage) -> set[str]:
        """The names of the newest certificate."""
        leaf = leaf_of(self.issued(lineage))
        return set(leaf.names) if leaf else set()

    def lasts(self, lineage: Lineage, names: Iterable[str]) -> bool:
        """Whether the newest certificate has these names and need not be renewed yet."""
        leaf = leaf_of(self.issued(lineage))
        return leaf is not None and set(names) <= set(leaf.names) and leaf.life_left(self.clock()) > x509.DUE_LIFE


def leaf_of(chain: bytes | None) -> x509.Certificate | None:
    """The first certificate of a chain; None: there is none that can be read."""
    try:
        return x509.read_pem(chain) if chain else None
    except FlotteqError:
        return None
