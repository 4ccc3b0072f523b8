"""Deploy and operate a Docker Compose stack on a VPS over SSH."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Build the task namespace on first use: importing the package alone costs nothing."""
    if name == "namespace":
        from flotteq_tasks.tasks import namespace

        return namespace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
