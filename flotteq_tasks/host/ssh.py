"""A host over SSH: one connection per process, raw channels, limits that hold on the host, too."""

import contextlib
import io
import itertools
import re
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from flotteq_tasks.commands.batch import batch, split
from flotteq_tasks.commands.batch import together as side_by_side
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, File, Session
from flotteq_tasks.host.faults import BusyError, LostError
from flotteq_tasks.host.pump import Lines, OverdueError, Tail, pump, text
from flotteq_tasks.host.session import PeerSession
from flotteq_tasks.host.target import Target
from flotteq_tasks.host.tree import WRITE_FILE, WRITE_TREE, mode_text, pack
from flotteq_tasks.model.errors import AccessDenied, CommandFailed, CommandTimedOut, HostUnreachable

if TYPE_CHECKING:
    from flotteq_tasks.host.channel import ChannelPeer
    from flotteq_tasks.host.connection import Link

T = TypeVar("T")

# sshd's MaxSessions is 10 by default; the rest is left to other uses of the connection, such as killing.
_MOST_CHANNELS = 6
_SESSION_WITHIN = 10.0
_GRACE = 10.0
_END_WITHIN = 10.0
_ERROR_KEPT = 1 << 16
_FILE_LIMIT = 120.0
# sshd's shells are neither login nor interactive: no profile is read, PATH may lack /usr/local/bin and the sbins.
_PATH = "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; "
_PLAIN = "LC_ALL=C; export LC_ALL; "
# sudo says this before every command, and runs it, where the host does not know its own name.
_UNRESOLVED = re.compile("sudo: unable to resolve host ")
# Behind sshd and sudo a command may begin after its end was said: it looks for its mark first, and the mark is set
# before it is looked for. The name is known to nobody until then.
_BEGIN = '[ ! -d "/tmp/$0" ] || { rmdir "/tmp/$0"; exit 143; }; '
# Whoever takes back what a command did must not meet it still at work: its end is waited for. The token comes in two
# pieces and goes to grep on its input, or the script would find itself.
_KILL = """
marked() { printf '%s\\n' "$1$2" | grep -slzxF -f - /proc/[0-9]*/cmdline | cut -d/ -f3; }
mkdir -m 700 "/tmp/$1$2"
begun=$(marked "$1" "$2")
for pid in $(marked "$1" "$2"); do kill -TERM "$pid" 2>/dev/null; done
turn=0
while [ -n "$(marked "$1" "$2")" ] && [ "$turn" -lt 60 ]; do turn=$((turn + 1)); sleep 0.1; done
for pid in $(marked "$1" "$2"); do kill -KILL "$pid" 2>/dev/null; done
[ -z "$begun" ] || rmdir "/tmp/$1$2"
# Marks of commands that had ended by themselves a moment before.
find /tmp -maxdepth 1 -type d -name 'flotteq-????????????????' -mmin +60 -exec rmdir {} +
"""


