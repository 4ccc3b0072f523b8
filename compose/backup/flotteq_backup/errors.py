"""What can go wrong, with the exit codes of all tasks."""

FAILED, USAGE, NOT_VERIFIED, LOCKED = 1, 2, 5, 75


class Failed(Exception):
    """Nothing was changed, or what had begun is gone again.

    Args:
        message: what went wrong, one sentence.
        hint: a command to paste or a place to look at.
        details: the last lines of a program, free of secrets.
    """

    code = FAILED

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.details = message, hint, details


class Unknown(Failed):
    """A name that does not exist."""

    code = USAGE


class Empty(Failed):
    """The database has no table: there is nothing to be taken."""


class NotVerified(Failed):
    """What was read back is not what was written."""

    code = NOT_VERIFIED


class NotCopied(Failed):
    """A set is good here, but another repository does not have it."""

    code = NOT_VERIFIED


class Busy(Failed):
    """Another backup or restore runs."""

    code = LOCKED
