"""Tables to ``Settings`` by pydantic, strictly; its errors become lines with file, key path, found and expected."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from flotteq_tasks.model.stack import Settings
from flotteq_tasks.settings import schema
from flotteq_tasks.settings.layers import Merged

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "string_type": "a string",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a table",
    "mapping_type": "a table",
    "dataclass_type": "a table",
    "dataclass_exact_type": "a table",
    "tuple_type": "an array",
    "list_type": "an array",
}


def validate(merged: Merged) -> tuple[Settings | None, list[str]]:
    """Return the settings, or one line for each thing that is wrong with the tables."""
    # Imported here: 100 ms that `inv --list` must not pay.
    from pydantic import ValidationError

    problems = [_unknown(merged, (key,)) for key in merged.tree if key in schema.COMPUTED]
    tree = {key: value for key, value in merged.tree.items() if key not in schema.COMPUTED}
    try:
        # JSON is the one strict mode in which tables and arrays are accepted for dataclasses and tuples.
        settings = _adapter().validate_json(json.dumps(tree, default=_foreign), strict=True)
    except ValidationError as error:
        problems += [_line(merged, detail) for detail in error.errors(include_url=False)]
        return None, _unique(problems)
    return (None if problems else settings), problems


@cache
def _adapter() -> "TypeAdapter[Settings]":
    from pydantic import TypeAdapter

    return TypeAdapter(Settings)


def _foreign(_: object) -> object:
    """Stand in for TOML's dates, which JSON lacks, by something that fits no setting."""
    return [{}]


def _line(merged: Merged, detail: "ErrorDetails") -> str:
    location = detail["loc"]
    path = tuple(str(part) for part in location if not isinstance(part, int))
    index = "".join(f"[{part}]" for part in location if isinstance(part, int))
    where = merged.where(path) + index
    kind = detail["type"]
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return _unknown(merged, path)
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{where}: required key is missing{_misspelt(merged, path)}"
    value = _at(merged.tree, location)
    if kind == "literal_error":
        return f"{where}: expected {detail['ctx']['expected']}, found {describe(value)}".replace("'", '"')
    return f"{where}: expected {EXPECTED.get(kind, detail['msg'])}, found {describe(value)}"


def _unknown(merged: Merged, path: schema.Path) -> str:
    choices = schema.keys(schema.at(path[:-1]))
    near = schema.nearest(path[-1], choices)
    advice = f'did you mean "{near}"?' if near else f"there are: {', '.join(choices)}"
    return f"{merged.where(path)}: unknown key, {advice}"


def _misspelt(merged: Merged, path: schema.Path) -> str:
    """Recognise a table of services or secrets that only exists because its name was misspelt."""
    table = merged.value(path[:-2]) if len(path) > 2 else None
    if not isinstance(table, dict):
        return ""
    near = schema.nearest(path[-2], [name for name in table if name != path[-2]])
    source = merged.source(path[:-1])
    if near is None or source is None or source is merged.first:
        return ""
    return f", did you mean {schema.dotted((*path[:-2], near))}?"


def _at(tree: Any, location: tuple[int | str, ...]) -> object:
    for part in location:
        tree = tree[part]
    return tree


def describe(value: object) -> str:
    """Name a value as TOML's users know it: ``the string "3"``, ``the integer 3``, ``a table``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string {json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, int):
        return f"the integer {value}"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, dict):
        return "a table"
    return "an array" if isinstance(value, list) else f"the date {value}"


def _unique(lines: list[str]) -> list[str]:
    return list(dict.fromkeys(lines))
