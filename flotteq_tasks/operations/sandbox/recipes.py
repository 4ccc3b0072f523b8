"""What images the sandbox is made of, and the key of their content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = "flotteq-sandbox"
STABLE_OFFICIAL = "debian:trixie-slim"


@dataclass(frozen=True)
class Base:
    """A small Debian that others build on.

    Args:
        name: of the image.
        suite: Debian's name of the release.
        official: the same on Docker Hub.
    """

    name: str
    suite: str
    official: str


@dataclass(frozen=True)
class Recipe:
    """One image, defined by the folder of its name below ``sandbox/``.

    Args:
        name: of the folder and of the image.
        base: the base it builds on.
        official: what stands for it where Docker Hub answers; empty: it is always built.
        served: the reference under which the sandbox's registry has it for the VPS, as on Docker Hub.
        wheels: the Python version for which the folder's requirements.txt is fetched from the package index.
    """

    name: str
    base: str
    official: str = ""
    served: str = ""
    wheels: str = ""


TRIXIE = Base("base", "trixie", STABLE_OFFICIAL)
BOOKWORM = Base("base-bookworm", "bookworm", "debian:bookworm-slim")
BASES = (TRIXIE, BOOKWORM)

HOST = "host"
SERVICES = "services"
NODE = "node"
POSTGRES = "postgres"
NGINX = "nginx"
FRONTEND = "frontend"
# Not of the sandbox: what looks at an edge, on the same two bases.
GRADERS = "graders"

# Made when it is asked for: a host as a provider delivers it.
BARE = Recipe("bare", TRIXIE.name)

# The slowest first: two are built at a time.
RECIPES = (
    Recipe(HOST, TRIXIE.name),
    Recipe(POSTGRES, BOOKWORM.name, official="postgres:15", served="library/postgres:15"),
    Recipe(NODE, TRIXIE.name, official="node:20", wheels="3.13"),
    Recipe("certbot", TRIXIE.name, official="certbot/certbot:v5.7.0", served="certbot/certbot:v5.7.0", wheels="3.13"),
    Recipe(SERVICES, TRIXIE.name),
    Recipe(NGINX, TRIXIE.name, official="nginx:1.30", served="library/nginx:1.30"),
    Recipe("redis", BOOKWORM.name, official="redis:7", served="library/redis:7"),
)
# Where Docker Hub answers, the frontends end in the small variant, as FlotteQ's own do.
OFFICIAL_FRONTEND = "nginx:1.30-alpine"


def content_key(folder: Path, *more: str) -> str:
    """Return a short hash over the files of a folder (names, executable bits, content) and further words."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        executable = bool(file.stat().st_mode & 0o100)
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()} {executable} {content}\n".encode())
    for word in more:
        digest.update(f"{word}\n".encode())
    return digest.hexdigest()[:12]
