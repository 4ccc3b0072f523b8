"""docs/SETTINGS.md says what the dataclasses say: every key, its type, its default."""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flotteq_tasks.model import edge, security, server, stack
from flotteq_tasks.settings import schema
from flotteq_tasks.settings.loader import load

REPOSITORY = Path(__file__).parents[3]
TEXT = (REPOSITORY / "docs" / "SETTINGS.md").read_text("utf-8")

TABLES = {
    "project": stack.Project,
    "environments.NAME.host": stack.HostSettings,
    "edge": edge.EdgeSettings,
    "edge.timeouts": edge.EdgeTimeouts,
    "edge.sizes": edge.EdgeSizes,
    "registry": stack.Registry,
    "services.NAME": stack.Service,
    "services.NAME.build": stack.ServiceBuild,
    "services.NAME.health": stack.Health,
    "services.NAME.public": edge.PublicSettings,
    "acme": stack.Acme,
    "limits": edge.Limits,
    "server": server.ServerSettings,
    "build": stack.BuildSettings,
    "secrets.NAME": stack.SecretSpec,
    "database": stack.Database,
    "backup": stack.BackupSettings,
    "backup.copies.NAME": stack.CopySettings,
    "schedule": stack.ScheduleSettings,
    "migrations": stack.Migrations,
    "deploy": stack.DeploySettings,
    "audit": security.AuditSettings,
}


def documented() -> dict[str, dict[str, tuple[str, str]]]:
    tables = {}
    for title, body in re.findall(r"^### `\[(.+?)\]`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL):
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (\S.*?) \|$", body, re.MULTILINE)
        assert len(rows) == body.count("\n| `"), f"[{title}] has a row that is not: key, type, default, meaning"
        tables[title] = {key: (kind, default) for key, kind, default, _ in rows}
    return tables


def type_text(kind: object) -> str:
    if isinstance(kind, types.UnionType):
        kind = next(choice for choice in kind.__args__ if choice is not types.NoneType)
    if typing.get_origin(kind) is typing.Literal:
        choices = [f'`"{choice}"`' for choice in typing.get_args(kind)]
        return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    if typing.get_origin(kind) is tuple:
        inner = type_text(typing.get_args(kind)[0])
        return (
            f"array of {inner}s" if inner in {"string", "integer"} else f"array of {inner.replace('array', 'arrays')}"
        )
    if typing.get_origin(kind) is Mapping:
        inner = typing.get_args(kind)[1]
        if typing.get_origin(inner) is tuple:
            return f"table of {type_text(inner).replace('array', 'arrays')}"
        return "table of tables" if dataclasses.is_dataclass(inner) else "table of strings"
    if dataclasses.is_dataclass(kind):
        return "table"
    return {str: "string", int: "integer", float: "number", bool: "true or false"}[kind]


def default_text(field: dataclasses.Field) -> str:
    if field.default is None:
        return "unset"
    if field.default_factory is not dataclasses.MISSING:
        return "`{}`"
    return "\u2013" if field.default is dataclasses.MISSING else f"`{json.dumps(field.default)}`"


def test_every_table_is_here():
    assert list(documented()) == list(TABLES)
    modules = {**vars(stack), **vars(edge)}
    tables = {kind for kind in modules.values() if dataclasses.is_dataclass(kind)} - {stack.Settings}
    assert set(TABLES.values()) == tables


@pytest.mark.parametrize("name", TABLES)
def test_keys_types_and_defaults(name):
    table = TABLES[name]
    hints = typing.get_type_hints(table)
    assert documented()[name] == {
        field.name: (type_text(hints[field.name]), default_text(field)) for field in dataclasses.fields(table)
    }


def test_sections_of_the_settings():
    names = {name.removeprefix("environments.NAME.").split(".")[0] for name in TABLES}
    assert names == set(schema.keys(stack.Settings))


def examples() -> Iterator[str]:
    yield from re.findall(r"`(FLOTTEQ__[A-Z_]+)(?:=\S+)?`", TEXT)


@pytest.mark.parametrize("name", sorted(set(examples()) - {"FLOTTEQ__SECTION__KEY"}))
def test_variables_in_the_text_exist(name):
    load(REPOSITORY, "staging", {name: "2"})


def test_error_lines_in_the_text_are_real(project):
    project.replace("port = 3000", "prot = 3000")
    project.write("flotteq.local.toml", '[environments.staging.host]\nport = "22"\n')
    project.write(".env.staging", "\n\nCORS_ORIGIN=$X\n")
    lines = project.errors("staging", FLOTTEQ__DEPLOY__DRIAN="1")
    block = TEXT.rpartition("```\n")[0].rpartition("```\n")[2]
    assert sorted(block.strip().split("\n")) == sorted(lines)


def test_links():
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.M)
    }
    assert set(re.findall(r"\]\(#(.+?)\)", TEXT)) <= anchors
