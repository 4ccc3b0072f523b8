"""What an operation works with."""

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flotteq_tasks.engines.base import Engine
from flotteq_tasks.host.base import Host
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import Settings


@dataclass(frozen=True)
class Site:
    """One environment with its host, its engine and where to report."""

    settings: Settings
    host: Host
    engine: Engine
    report: Report

    @property
    def state(self) -> str:
        """The state directory on the host."""
        return f"{self.settings.directory}/state"


def holder(what: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Who holds the lock: the person or the CI run, the machine, and what for."""
    who = variables.get("GITHUB_ACTOR") or variables.get("GITLAB_USER_LOGIN") or _user()
    run = f"{variables['GITHUB_REPOSITORY']} run {variables['GITHUB_RUN_ID']}" if "GITHUB_RUN_ID" in variables else ""
    return {
        "who": who,
        "where": run or socket.gethostname(),
        "pid": str(os.getpid()),
        "what": what,
        "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def _user() -> str:
    """The name of whoever runs this; in a container a number may be all there is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the first until Python 3.12, the second since 3.13
        return f"user {os.getuid()}"
