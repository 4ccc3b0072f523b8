"""How commands reach the running services, whatever runs them."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from flotteq_tasks.commands.shell import Command


class Containers(Protocol):
    """The services of one project on a host, addressed by name."""

    def exec(self, service: str, command: Iterable[str], *, tty: bool = False, user: str = "") -> Command:
        """Run a command beside the running process of a service."""

    def run(
        self,
        service: str,
        command: Iterable[str],
        *,
        name: str,
        entrypoint: str = "",
        capabilities: Iterable[str] = (),
        volumes: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Command:
        """Run a command in a fresh container of a service, with its environment, and remove it afterwards.

        Args:
            capabilities, volumes (``SOURCE:TARGET``): on top of the service's own.
            variables: instead of the service's own; anybody on the host can read them.
        """

    def spare(self, service: str, *, count: int) -> Command:
        """Make containers until there are ``count``; start none of them."""

    def networks(self, services: Iterable[str]) -> Command:
        """Make the networks of services; their containers stay as they are."""

    def logs(self, services: Iterable[str], *, follow: bool, lines: int | None, since: str = "") -> Command:
        """The logs of services; all of them when none is named."""

    def restart(self, services: Iterable[str]) -> Command:
        """Restart in place."""

    def stop(self, services: Iterable[str]) -> Command:
        """Stop and keep."""

    def start(self, services: Iterable[str]) -> Command:
        """Start what was stopped."""

    def down(self) -> Command:
        """Remove containers and networks; data stays."""
