"""This machine as a host: builds, checks from outside, the sandbox."""

import contextlib
import io
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, File, Session
from flotteq_tasks.host.each import around, run_each
from flotteq_tasks.host.pump import CHUNK, Lines, OverdueError, Tail, pump, text
from flotteq_tasks.host.session import PeerSession
from flotteq_tasks.host.tree import check_paths
from flotteq_tasks.model.errors import AccessDenied, CommandFailed

_KILL_AFTER = 5.0
_ERROR_KEPT = 1 << 16


class LocalHost:
    """Runs commands on this machine: without a shell where the command has no raw shell text.

    Args:
        name: how messages call it.
        cwd: working directory of the commands; relative paths of files are looked up there, too.
        env: variables on top of this process's own. ``LC_ALL`` is C unless it is given here.
    """

    def __init__(
        self, name: str = "this machine", cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._cwd = cwd
        self._env = {"LC_ALL": "C", **(env or {})}

    def run(self, command: Command, *, timeout: float = 60, check: bool = True, stdin: bytes = b"") -> Done:
        """Run to the end; see ``Host.run``. A missing program is exit code 127, as in a shell."""
        out = Tail()
        done = self._pump(command, out.add, source=io.BytesIO(stdin) if stdin else None, timeout=timeout, out=out)
        return done.check(self.name) if check else done

    def run_all(
        self, commands: Sequence[Command], *, timeout: float = 60, check: bool = True, together: bool = False
    ) -> list[Done]:
        """Run one after the other; see ``Host.run_all``."""
        return run_each(self, commands, timeout=timeout, check=check)

    def stream(
        self,
        command: Command,
        *,
        sink: BinaryIO | None = None,
        source: BinaryIO | None = None,
        idle: float = 60,
        timeout: float = 3600,
    ) -> Done:
        """Stream bytes; see ``Host.stream``."""
        write = sink.write if sink else len
        done = self._pump(command, write, source=source, idle=idle, timeout=timeout, keep_error=_ERROR_KEPT)
        return done.check(self.name)

    def follow(self, command: Command, on_line: Callable[[str], None], *, timeout: float) -> Done:
        """Hand over each line of both streams; see ``Host.follow``. ``out`` holds the last 200 lines."""
        lines = Lines(on_line)
        done = self._pump(command, lines.add, timeout=timeout, combine=True)
        lines.end()
        return Done(command, done.code, out=lines.value(), err=done.err, seconds=done.seconds)

    def open(self, command: Command) -> Session:
        """Start a conversation; see ``Host.open``.

        Raises:
            CommandFailed: there is no such program.
        """
        try:
            return PeerSession(_Process(_argv(command), self._cwd, self._environment(), combine=False), self.name)
        except OSError as error:
            raise CommandFailed(f"{self.name}: {error}: {command}", code=_code(error)) from error

    def interact(self, command: Command) -> int:
        """Run with the user's terminal; return the exit code. Ctrl-C goes to the command alone."""
        with _sigint_is_theirs():
            try:
                code = subprocess.run(_argv(command), cwd=self._cwd, env=self._environment(), check=False).returncode
            except OSError as error:
                raise CommandFailed(f"{self.name}: {error}: {command}", code=_code(error)) from error
        return _exit_code(code)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None where it does not exist.

        Raises:
            AccessDenied: it may not be read.
        """
        try:
            return self._path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise self._denied("read", path) from error

    def write(self, path: str, file: File) -> None:
        """Write one file atomically; it never has wider permissions than ``file.mode``.

        Raises:
            AccessDenied: the directory is not writable, or the group is not ours to give.
            CommandFailed: anything else: ``path`` is a directory, the disk is full, no such group.
        """
        target = self._path(path)
        try:
            self._put(target, file)
        except PermissionError as error:
            raise self._denied("write", path) from error
        except (OSError, LookupError) as error:
            raise CommandFailed(f"{self.name}: cannot write {path}: {error}", code=1) from error

    def write_tree(
        self,
        root: str,
        files: Mapping[str, File],
        *,
        first: Sequence[Command] = (),
        then: Sequence[Command] = (),
        timeout: float = 120,
        check: bool = True,
    ) -> list[Done]:
        """Write files below ``root``, each atomically. Errors as in ``write``; ValueError: a path leaves ``root``."""
        check_paths(files)
        return around(self, lambda: self._place(root, files), first, then, timeout=timeout, check=check)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _place(self, root: str, files: Mapping[str, File]) -> None:
        for path in files:
            if (self._path(root) / path).is_dir():
                raise CommandFailed(f"{self.name}: cannot write {root}/{path}: it is a directory", code=1)
        for path, file in sorted(files.items()):
            self.write(f"{root}/{path}", file)

    def _pump(
        self,
        command: Command,
        sink: Callable[[bytes], object],
        *,
        timeout: float,
        source: BinaryIO | None = None,
        idle: float | None = None,
        keep_error: int | None = None,
        combine: bool = False,
        out: Tail | None = None,
    ) -> Done:
        started = time.monotonic()
        try:
            process = _Process(_argv(command), self._cwd, self._environment(), combine=combine)
        except OSError as error:
            return Done(command, _code(error), err=str(error))
        try:
            code, err = pump(process, sink, source=source, idle=idle, limit=timeout, keep_error=keep_error)
        except OverdueError as overdue:
            raise overdue.explain(self.name, command) from None
        shown = text(out.value()) if out else ""
        return Done(command, code, out=shown, err=text(err), seconds=time.monotonic() - started)

    def _put(self, target: Path, file: File) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".flotteq.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as temporary:
                temporary.write(file.content)
                if file.group is not None:
                    shutil.chown(name, group=int(file.group) if file.group.isdigit() else file.group)
                os.fchmod(temporary.fileno(), stat.S_IMODE(file.mode))
                temporary.flush()
                os.fsync(temporary.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, path: str) -> Path:
        return (self._cwd or Path()) / path

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self._env}

    def _denied(self, verb: str, path: str) -> AccessDenied:
        return AccessDenied(f"{self.name}: no permission to {verb} {path}", hint=f"look at it with: ls -ld {path}")


class _Process:
    """A child in a session of its own, so that its whole group can be killed and nothing asks on the terminal."""

    def __init__(self, argv: list[str], cwd: Path | None, env: Mapping[str, str], *, combine: bool) -> None:
        self._process = subprocess.Popen(
            argv,
            bufsize=0,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if combine else subprocess.PIPE,
            start_new_session=True,
        )

    def read(self) -> bytes:
        return _read(self._process.stdout)

    def read_error(self) -> bytes:
        return _read(self._process.stderr)

    def write(self, data: bytes) -> None:
        pipe = self._process.stdin
        view = memoryview(data)
        while pipe and view:
            view = view[pipe.write(view) :]

    def close_input(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()

    def wait(self, timeout: float) -> int | None:
        try:
            return _exit_code(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self._signal(signal.SIGTERM)
        self.wait(_KILL_AFTER)
        self._signal(signal.SIGKILL)
        self.wait(_KILL_AFTER)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _read(pipe: IO[bytes] | None) -> bytes:
    if pipe is None or pipe.closed:
        return b""
    data = pipe.read(CHUNK)
    if not data:
        pipe.close()
    return data


def _argv(command: Command) -> list[str]:
    return ["sh", "-c", command.render()] if command.needs_shell else command.argv()


def _code(error: OSError) -> int:
    return 126 if isinstance(error, PermissionError) else 127


def _exit_code(code: int) -> int:
    """A child killed by signal n is -n for Python, 128+n for shells and people."""
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _sigint_is_theirs() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler and not SIG_IGN: children inherit what is ignored.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
