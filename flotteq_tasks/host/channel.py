"""One SSH channel as a running command."""

import contextlib
import time
from collections.abc import Callable

import paramiko

from flotteq_tasks.host.faults import LostError
from flotteq_tasks.host.pump import CHUNK


class ChannelPeer:
    """A command on a raw channel. ``Connection.run`` is quadratic in its output and destroys binary data.

    Args:
        channel: open, nothing run on it yet.
        text: what the login shell gets.
        combine: merge standard error into standard output.
        end: kills the command on the host.

    Attributes:
        started: on the monotonic clock, before the host can have begun: its reply may take long.

    Raises:
        LostError: the connection went away while the command was sent.
    """

    def __init__(self, channel: paramiko.Channel, text: str, *, combine: bool, end: Callable[[], None]) -> None:
        self._channel = channel
        self._end = end
        channel.set_combine_stderr(combine)
        self.started = time.monotonic()
        try:
            channel.exec_command(text)
        except (paramiko.SSHException, OSError, EOFError) as error:
            channel.close()
            raise LostError(started=True) from error

    def read(self) -> bytes:
        """Return the next bytes of standard output."""
        return self._channel.recv(CHUNK)

    def read_error(self) -> bytes:
        """Return the next bytes of standard error."""
        return self._channel.recv_stderr(CHUNK)

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        self._channel.sendall(data)

    def close_input(self) -> None:
        """End standard input."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def wait(self, timeout: float) -> int | None:
        """Return the exit code.

        Raises:
            LostError: there is none: paramiko says -1 when the connection broke.
        """
        if not self._channel.status_event.wait(timeout):
            return None
        if self._channel.exit_status < 0:
            raise LostError(started=True)
        return self._channel.exit_status

    def kill(self) -> None:
        """Kill it on the host, too: sshd lets commands run on when their channel closes."""
        self._end()
        self.close()

    def close(self) -> None:
        """Let go of the channel."""
        self._channel.close()
