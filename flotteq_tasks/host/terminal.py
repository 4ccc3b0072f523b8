"""The user's terminal on a remote command."""

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator

import paramiko

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHUNK = 1 << 15


def attach(channel: paramiko.Channel, text: str) -> int:
    """Run ``text`` with the terminal in raw mode, or with plain streams where standard input is none.

    Returns:
        Its exit code, -1 where the connection was lost.
    """
    interactive = os.isatty(_STDIN)
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        if interactive:
            size = os.get_terminal_size(_STDIN)
            channel.get_pty(os.environ.get("TERM", "xterm"), size.columns, size.lines)
        channel.exec_command(text)
        if interactive:
            resized = stack.enter_context(_resizes())
            stack.enter_context(_raw_mode())
            _shovel(channel, resized)
        else:
            # A file may be larger than what the command takes before somebody reads what it says.
            threading.Thread(target=_feed, args=[channel], daemon=True).start()
            while select.select([channel], [], [])[0] and _show(channel):
                pass
    return channel.recv_exit_status()


def _feed(channel: paramiko.Channel) -> None:
    # A command that has ended takes no more.
    with contextlib.suppress(OSError, EOFError):
        while data := os.read(_STDIN, _CHUNK):
            channel.sendall(data)
        channel.shutdown_write()


def _shovel(channel: paramiko.Channel, resized: int) -> None:
    watched: list[paramiko.Channel | int] = [channel, _STDIN, resized]
    while True:
        ready = select.select(watched, [], [])[0]
        if resized in ready:
            os.read(resized, _CHUNK)
            size = os.get_terminal_size(_STDIN)
            channel.resize_pty(size.columns, size.lines)
        if channel in ready and not _show(channel):
            return
        if _STDIN in ready:
            data = os.read(_STDIN, _CHUNK)
            if data:
                with contextlib.suppress(OSError):
                    channel.sendall(data)
            else:
                watched.remove(_STDIN)
                channel.shutdown_write()


def _show(channel: paramiko.Channel) -> bool:
    """Print what came; return False at the end of both streams."""
    if channel.recv_stderr_ready():
        _write(_STDERR, channel.recv_stderr(_CHUNK))
        return True
    data = channel.recv(_CHUNK)
    _write(_STDOUT, data)
    if data:
        return True
    while rest := channel.recv_stderr(_CHUNK):
        _write(_STDERR, rest)
    return False


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


@contextlib.contextmanager
def _raw_mode() -> Iterator[None]:
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizes() -> Iterator[int]:
    """Yield a descriptor that can be read from when the window's size changed."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    main = threading.current_thread() is threading.main_thread()
    # The handler only wakes the loop: it may interrupt code that holds the channel's lock.
    before = signal.signal(signal.SIGWINCH, lambda *_: os.write(send, b"w")) if main else None
    try:
        yield receive
    finally:
        if main:
            signal.signal(signal.SIGWINCH, before)
        os.close(receive)
        os.close(send)
