"""Commands one after the other, for hosts where a round trip costs nothing."""

from collections.abc import Callable, Sequence
from typing import Protocol

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done


class Runs(Protocol):
    """What runs one command."""

    def run(self, command: Command, *, timeout: float = 60, check: bool = True) -> Done:
        """See ``Host.run``."""


def run_each(host: Runs, commands: Sequence[Command], *, timeout: float, check: bool) -> list[Done]:
    """Run commands in order and stop behind the first that fails; see ``Host.run_all``."""
    found: list[Done] = []
    for command in commands:
        found.append(host.run(command, timeout=timeout, check=check))
        if not found[-1].ok:
            break
    return found


def around(
    host: Runs,
    place: Callable[[], None],
    first: Sequence[Command],
    then: Sequence[Command],
    *,
    timeout: float,
    check: bool,
) -> list[Done]:
    """Run ``first``, place files, run ``then``; see ``Host.write_tree``."""
    found = run_each(host, first, timeout=timeout, check=check)
    if found and not found[-1].ok:
        return found
    place()
    return [*found, *run_each(host, then, timeout=timeout, check=check)]
