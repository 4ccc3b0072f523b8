"""Invoke's entry: `inv --list` shows what can be done here."""

from flotteq_tasks.tasks import namespace

__all__ = ["namespace"]
