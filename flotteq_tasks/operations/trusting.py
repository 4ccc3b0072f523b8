"""Trust a host's key: only after a person compared its fingerprint."""

import os

from flotteq_tasks.host import keys
from flotteq_tasks.host.factory import target
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.stack import Settings


def scan_host(settings: Settings) -> list[keys.HostKey]:
    """Fetch the host's keys without logging in.

    Raises:
        UsageError: the environment runs on this machine.
        HostUnreachable: nothing answers.
    """
    if settings.host.address == "local":
        raise UsageError(f"environment {settings.environment} runs on this machine: there is no key to trust")
    return keys.scan(target(settings, os.environ))


def trust_host(settings: Settings, found: list[keys.HostKey], *, replace: bool) -> None:
    """Write the keys to the environment's known_hosts file."""
    keys.trust(settings.root / settings.host.known_hosts, *found, replace=replace)
