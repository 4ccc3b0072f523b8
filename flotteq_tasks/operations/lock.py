"""One operation at a time on a host, and a journal of what it did."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flotteq_tasks.commands import keeper as scripts
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host import interruption
from flotteq_tasks.host.base import Host, Session
from flotteq_tasks.model.errors import HostUnreachable, Locked
from flotteq_tasks.model.events import Report
from flotteq_tasks.operations.context import Site

# Seconds: the default of ``deploy.lease``.
LEASE = 45
# Beats in a lease: one that is late, or two, must not end it.
BEATS = 4
ANSWER = 30


class Keeper:
    """The held lock: writes journal lines and beats until it is released.

    Safe for use from several threads. A thread of its own does the talking: a Ctrl-C in the middle of an exchange would
    otherwise leave its answer to be taken for the next one's.
    """

    def __init__(self, session: Session, *, beat: float) -> None:
        self._session = session
        self._every = beat
        self._talk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keeper")
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()

    def write(self, event: str, **fields: Any) -> bool:
        """Add one line to the journal and wait for the host's answer.

        Returns:
            whether the host has it; not where its disk is full.

        Raises:
            HostUnreachable: the lock is gone with the connection; nothing more may be changed.
        """
        return self._ask([_line(event, fields)], "written", "full") == "written"

    def step(self, begins: str, *, ended: str = "") -> bool:
        """Write that a step begins, and that the one before it ended: one wait for both answers.

        Args:
            ended: the step before; empty: there was none.

        Returns, raises:
            as ``write``, for the line that the step begins.
        """
        before = [_line("end", {"step": ended})] if ended else []
        lines = [*before, _line("begin", {"step": begins})]
        return self._ask(lines, "written", "full") == "written"

    def make_room(self) -> None:
        """Give back what is set aside on the host: putting things back must be possible on a full disk.

        Raises:
            HostUnreachable: as ``write``.
        """
        self._ask(["room"], "room")

    def last_words(self, event: str, **fields: Any) -> None:
        """Write the outcome; a connection that is gone must not hide how the operation ended."""
        with contextlib.suppress(HostUnreachable):
            self.write(event, **fields)

    def release(self) -> None:
        """Give the lock back; a connection that is gone has given it back already."""
        self._stop.set()
        try:
            self._ask(["release"], "released")
        except HostUnreachable:
            return
        finally:
            self._talk.shutdown(wait=False)
            self._session.close()

    def _ask(self, lines: Sequence[str], *answers: str) -> str:
        return self._talk.submit(self._exchange, lines, answers).result()

    def _exchange(self, lines: Sequence[str], answers: tuple[str, ...]) -> str:
        """Send lines at once; return the answer to the last one."""
        for line in lines:
            self._session.send(line)
        heard: str | None = None
        for _ in lines:
            heard = self._session.receive(timeout=ANSWER)
            if heard not in answers:
                raise HostUnreachable(
                    f"the lock on the host is lost (answer: {heard!r}); somebody may take it over",
                    hint="run the same command again: it repairs what was begun",
                )
        return heard or ""

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            # After the release there is nobody left to talk: RuntimeError.
            try:
                self._ask(["beat"], "beat")
            except (HostUnreachable, RuntimeError):
                return


@contextlib.contextmanager
def hold(
    host: Host, state: str, holder: Mapping[str, str], report: Report, *, lease: float = LEASE
) -> Iterator[Keeper]:
    """Hold the host's lock around a block. Signals wait in it until somebody looks for them.

    Args:
        state: the state directory on the host.
        holder: who, from where, what for; shown to whoever finds the lock held.
        lease: seconds of silence after which a client counts as dead.

    Raises:
        Locked: somebody else holds it; the message names the holder.
    """
    with interruption.deferred():
        session = host.open(scripts.keeper(state, lease=lease))
        try:
            _take(host, session, holder, report)
        except BaseException:
            session.close()
            raise
        keeper = Keeper(session, beat=lease / BEATS)
        try:
            keeper.write("start", **holder)
            yield keeper
        except BaseException as error:
            keeper.last_words("end", result="failed", error=str(error) or type(error).__name__, **_short(holder))
            raise
        else:
            keeper.last_words("end", result="done", **_short(holder))
        finally:
            keeper.release()


def locked(site: Site, holder: Mapping[str, str]) -> contextlib.AbstractContextManager[Keeper]:
    """``hold`` for a site, with its lease."""
    return hold(site.host, site.state, holder, site.report, lease=site.settings.deploy.lease)


def _line(event: str, fields: Mapping[str, Any]) -> str:
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
    return json.dumps(line, sort_keys=True)


def _take(host: Host, session: Session, holder: Mapping[str, str], report: Report) -> None:
    session.send(json.dumps(dict(holder), sort_keys=True))
    first = session.receive(timeout=ANSWER)
    if first is not None and first.startswith("after "):
        report.warn(f"took over the lock of {describe(_holder(first[6:]))}, whose client is gone")
        first = session.receive(timeout=ANSWER)
    if first == "held":
        return
    code = session.close()
    if code == scripts.LOCKED:
        who = describe(_holder(first)) if first else "another client"
        raise Locked(
            f"{host.name} is locked by {who}",
            hint="wait for it: `inv lock.status`. The lock of a dead client ends by itself within a minute",
        )
    # The conversation drops what sudo says; a plain command raises it in words.
    host.run(Command("true"))
    raise HostUnreachable(f"{host.name}: the lock could not be taken (exit code {code}, answer {first!r})")


def _holder(text: str) -> dict[str, Any]:
    """Who holds it, as the host's file says; nobody can be named where a power cut or a full disk left half of it."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _short(holder: Mapping[str, str]) -> dict[str, str]:
    return {key: holder[key] for key in ("what", "who") if key in holder}


def describe(holder: Mapping[str, str]) -> str:
    """The holder in words: who, from where, what for, since when."""
    return (
        f"{holder.get('who', 'somebody')} on {holder.get('where', 'another machine')} "
        f"({holder.get('what', 'an operation')}, since {holder.get('since', 'an unknown time')})"
    )


@dataclass(frozen=True)
class LockState:
    """The lock of a host. ``holder``: who has it, or who was cut off with it; empty when nobody was."""

    host: str
    held: bool
    holder: Mapping[str, str]

    def __str__(self) -> str:
        """One sentence."""
        if self.held:
            return f"{self.host} is locked by {describe(self.holder)}"
        cut = f"; {describe(self.holder)} was cut off before the end: the next deploy repairs" if self.holder else ""
        return f"{self.host} is not locked{cut}"


def read_lock(host: Host, state: str) -> LockState:
    """Read whether the lock is held, and by whom."""
    kind, _, text = host.run(scripts.read_lock(state)).out.partition("\n")
    return LockState(host.name, bool(kind) and kind != "dead", _holder(text) if kind else {})


def who_holds(host: Host, state: str) -> str:
    """Say in one sentence whether the lock is held, and by whom."""
    return str(read_lock(host, state))


def break_lock(host: Host, state: str) -> str:
    """Take the lock away from whoever holds it; return what happened in one sentence."""
    held = who_holds(host, state)
    done = host.run(scripts.break_lock(state), check=False)
    if done.code == scripts.FREE:
        return f"{host.name} is not locked"
    done.check(host.name)
    return f"{held}; taken away. Its client stops at its next step; the next deploy repairs"
