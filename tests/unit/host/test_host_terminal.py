"""Commands with the user's streams: what a terminal does that is not theirs."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
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


class _Full(_Channel):
    """A command that takes no more input before somebody has read what it says of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.taken = threading.Event(), threading.Event()

    def sendall(self, data: bytes) -> None:
        """Wait for the reader, at most so long that the test ends."""
        os.write(self.ended, b"x")
        if self.read.wait(2):
            self.taken.set()

    def shutdown_write(self) -> None:
        """Its input has ended."""

    def recv(self, size: int) -> bytes:
        """Say something, and end when all was taken."""
        if not self.read.is_set():
            self.read.set()
            return b"said\n"
        self.taken.wait(2)
        return b""


def test_a_file_and_what_the_command_says_of_it_go_both_ways_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "big.sql").write_bytes(b"select 1;")
    file, shown = os.open(tmp_path / "big.sql", os.O_RDONLY), os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    monkeypatch.setattr(terminal, "_STDIN", file)
    monkeypatch.setattr(terminal, "_STDOUT", shown)
    made: Any = _Full()
    assert terminal.attach(made, "psql") == 7
    assert (made.taken.is_set(), (tmp_path / "out").read_bytes()) == (True, b"said\n")
    for one in (file, shown, made.output, made.ended):
        os.close(one)
