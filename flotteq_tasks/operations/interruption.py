"""A signal that asked this process to stop, remembered.

The handler raises, but an exception raised while Python runs a finaliser is swallowed there (paramiko closes its
channels in one): whoever works in steps asks again before each of them.
"""

from flotteq_tasks.model.errors import ExitCode, Interrupted

_asked: list[ExitCode] = []


def ask(code: ExitCode) -> None:
    """Remember that a signal came.

    Args:
        code: exit code of the signal, ``INTERRUPTED`` or ``TERMINATED``.
    """
    _asked.append(code)


def forget() -> None:
    """Begin anew: what was asked for has been done, or another task begins."""
    _asked.clear()


def check() -> None:
    """Raise when a signal came and its exception was swallowed on the way.

    Raises:
        KeyboardInterrupt, Interrupted: as the signal's handler did.
    """
    if not _asked:
        return
    if _asked[0] is ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    raise Interrupted("stopped by SIGTERM", code=ExitCode.TERMINATED)
