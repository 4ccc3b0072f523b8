"""The shape of the settings, read from the dataclasses of ``model.stack``: which keys a table has, what a key holds."""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping

from flotteq_tasks.model.stack import Settings

Path = tuple[str, ...]

# Fields of Settings that the loader fills in: no file may set them.
COMPUTED = frozenset({"environment", "root", "env", "absent"})


def keys(table: object) -> list[str]:
    """Return the keys a table type has; empty for a table with free keys."""
    if not (isinstance(table, type) and dataclasses.is_dataclass(table)):
        return []
    return [field.name for field in dataclasses.fields(table) if table is not Settings or field.name not in COMPUTED]


def member(table: object, key: str) -> object | None:
    """Return the type behind a key of a table type, None when there is no such key."""
    if isinstance(table, type) and dataclasses.is_dataclass(table):
        return _plain(typing.get_type_hints(table)[key]) if key in keys(table) else None
    if typing.get_origin(table) is Mapping:
        return _plain(typing.get_args(table)[1])
    return None


def at(path: Iterable[str]) -> object | None:
    """Return the type at a key path below the settings, None when there is no such path."""
    found: object | None = Settings
    for key in path:
        found = member(found, key)
    return found


def is_table(kind: object) -> bool:
    """Whether a value of this type is written as a TOML table."""
    return typing.get_origin(kind) is Mapping or (isinstance(kind, type) and dataclasses.is_dataclass(kind))


def dotted(path: Iterable[str]) -> str:
    """Write a key path as TOML does: ``services.backend.port``, quotes where a key needs them."""
    return ".".join(key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key) for key in path)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _plain(kind: object) -> object:
    """``X`` of ``X | None``; a key that may be absent has the type it has when present."""
    if isinstance(kind, types.UnionType):
        return next(choice for choice in kind.__args__ if choice is not types.NoneType)
    return kind