class SshHost:
    """Runs commands on a host over SSH; see ``Host`` for the calls.

    It connects when it is first used, and again when the connection was lost. It may be used from many threads; six
    commands run at once, more wait.

    Attributes:
        connections: how many SSH connections were made.
        channels: how many commands were started.
    """

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self.target = target
        self.connections = 0
        self.channels = 0
        self._link: Link | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_MOST_CHANNELS)

    def run(self, command: Command, *, timeout: float = 60, check: bool = True, stdin: bytes = b"") -> Done:
        """Run to the end; see ``Host.run``."""
        out = Tail()
        done = self._pump(command, out.add, source=io.BytesIO(stdin) if stdin else None, timeout=timeout)
        done = Done(command, done.code, out=text(out.value()), err=done.err, seconds=done.seconds)
        return done.check(self.name) if check else done

    def run_all(
        self, commands: Sequence[Command], *, timeout: float = 60, check: bool = True, together: bool = False
    ) -> list[Done]:
        """Run over one channel; see ``Host.run_all``."""
        mark = _token()
        text = side_by_side(commands, mark) if together else batch(commands, mark)
        done = self._results(commands, text, mark, timeout=timeout)
        return [one.check(self.name) if check else one for one in done]

    def stream(
        self,
        command: Command,
        *,
        sink: BinaryIO | None = None,
        source: BinaryIO | None = None,
        idle: float = 60,
        timeout: float = 3600,
    ) -> Done:
        """Stream bytes; see ``Host.stream``. Of standard error the last 64 KiB are kept."""
        write = sink.write if sink else len
        done = self._pump(command, write, source=source, idle=idle, timeout=timeout, keep_error=_ERROR_KEPT)
        return done.check(self.name)

    def follow(self, command: Command, on_line: Callable[[str], None], *, timeout: float) -> Done:
        """Hand over each line of both streams; see ``Host.follow``. ``out`` holds the last 200 lines."""
        lines = Lines(on_line)
        done = self._pump(command, lines.add, timeout=timeout, combine=True)
        lines.end()
        return self._judge(Done(command, done.code, out=lines.value(), seconds=done.seconds))

    def open(self, command: Command) -> Session:
        """Start a conversation; see ``Host.open``. It takes one of the six channels until it is closed."""
        token = _token()
        script = f"{_PLAIN}{_PATH}{_marked(command, token)}; exit $?"
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._slot(_SESSION_WITHIN))
            peer = self._start(command, script, token)
            stack.callback(peer.close)
            return PeerSession(peer, self.name, on_close=stack.pop_all().close)

    def interact(self, command: Command) -> int:
        """Run with the user's terminal, or with plain streams where there is none; return the exit code.

        Raises:
            HostUnreachable: the connection was lost.
        """
        with self._slot(_SESSION_WITHIN):
            return self._begin(command, lambda link: link.attach(self._as_user(_PATH + command.render())))

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None where it does not exist.

        Raises:
            AccessDenied: it may not be read.
            CommandFailed: it is a directory, or reading failed.
        """
        out = Tail()
        done = self._pump(Command("cat", "--", path), out.add, timeout=_FILE_LIMIT)
        if done.ok:
            return out.value()
        if "No such file or directory" in done.err or "Not a directory" in done.err:
            return None
        raise self._refused("read", path, done)

    def write(self, path: str, file: File) -> None:
        """Write one file atomically; it never has wider permissions than ``file.mode`` and is never partial.

        Raises:
            AccessDenied: the directory is not writable, or the group is not the user's.
            CommandFailed: anything else.
        """
        script = Command("sh", "-c", WRITE_FILE, "write", path, mode_text(file), file.group or "", len(file.content))
        self._place(script, file.content, path)

    def write_tree(
        self,
        root: str,
        files: Mapping[str, File],
        *,
        first: Sequence[Command] = (),
        then: Sequence[Command] = (),
        timeout: float = _FILE_LIMIT,
        check: bool = True,
    ) -> list[Done]:
        """Write files below ``root`` over one channel, each atomically; all are checked before the first is placed.

        Raises:
            ValueError: a path is absolute or leaves ``root``.
            AccessDenied, CommandFailed: as in ``write``.
        """
        write = Command("sh", "-c", WRITE_TREE, "write", root)
        if not first and not then:
            self._place(write, pack(files), root)
            return []
        place = len(first)
        commands, mark = [*first, write, *then], _token()
        text = batch(commands, mark, reader=place)
        done = self._results(commands, text, mark, timeout=timeout, stdin=pack(files))
        if len(done) > place and not done[place].ok:
            raise self._refused("write", root, done[place])
        done[place : place + 1] = []
        return [one.check(self.name) if check else one for one in done]

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            link, self._link = self._link, None
        if link:
            link.close()

    def _results(
        self, commands: Sequence[Command], text: Command, mark: str, *, timeout: float, stdin: bytes = b""
    ) -> list[Done]:
        said = self.run(text, timeout=timeout, stdin=stdin).out
        return [
            Done(command, code, out=out, err=err)
            for command, (code, out, err) in zip(commands, split(said, mark), strict=False)
        ]

    def _place(self, script: Command, content: bytes, path: str) -> None:
        try:
            done = self.run(script, stdin=content, timeout=_FILE_LIMIT, check=False)
        except HostUnreachable as error:
            raise HostUnreachable(f"lost connection to {self.name} while writing {path}", hint=error.hint) from error
        if not done.ok:
            raise self._refused("write", path, done)

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
    ) -> Done:
        token = _token()
        # The limit runs on the host, so that it holds when this process is gone. The last `exit` turns a death by
        # signal into 128+n: paramiko drops the message that tells of it.
        limited = f"timeout --kill-after=5 {timeout:.3f} {_marked(command, token)}"
        with self._slot(timeout):
            peer = self._start(command, f"{_PLAIN}{_PATH}{limited}; exit $?", token, combine=combine)
            try:
                code, err = pump(peer, sink, source=source, idle=idle, limit=timeout + _GRACE, keep_error=keep_error)
            except OverdueError as overdue:
                raise overdue.explain(self.name, command) from None
            except LostError as error:
                raise self._lost(command) from error
            finally:
                peer.close()
            done = Done(command, code, err=text(err), seconds=time.monotonic() - peer.started)
        # 124 and 137 are timeout(1)'s; a command may return them, too, but not at that moment.
        if code in {124, 137} and done.seconds >= timeout:
            raise OverdueError(f"did not end within {timeout:g} s", err).explain(self.name, command)
        return self._judge(done)

    def _judge(self, done: Done) -> Done:
        """Return it unless sudo itself refused."""
        said = itertools.dropwhile(_UNRESOLVED.match, (done.err or done.out).splitlines())
        first = next(said, "")
        if self.target.elevates and done.code in {1, 127} and first.startswith(("sudo: ", "env: ")):
            raise AccessDenied(
                f"{self.name}: no root rights without a password: {first}",
                hint=f"on the host, as root: echo '{self.target.sudoers_line}' > /etc/sudoers.d/flotteq",
            )
        return done

    def _as_user(self, script: str) -> str:
        elevate = "env LC_ALL=C sudo -n " if self.target.elevates else ""
        return f"exec {elevate}sh -c {shlex.quote(script)}"

    @contextlib.contextmanager
    def _slot(self, timeout: float) -> Iterator[None]:
        if not self._slots.acquire(timeout=timeout):
            raise CommandTimedOut(f"{self.name}: {_MOST_CHANNELS} commands run and none ended within {timeout:g} s")
        with self._lock:
            self.channels += 1
        try:
            yield
        finally:
            self._slots.release()

    def _start(self, command: Command, script: str, token: str, *, combine: bool = False) -> "ChannelPeer":
        def start(link: "Link") -> "ChannelPeer":
            return link.start(self._as_user(script), combine=combine, end=lambda: self._end(link, token))

        return self._begin(command, start)

    def _begin(self, command: Command, start: "Callable[[Link], T]") -> T:
        """Start something on the connection; one that was lost before anything was sent is made again, once."""
        deadline = time.monotonic() + _SESSION_WITHIN
        tries = 2
        while True:
            link = self._connect()
            try:
                return start(link)
            except BusyError as error:
                if time.monotonic() > deadline:
                    raise HostUnreachable(
                        f"{self.name}: sshd refuses another session",
                        hint="set MaxSessions in the host's /etc/ssh/sshd_config to 10 or more",
                    ) from error
                # The server tells nobody when it is ready for another session.
                time.sleep(0.1)
            except LostError as error:
                tries -= 1
                if error.started or not tries:
                    raise self._lost(command) from error
                link.close()

    def _connect(self) -> "Link":
        from flotteq_tasks.host.connection import Link

        with self._lock:
            if self._link is None or not self._link.alive:
                if self._link:
                    self._link.close()
                self._link = None
                self._link = Link(self.target)
                self.connections += 1
            return self._link

    def _end(self, link: "Link", token: str) -> None:
        """Kill what carries ``token`` and wait for its end, ten seconds at most."""

        def kill() -> None:
            with contextlib.suppress(LostError, BusyError):
                text = self._as_user(f"sh -c {shlex.quote(_KILL)} kill {token[:8]} {token[8:]}")
                peer = link.start(text, combine=True, end=lambda: None)
                peer.wait(_GRACE)
                peer.close()

        if link.alive:
            killer = threading.Thread(target=kill, daemon=True)
            killer.start()
            killer.join(_END_WITHIN)

    def _refused(self, verb: str, path: str, done: Done) -> AccessDenied | CommandFailed:
        message = f"{self.name}: cannot {verb} {path}"
        hint = f"look at it on the host: ls -ld {shlex.quote(path)}"
        if "Permission denied" in done.err or "Operation not permitted" in done.err:
            return AccessDenied(message, hint=hint, details=done.err.strip())
        return CommandFailed(message, code=done.code, hint=hint, details=done.err.strip())

    def _lost(self, command: Command) -> HostUnreachable:
        return HostUnreachable(
            f"lost connection to {self.name}; the outcome of the command is unknown: {command.brief()}",
            hint="look at the host before you run it again",
        )


def _marked(command: Command, token: str) -> str:
    """The command as a shell whose name is ``token``."""
    return f"sh -c {shlex.quote(_BEGIN + command.render())} {token}"


def _token() -> str:
    """Return a word that marks one command among the host's processes."""
    return f"flotteq-{secrets.token_hex(8)}"
