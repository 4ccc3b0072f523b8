"""What can be recovered: the received write-ahead log, and the moments that it reaches. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flotteq_tasks.model.backup import BackupSet
from flotteq_tasks.model.errors import UsageError

# A file's time may be a tick of the kernel earlier than what was written.
TICK = timedelta(milliseconds=20)
EXAMPLE = 'inv restore.db --to "2026-11-22 14:03"'


def read_moment(text: str, now: datetime) -> datetime:
    """A moment as a person writes it: UTC unless it ends with an offset.

    Args:
        now: a later one is refused.

    Raises:
        UsageError: it is no date with a time, or lies ahead.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        found = None
    # A date alone would mean midnight, which hardly anybody means.
    if found is None or ":" not in text:
        raise UsageError(f"{text!r} is no moment: a date and a time, UTC unless an offset follows", hint=EXAMPLE)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if found > now:
        raise UsageError(
            f"{moment(found)} lies ahead: it is {moment(now)} now",
            hint="a time without an offset is UTC: 2026-11-22 14:03+01:00",
        )
    return found


def moment(when: datetime) -> str:
    """A moment for people.

    >>> moment(datetime(2026, 11, 22, 14, 3, tzinfo=UTC))
    '2026-11-22 14:03:00 UTC'
    """
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class Window:
    """Moments that can be reached, from the end of a base backup to the last byte of log that leads on from it."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{moment(self.start)} to {moment(self.end)}"


@dataclass(frozen=True)
class Log:
    """The received log on the host.

    Args:
        status: of the slot, as in pg_replication_slots; empty: there is none.
        active: whether somebody receives.
        lag: bytes that the server keeps because they have not been received.
        stored: when the log went to the repository last; None: never.
        system: the cluster; empty: the database does not answer.
        chains: pieces of log without a gap, oldest first, each with the time of its last byte.
        bound: most bytes that the server keeps.
        minutes: how often the log goes to the repository.
    """

    status: str = ""
    active: bool = False
    lag: int = 0
    stored: datetime | None = None
    system: str = ""
    chains: tuple[tuple[str, datetime], ...] = field(default=())
    bound: int = 0
    minutes: int = 15

    def problem(self, sets: Iterable[BackupSet], now: datetime) -> str:
        """What of the promise is not kept; empty: nothing."""
        return self._receiving() or self._leading(sets) or self._storing(now)

    def _receiving(self) -> str:
        if not self.system:
            return "the database does not answer: nothing is known of its log"
        if not self.status:
            return "there is no slot: nothing is received"
        if self.status == "lost":
            return "the slot is lost: WAL is gone that was not received"
        if not self.active:
            return "the slot is inactive: nothing is received"
        if self.lag > self.bound // 2:
            return f"the receiver is {self.lag >> 20} MiB behind, {self.bound >> 20} MiB are kept for it"
        return ""

    def _leading(self, sets: Iterable[BackupSet]) -> str:
        live = self.chains[-1][0] if self.chains else ""
        if any(one.verified and one.base.get("chain") == live for one in sets):
            return ""
        return "no base backup leads on to the log that is received: inv backup.base"

    def _storing(self, now: datetime) -> str:
        if self.stored is None:
            return "the log was never stored"
        late = (now - self.stored).total_seconds() / 60
        # One run may be skipped for a backup that takes its time.
        if late > 3 * self.minutes + 5:
            return f"the log was stored {late:.0f} min ago, promised: every {self.minutes} min"
        return ""


def read_log(text: str, *, bound: int, minutes: int) -> Log:
    """The output of ``commands.pitr.look``."""
    status, active, lag, stored, system = "", False, 0, None, ""
    chains = []
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        match kind:
            case "slot":
                status, flag, number = rest.split()
                active, lag = flag == "t", int(number)
            case "system":
                system = rest
            case "stored":
                stored = datetime.fromisoformat(json.loads(rest)["at"])
            case "chain":
                name, seconds = rest.split()
                chains.append((name, datetime.fromtimestamp(float(seconds), UTC)))
    chains.sort(key=lambda one: one[0].rpartition("-")[2])
    return Log(status, active, lag, stored, system, tuple(chains), bound, minutes)


def windows(sets: Iterable[BackupSet], log: Log, now: datetime) -> list[Window]:
    """What can be recovered, oldest first: of every chain with a verified base backup, from the oldest of these on."""
    oldest: dict[str, datetime] = {}
    for one in sets:
        if one.verified and one.base:
            stopped = datetime.fromisoformat(one.base["stopped"])
            oldest[one.base["chain"]] = min(oldest.get(one.base["chain"], stopped), stopped)
    found = []
    for name, last in log.chains:
        live = name == log.chains[-1][0] and name.startswith(f"{log.system}-") and log.active and log.status != "lost"
        if name in oldest:
            found.append(Window(oldest[name], max(oldest[name], now if live else last + TICK)))
    return found


def require(to: datetime, found: Iterable[Window]) -> None:
    """Refuse a moment that cannot be reached.

    Raises:
        UsageError: it names what can be.
    """
    known = list(found)
    if not any(one.start <= to <= one.end for one in known):
        reach = "; ".join(str(one) for one in known)
        raise UsageError(
            f"{moment(to)} cannot be reached; what can: {reach}" if known
            else f"{moment(to)} cannot be reached: there is no base backup with its log",
            hint="" if known else "inv backup.base",
        )  # fmt: skip
