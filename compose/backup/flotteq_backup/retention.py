"""Which sets go. Only sets that were verified count as kept; nothing goes when anything looks wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flotteq_backup.errors import Failed

YOUNG = timedelta(hours=48)
AT_ONCE = 0.3
FEW = 3
SKEW = timedelta(minutes=10)
_PERIODS = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}


@dataclass(frozen=True)
class Keep:
    """How many are kept: the last ones, and one of each of so many days, weeks, months, years.

    Of base backups only the last ``bases``: the log since the oldest of them is kept as well.
    """

    last: int = 3
    daily: int = 7
    weekly: int = 5
    monthly: int = 12
    yearly: int = 2
    bases: int = 3


@dataclass
class Plan:
    """Sets that stay, each with its reasons, and sets that go."""

    keep: dict[str, list[str]] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)


def plan(sets: Sequence[Mapping[str, Any]], keep: Keep, now: datetime) -> Plan:
    """Decide for every set. Pure.

    Args:
        sets: oldest first, as the ledger has them.
        now: UTC.
    """
    found = Plan()

    def stay(one: Mapping[str, Any], why: str) -> None:
        found.keep.setdefault(str(one["id"]), []).append(why)

    for one in sets:
        age = now - created(one)
        if age < YOUNG:
            stay(one, "young")
        if age < timedelta(days=int(one.get("keep_days", 0))):
            stay(one, f"kept for {one['keep_days']} days")
    for part in sorted({part for one in sets for part in one["parts"]}):
        good = [one for one in reversed(sets) if one.get("verified") and part in one["parts"]]
        for one in good[: max(1, keep.bases if part == "base" else keep.last)]:
            stay(one, f"last of {part}")
        if part == "base":
            continue
        for period, form in _PERIODS.items():
            newest: dict[str, Mapping[str, Any]] = {}
            for one in good:
                newest.setdefault(created(one).strftime(form), one)
            for one in list(newest.values())[: getattr(keep, period)]:
                stay(one, f"{period} of {part}")
    found.remove = [str(one["id"]) for one in sets if one["id"] not in found.keep]
    return found


def guard(sets: Sequence[Mapping[str, Any]], found: Plan, last_event: str, now: datetime, *, many: bool) -> None:
    """Refuse a plan that only a mistake can explain.

    Args:
        last_event: when the ledger was last written.
        many: a person has said that many may go at once.

    Raises:
        Failed: names the reason; nothing was removed.
    """
    if not found.remove:
        return
    moments = [created(one) for one in sets] + ([datetime.fromisoformat(last_event)] if last_event else [])
    if max(moments) > now + SKEW:
        raise Failed("the ledger is from the future: the clock moved back; nothing is removed", hint="timedatectl")
    if not sets[-1].get("verified"):
        raise Failed(
            f"the newest set {sets[-1]['id']} is not verified; nothing is removed before one is", hint="inv backup.all"
        )
    share = len(found.remove) / len(sets)
    if share > AT_ONCE and len(found.remove) > FEW and not many:
        raise Failed(
            f"{len(found.remove)} of {len(sets)} sets would go at once; nothing is removed",
            hint="look at inv backup.prune --dry-run; when that is right: inv backup.prune --many",
        )


def created(one: Mapping[str, Any]) -> datetime:
    """When a set was taken."""
    return datetime.fromisoformat(str(one["created"])).astimezone(UTC)
