"""The composition root: from a call's flags to settings, a host, an engine and a console.

One connection per host and call, however many tasks the call names.
"""

import atexit
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flotteq_tasks.console.console import Console
    from flotteq_tasks.host.base import Host
    from flotteq_tasks.model.stack import Settings
    from flotteq_tasks.operations.context import Site

ENV_HELP = "environment of flotteq.toml (default: FLOTTEQ_ENV, else production)"
JSON_HELP = "one JSON document on standard output"
YES_HELP = "do not ask"
ESCROW_HELP = "go on although no escrow kit was written: nobody but this host can open the sets"

_hosts: dict[str, "Host"] = {}


@dataclass(frozen=True)
class App:
    """What one call of a task works with; everything is made when it is first needed."""

    environment: str | None
    json: bool = False

    @cached_property
    def console(self) -> "Console":
        """Where results and events are shown."""
        from flotteq_tasks.console.console import Console

        return Console.detect(os.environ, json=self.json)

    @cached_property
    def root(self) -> Path:
        """The directory of flotteq.toml."""
        from flotteq_tasks.settings.loader import find_root

        return find_root(Path.cwd())

    @cached_property
    def settings(self) -> "Settings":
        """The environment's settings."""
        from flotteq_tasks.settings.loader import load

        return load(self.root, self.environment, os.environ)

    @cached_property
    def host(self) -> "Host":
        """The environment's host; the connection is shared by all tasks of this call."""
        from flotteq_tasks.host.factory import make_host

        key = self.settings.environment
        if key not in _hosts:
            _hosts[key] = make_host(self.settings, os.environ)
        return _hosts[key]

    @cached_property
    def site(self) -> "Site":
        """Settings, host, engine and report for an operation."""
        from flotteq_tasks.engines.compose.engine import ComposeEngine
        from flotteq_tasks.operations.context import Site

        return Site(self.settings, self.host, ComposeEngine(self.host, self.settings), self.console.report)

    def confirm(self, question: str, *, yes: bool, word: str = "yes") -> None:
        """Ask before something is destroyed; see ``console.confirm``."""
        from flotteq_tasks.console.confirm import confirm

        confirm(question, yes=yes, word=word, interactive=self.console.interactive)


def app(env: str | None, *, json: bool = False) -> App:
    """Begin a call.

    Args:
        env: the flag ``--env``; empty means the default.
        json: results as JSON.
    """
    return App(env or None, json=json)


@atexit.register
def _close() -> None:
    for host in _hosts.values():
        host.close()
