"""What an engine must be able to do. Operations know this interface only; Compose is the first to keep it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release


@dataclass(frozen=True)
class Image:
    """An image that the host has.

    Args:
        pinned: reference with digest; the image's id where it has no digest (never came from a registry).
        size: bytes on disk.
        layers: digest → bytes of what had to be fetched; None where the engine cannot tell.
    """

    reference: str
    pinned: str
    size: int
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    layers: Mapping[str, int] | None = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """Why a service's containers are replaced."""

    service: str
    reason: str


@dataclass(frozen=True)
class Staged:
    """A release whose files lie on the host, not yet in use.

    Args:
        release: with the hashes of its files.
        config: the resolved configuration as plain data.
        marks: what the engine compares a service's containers with, by service.
    """

    release: Release
    config: Mapping[str, Any]
    marks: Mapping[str, str]


class Engine(Protocol):
    """Runs releases on one host. Every call has its own time limit; errors are ``FlotteqError``."""

    @property
    def containers(self) -> Containers:
        """The services as the project's present files describe them."""

    def staged_containers(self, release_id: str) -> Containers:
        """The services as a staged release's files describe them."""

    def facts(self) -> Facts:
        """Read the host's state in one round trip."""

    def look(self) -> Command:
        """The command of ``facts``, for a round trip with others."""

    def seen(self, text: str) -> Facts:
        """The facts in the output of ``look``. Pure."""

    def fetch(self, references: Mapping[str, str]) -> dict[str, Image]:
        """Bring the image of each service to the host and pin it.

        Raises:
            PreflightFailed: an image cannot be had; the message names each one.
        """

    def stage(self, release: Release) -> Staged:
        """Put a release's files on the host without using them."""

    def stage_again(self, release: Release, source: Release) -> Staged:
        """Stage the files of an earlier release under a new id, as they were."""

    def config(self) -> Mapping[str, Any]:
        """The resolved configuration of the project's present files, as plain data."""

    def marks(self) -> Mapping[str, str]:
        """What a service's containers are compared with, by service, as the project's present files describe them."""

    def changes(self, staged: Staged, facts: Facts) -> list[Change]:
        """Compare the staged release with the running containers. Pure."""

    def activate(self, release_id: str, *, volumes: Iterable[str] = (), then: Sequence[Command] = ()) -> list[Done]:
        """Make a staged release's files the project's files; nothing restarts.

        Args:
            volumes: made where they are missing.
            then: commands in the same round trip; their results are returned.
        """

    def activation(self, release_id: str, volumes: Iterable[str]) -> list[Command]:
        """The commands of ``activate``."""

    def start(self, services: Iterable[str], *, replace: bool = False) -> None:
        """Start services in place and wait until they are healthy."""

    def starting(self, services: Iterable[str], *, replace: bool = False) -> Command:
        """The command of ``start``."""

    def start_beside(self, counts: Mapping[str, int], facts: Facts, *, release: str = "") -> list[Instance]:
        """Start so many new containers of each service beside those that run; return the new ones, healthy.

        Args:
            facts: the host now: what it does not list is new.
            release: a staged release whose images and settings they get; empty: the project's present files.

        Raises:
            Unhealthy: as ``wait_healthy``; what was started is left to the caller.
        """

    def beside(self, counts: Mapping[str, int], facts: Facts, *, release: str = "") -> list[Command]:
        """The commands of ``start_beside``."""

    def wait_healthy(self, instances: Iterable[Instance], *, limit: int) -> None:
        """Wait for health; fail at once with the log and the likely cause when it cannot come.

        Raises:
            Unhealthy: names service, state and cause; the log is in the details.
        """

    def retire(self, instances: Iterable[Instance]) -> None:
        """Stop and remove containers."""

    def retirement(self, instances: Iterable[Instance]) -> list[Command]:
        """The commands of ``retire``, for a round trip with others."""

    def run_once(self, service: str, command: Iterable[str], *, name: str, limit: int, release: str = "") -> Done:
        """Run a command in a fresh container of a service's image, with its environment and secrets.

        Args:
            limit: seconds.
            release: a staged release whose image and settings are used; empty: the live one.
        """

    def once(self, service: str, command: Iterable[str], *, name: str, release: str = "") -> Command:
        """The command of ``run_once``, for a round trip with others."""

    def ask(
        self, addresses: Mapping[str, str], instances: Iterable[Instance], *, meanwhile: Sequence[Command] = ()
    ) -> tuple[dict[str, tuple[int, str]], list[Done]]:
        """Ask addresses from the edge's network; status and body for each key. ``deploy.settle`` passes until then.

        Args:
            meanwhile: commands that run while it is waited; their results come second.

        Raises:
            Unhealthy: one of ``instances`` is not healthy any more: its log says more than a refused connection.
        """
