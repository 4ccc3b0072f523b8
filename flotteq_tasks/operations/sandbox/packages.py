"""Debian packages on this machine: install, and where its own mirror is."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Host
from flotteq_tasks.model.errors import PreflightFailed

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_NEWER_SUITE = "trixie"


@dataclass(frozen=True)
class Mirror:
    """The Debian mirror that this machine's apt is configured for."""

    uri: str
    keyring: str

    def source(self, suite: str) -> str:
        """Return a line of sources.list for any suite of this mirror."""
        return f"deb [signed-by={self.keyring}] {self.uri} {suite} main"


def is_root() -> bool:
    """Whether packages can be installed and a daemon be started."""
    return os.geteuid() == 0


def has_apt() -> bool:
    """Whether this machine installs its packages with apt."""
    return shutil.which("apt-get") is not None


def update(host: Host) -> None:
    """Fetch the package lists."""
    host.run(Command("apt-get", "update", "-qq"), timeout=300)


def install(host: Host, *packages: str) -> None:
    """Install packages without their recommendations and without questions."""
    words = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
    host.run(Command("env", "DEBIAN_FRONTEND=noninteractive", *words, *packages), timeout=600)


def candidate(host: Host, package: str) -> str:
    """Return the version that apt would install, or an empty string."""
    done = host.run(Command("apt-cache", "policy", package), check=False)
    for line in done.out.splitlines():
        if line.strip().startswith("Candidate:"):
            version = line.split(":", 1)[1].strip()
            return "" if version == "(none)" else version
    return ""


def mirror(host: Host) -> Mirror:
    """Return this machine's own Debian mirror, read from apt.

    Raises:
        PreflightFailed: this is no Debian, or apt has no source for its release.
    """
    release = _os_release()
    hint = "connect this machine to Docker Hub, or run on Debian 12 or later"
    if release.get("ID") != "debian" or not has_apt():
        raise PreflightFailed("Docker Hub does not answer, and this machine is no Debian with packages", hint=hint)
    targets = Command(
        "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(SIGNED_BY)",
        "Identifier: Packages", "Component: main",
    )  # fmt: skip
    for line in host.run(targets).out.splitlines():
        site, suite, *signed_by = line.split()
        if suite in (release.get("VERSION_CODENAME"), "stable", "testing", "unstable", "sid"):
            named = signed_by[0] if signed_by and signed_by[0].startswith("/") else _KEYRING
            return Mirror(uri=site.rstrip("/"), keyring=named)
    raise PreflightFailed("Docker Hub does not answer, and apt on this machine has no Debian source", hint=hint)


def install_newer(host: Host, *packages: str) -> None:
    """Install packages of a newer Debian without adding it to the machine's sources.

    Only for programs that need nothing but the C library: their dependencies come from this machine's release.
    """
    source = mirror(host)
    with tempfile.TemporaryDirectory(prefix="flotteq-apt-") as folder:
        # apt drops its rights to the user _apt for downloads.
        Path(folder).chmod(0o755)
        lists = Path(folder, "lists", "partial")
        lists.mkdir(parents=True)
        listing = Path(folder, "newer.list")
        listing.write_text(source.source(_NEWER_SUITE) + "\n")
        options = [
            f"-oDir::Etc::SourceList={listing}", "-oDir::Etc::SourceParts=-", f"-oDir::State::Lists={lists.parent}",
            f"-oDir::Cache::Archives={folder}", "-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=",
        ]  # fmt: skip
        host.run(Command("apt-get", options, "update", "-qq"), timeout=300)
        fetch = Command("sh", "-c", 'cd "$1" && shift && apt-get "$@"', "fetch", folder)
        host.run(fetch + Command(options, "download", "-qq", packages), timeout=300)
        install(host, *(str(file) for file in sorted(Path(folder).glob("*.deb"))))


def _os_release() -> dict[str, str]:
    file = Path("/etc/os-release")
    if not file.exists():
        return {}
    pairs = (line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    return {name: value.strip('"') for name, value in pairs}
