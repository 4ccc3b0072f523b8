"""Names typed by people."""

import re
import shlex
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.stack import Settings


def known_services(settings: Settings, names: Iterable[str], *, among: Collection[str] | None = None) -> list[str]:
    """Check service names and return them in the order of flotteq.toml.

    Raises:
        UsageError: one does not exist; the nearest is suggested.
    """
    possible = list(settings.services) if among is None else list(among)
    wanted = [part for name in names for part in name.split(",") if part]
    for name in wanted:
        if name not in possible and name in settings.services:
            raise UsageError(f"service {name!r} cannot be chosen here", hint=f"one of: {', '.join(possible)}")
        if name not in possible:
            raise unknown("service", name, possible)
    return [name for name in possible if name in wanted]


def unknown(kind: str, name: str, possible: Collection[str]) -> UsageError:
    """An error that names what exists and the nearest of it."""
    near = get_close_matches(name, possible, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(possible) or 'none exists'}"
    return UsageError(f"{kind} {name!r} does not exist", hint=hint)


def number(flag: str, text: str, *, least: int) -> int:
    """Read a whole number typed by a person.

    Raises:
        UsageError: it is none, or less than ``least``. (Invoke would end in a traceback.)
    """
    try:
        found = int(text)
    except ValueError:
        raise UsageError(f"{flag} {text!r} is not a whole number") from None
    if found < least:
        raise UsageError(f"{flag} {found}: at least {least}")
    return found


def words(flag: str, text: str) -> list[str]:
    """Split a command line typed by a person as a shell would.

    Raises:
        UsageError: a quotation has no end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text!r}: {str(error).lower()}", hint='quote it: "it\'s", \'say "hello"\'') from None


def share_of_data(flag: str, text: str) -> str:
    """Check a share of a repository's data: ``1/7``, ``2.5%``; empty for none.

    Raises:
        UsageError: it is neither, or more than all.
    """
    part = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    percent = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%", text)
    good = (
        not text
        or (part is not None and 1 <= int(part[1]) <= int(part[2]))
        or (percent is not None and 0 < float(percent[1]) <= 100)
    )
    if not good:
        raise UsageError(f"{flag} {text!r} is no part of the data", hint="the second of seven: 2/7; all of it: 100%")
    return text


_MOMENT = re.compile(
    r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})?)?|[0-9]+(\.[0-9]+)?"
)


def since(flag: str, text: str) -> str:
    """Check a beginning in time as the engine reads it: ``10m``, ``2026-11-22``, ``2026-11-22T14:03:00Z``, seconds.

    Raises:
        UsageError: it is none of these.
    """
    if text and not _MOMENT.fullmatch(text):
        raise UsageError(f"{flag} {text!r} is no time", hint="10m, 2h30m, 2026-11-22 or 2026-11-22T14:03:00Z")
    return text


def one_of(flag: str, text: str, possible: Collection[str]) -> str:
    """Check a word typed by a person.

    Raises:
        UsageError: it is none of those that are possible.
    """
    if text not in possible:
        raise UsageError(f"{flag} {text!r} is none of: {', '.join(word for word in possible if word)}")
    return text


def own_volume(settings: Settings, name: str, *, among: Iterable[str]) -> tuple[str, str]:
    """A volume of the project: its name without the project's in front, and with it. Pure.

    Args:
        name: with or without the project's name in front.
        among: the project's volumes.

    Raises:
        UsageError: the project has no such volume; the nearest of its own is suggested.
    """
    prefix = f"{settings.project.name}_"
    own = sorted(one.removeprefix(prefix) for one in among)
    short = name.removeprefix(prefix)
    if short not in own:
        raise unknown("volume", name, own)
    return short, prefix + short
