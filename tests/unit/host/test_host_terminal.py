"""Commands with the user's streams: what a terminal does that is not theirs."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from flotteq_tasks.host import terminal


class _Channel:
    """A command that ends when its input does. Meanwhile the window's size changes."""

    def __init__(self) -> None:
        self.output, self.ended = os.pipe()

    def exec_command(self, text: str) -> None:
        """Run nothing."""

    def fileno(self) -> int:
        """What can be read when it has ended."""
        return self.output

    def shutdown_write(self) -> None:
        """Its input has ended."""
        os.kill(os.getpid(), signal.SIGWINCH)
        os.write(self.ended, b"x")

    def recv_stderr_ready(self) -> bool:
        """It says nothing."""
        return False

    def recv(self, size: int) -> bytes:
        """Nor here."""
        return b""

    recv_stderr = recv

    def recv_exit_status(self) -> int:
        """How it ended."""
        return 7


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    file = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(terminal, "_STDIN", file)
    made = _Channel()
    yield made
    for one in (file, made.output, made.ended):
        os.close(one)


def test_a_window_that_is_resized_is_nothing_to_a_command_that_reads_a_file(channel: Any) -> None:
    assert terminal.attach(channel, "psql") == 7
