"""Names typed by people."""

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
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(possible)}"
    return UsageError(f"{kind} {name!r} does not exist", hint=hint)


def number(flag: str, text: str) -> int:
    """Read a whole number typed by a person.

    Raises:
        UsageError: it is none. (Invoke would end in a traceback.)
    """
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{flag} {text!r} is not a whole number") from None


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
        among: all volumes of the host.

    Raises:
        UsageError: the project has no such volume; the nearest of its own is suggested.
    """
    prefix = f"{settings.project.name}_"
    own = sorted(one.removeprefix(prefix) for one in among if one.startswith(prefix))
    short = name.removeprefix(prefix)
    if short not in own:
        raise unknown("volume", name, own)
    return short, prefix + short
