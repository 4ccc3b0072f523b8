"""Is the host ready? Pure: facts in, problems out."""

import re
import time
from dataclasses import dataclass

from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.stack import Settings

MINIMUM_ENGINE = (25, 0)
MINIMUM_COMPOSE = (2, 20)
FREE_DISK = 2 << 30
FREE_INODES = 20_000
CLOCK_SKEW = 60.0


@dataclass(frozen=True)
class Problem:
    """Something that is not as it must be. ``fatal`` stops a deploy."""

    what: str
    fix: str
    fatal: bool = True


def check_host(
    settings: Settings, facts: Facts, *, first_install: bool = False, now: float | None = None
) -> list[Problem]:
    """Everything that is wrong with the host for a deploy.

    Args:
        first_install: the caller accepts that the data volumes do not exist.
        now: Unix seconds on this machine, to compare clocks.
    """
    problems = engine_problems(facts)
    if problems:
        return problems
    problems += _room(settings, facts)
    problems += _ports(settings, facts)
    problems += _clock(facts, time.time() if now is None else now)
    volume = f"{settings.project.name}_{settings.database.service}_data"
    if facts.installed and volume not in facts.volumes and not first_install:
        problems.append(
            Problem(
                f"a release is recorded on this host, but the database's volume {volume} does not exist",
                "restore it, or say that the database may start empty: --first-install",
            )
        )
    return problems


def engine_problems(facts: Facts) -> list[Problem]:
    """Whether Docker and Compose are there, reachable and new enough."""
    install = "inv server.setup, or install Docker Engine and its Compose plugin on the host: https://docs.docker.com/engine/install/"
    if not facts.engine_version:
        said = facts.docker_error.splitlines()[-1] if facts.docker_error else "no answer"
        return [Problem(f"no Docker Engine answers on the host: {said}", install)]
    problems = []
    if _numbers(facts.engine_version) < MINIMUM_ENGINE:
        problems.append(
            Problem(
                f"Docker Engine {facts.engine_version} is older than {_dotted(MINIMUM_ENGINE)}: it cannot run "
                "checks more often while a container starts, and Compose refuses the stack",
                "upgrade Docker Engine on the host; inv server.setup takes the newest of its packages",
            )
        )
    if not facts.compose_version:
        said = facts.compose_error.splitlines()[-1] if facts.compose_error else "no answer"
        problems.append(Problem(f"Docker Compose v2 is missing on the host: {said}", install))
    elif _numbers(facts.compose_version) < MINIMUM_COMPOSE:
        problems.append(
            Problem(
                f"Docker Compose {facts.compose_version} on the host is older than {_dotted(MINIMUM_COMPOSE)}",
                "upgrade the docker-compose-plugin package on the host",
            )
        )
    return problems


def _room(settings: Settings, facts: Facts) -> list[Problem]:
    problems = []
    if facts.disk_free < FREE_DISK:
        problems.append(
            Problem(
                f"only {facts.disk_free / (1 << 30):.1f} GiB are free on the host, a deploy needs {FREE_DISK >> 30}",
                "remove what is not needed: docker image prune, docker builder prune, old dumps in "
                + settings.project.backups,
            )
        )
    if facts.inodes_free < FREE_INODES:
        problems.append(
            Problem(
                f"only {facts.inodes_free} inodes are free on the host's disk", "remove directories of many small files"
            )
        )
    return problems


def _ports(settings: Settings, facts: Facts) -> list[Problem]:
    edge = [one for name in settings.of_kind("edge") for one in facts.of(name) if one.running]
    if edge:
        return []
    return [
        Problem(f"port {port} on the host is taken by another program", f"find and stop it: ss -ltnp 'sport = :{port}'")
        for port in (80, 443)
        if port in facts.listening
    ]


def _clock(facts: Facts, now: float) -> list[Problem]:
    skew = facts.clock - now
    if abs(skew) <= CLOCK_SKEW:
        return []
    return [
        Problem(
            f"the host's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's",
            "turn on time synchronisation on the host: timedatectl set-ntp true",
        )
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
