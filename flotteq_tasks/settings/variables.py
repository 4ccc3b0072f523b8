"""``FLOTTEQ__SECTION__KEY=value``: single settings from variables, for CI and for trying things out."""

import tomllib
from collections.abc import Mapping
from typing import Any

from flotteq_tasks.settings import schema
from flotteq_tasks.settings.layers import Layer, Merged, Table

PREFIX = "FLOTTEQ__"


def layers(variables: Mapping[str, str], merged: Merged) -> tuple[list[Layer], list[str]]:
    """Return a layer for each ``FLOTTEQ__`` variable and a line for each that names no setting.

    Args:
        variables: the process environment; everything without the prefix is left alone.
        merged: the files' values: they say which services and secrets exist.
    """
    found: list[Layer] = []
    problems: list[str] = []
    seen: dict[schema.Path, str] = {}
    for name in sorted(name for name in variables if name.upper().startswith(PREFIX)):
        path, problem = _resolve(name, merged)
        if problem:
            problems.append(problem)
        elif path in seen:
            problems.append(f"{name}: sets {schema.dotted(path)} again, {seen[path]} does already: unset one of them")
        else:
            seen[path] = name
            table: Table = {path[-1]: _value(variables[name], schema.at(path))}
            for key in reversed(path[:-1]):
                table = {key: table}
            found.append(Layer(name, name, table, path, variable=True))
    return found, problems


def _resolve(name: str, merged: Merged) -> tuple[schema.Path, str]:
    """Find the key path a variable names; the second value says why there is none."""
    words = name[len(PREFIX) :].split("__")
    if words[0].lower() == "environments" and len(words) > 2:
        return (), f"{name}: leave the environment out: {PREFIX}{'__'.join(words[2:])}"
    path: schema.Path = ()
    for word in words:
        table = schema.at(path)
        present = merged.value(path)
        names = list(present) if isinstance(present, dict) else []
        choices = schema.keys(table) or names
        match = next((choice for choice in choices if _same(choice, word)), None)
        if match is None and word and schema.member(table, word) is str:
            match = word
        if match is None:
            split = _split(name, word, path, choices, merged)
            return (), split or _unknown(name, word, path, choices)
        path = (*path, match)
    return path, ""


def _split(name: str, word: str, path: schema.Path, choices: list[str], merged: Merged) -> str:
    """Say which setting ``FLOTTEQ__DEPLOY_DRAIN`` would be with one more underscore; empty: none."""
    for choice in choices:
        table = f"{_shout(choice)}_"
        if word.upper().startswith(table):
            near = name.upper().replace(word.upper(), f"{table}_{word.upper().removeprefix(table)}", 1)
            if not _resolve(near, merged)[1]:
                return f"{name}: unknown key {schema.dotted((*path, word.lower()))}, did you mean {near}?"
    return ""


def _unknown(name: str, word: str, path: schema.Path, choices: list[str]) -> str:
    start = PREFIX + "".join(f"{_shout(key)}__" for key in path)
    wrong = schema.dotted((*path, word.lower())) if word else "(empty)"
    near = schema.nearest(word.replace("-", "_"), [choice.replace("-", "_") for choice in choices])
    if near:
        return f"{name}: unknown key {wrong}, did you mean {start}{_shout(near)}?"
    if not choices:
        return f"{name}: unknown key {wrong}, {schema.dotted(path)} has no keys"
    return f"{name}: unknown key {wrong}, there are: {', '.join(choices)}"


def _shout(key: str) -> str:
    return key.upper().replace("-", "_")


def _same(key: str, word: str) -> bool:
    return _shout(key) == _shout(word)


def _value(text: str, kind: object) -> Any:
    """Read the text as a TOML value when it is one; where a string is expected, ``123`` and ``1.5`` stay text."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    if set(table) != {"value"}:
        return text
    value = table["value"]
    return text if _is_text(kind) and not isinstance(value, str) else value


def _is_text(kind: object) -> bool:
    """Strings, and choices such as ``"rolling"``, which are strings as well."""
    return kind is str or (not isinstance(kind, type) and not schema.is_table(kind) and "Literal" in str(kind))
