"""One tree of errors. Each message says what and where; the hint says what to do."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes shared by all tasks."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PUT_BACK = 3
    BROKEN = 4
    UNHEALTHY = 5
    CHANGES = 10
    UNREACHABLE = 69
    LOCKED = 75
    PERMISSION = 77
    INTERRUPTED = 130
    TERMINATED = 143


class FlotteqError(Exception):
    """Base of every error that is shown to people.

    Args:
        message: what went wrong and where, one sentence.
        hint: what to do about it, preferably a command to paste.
        details: longer output (log lines, command output), already free of secrets.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(FlotteqError):
    """The call's arguments are wrong."""

    exit_code = ExitCode.USAGE


class SettingsError(FlotteqError):
    """flotteq.toml, an .env file or a FLOTTEQ__ variable is wrong; nothing was touched."""

    exit_code = ExitCode.USAGE


class SecretError(SettingsError):
    """A secret is missing, empty, malformed or too widely readable."""


class CommandFailed(FlotteqError):
    """A command ended with a code that is not 0; its masked text and last output are in the details."""

    def __init__(self, message: str, *, code: int, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.code = code


class CommandTimedOut(FlotteqError):
    """A command did not end within its limit."""


class HostUnreachable(FlotteqError):
    """No SSH connection: refused, timed out, lost or name unknown."""

    exit_code = ExitCode.UNREACHABLE


class AccessDenied(FlotteqError):
    """Unknown or changed host key, refused login, or no sudo."""

    exit_code = ExitCode.PERMISSION


class Locked(FlotteqError):
    """Somebody else holds the lock of the host."""

    exit_code = ExitCode.LOCKED


class PreflightFailed(FlotteqError):
    """The host or this machine is not ready; nothing was changed."""


class Unhealthy(FlotteqError):
    """A container or a domain does not answer as it must."""

    exit_code = ExitCode.UNHEALTHY


class PutBack(FlotteqError):
    """The operation failed and everything was put back; the site is healthy."""

    exit_code = ExitCode.PUT_BACK


class NotPutBack(FlotteqError):
    """The operation failed and could not be put back: a person is needed."""

    exit_code = ExitCode.BROKEN


class Interrupted(FlotteqError):
    """SIGINT or SIGTERM arrived; what had begun was undone."""

    def __init__(self, message: str, *, code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = code
