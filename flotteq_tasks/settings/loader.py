"""The one loader: flotteq.toml, environment, flotteq.local.toml, FLOTTEQ__ variables and .env become ``Settings``."""

import dataclasses
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.settings import checks, envfile, schema, validation, variables
from flotteq_tasks.settings.layers import Layer, Merged, Table, read_toml

FILE = "flotteq.toml"
EXAMPLE_FILE = ".env.example"
LOCAL_FILE = "flotteq.local.toml"
DEFAULT_ENVIRONMENT = "production"
ENVIRONMENT_VARIABLE = "FLOTTEQ_ENV"


def find_root(start: Path) -> Path:
    """Return the nearest directory at or above ``start`` that has a flotteq.toml.

    Raises:
        SettingsError: there is none.
    """
    start = start.resolve()
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return directory
    raise SettingsError(
        f"no {FILE} in {start} or above it",
        hint=f"run inv inside the project, or write a {FILE}: docs/SETTINGS.md describes it",
    )


def environments(root: Path) -> list[str]:
    """Return the names of the environments that flotteq.toml and flotteq.local.toml define."""
    return _names([table for _, table in _files(root)])


def load(root: Path, environment: str | None, variables: Mapping[str, str]) -> Settings:
    """Return the settings of one environment.

    Args:
        root: the directory of flotteq.toml.
        environment: its name; None means ``FLOTTEQ_ENV``, else production.
        variables: the process environment. It is read, never changed.

    Raises:
        SettingsError: something is wrong; the message has one line for each error.
    """
    return _load(root, environment, variables)[0]


def explain(root: Path, environment: str | None, variables: Mapping[str, str]) -> list[tuple[str, object, str]]:
    """Return every setting as key path, value and origin, in the order of docs/SETTINGS.md.

    A key that is not set is None. The origin is ``default``, a file, ``environments.NAME``, or the name of the variable
    that set it.

    Raises:
        SettingsError: as ``load``.
    """
    settings, merged = _load(root, environment, variables)
    rows: list[tuple[str, object, str]] = []
    for path, value in _leaves(settings, ()):
        source = merged.source(path)
        rows.append((schema.dotted(path), value, source.origin if source else "default"))
    env_file = f".env.{settings.environment}"
    return rows + [(schema.dotted(("env", key)), value, env_file) for key, value in settings.env.items()]


def lint_env(root: Path, environment: str | None, variables: Mapping[str, str] | None = None) -> list[envfile.Problem]:
    """Return what is wrong with an environment's .env file, warnings included.

    Args:
        root: the directory of flotteq.toml.
        environment: its name; None means ``FLOTTEQ_ENV``, else production.
        variables: where ``FLOTTEQ_ENV`` is looked up; None is the process environment.

    Raises:
        SettingsError: there is no such file or environment, or flotteq.toml cannot be read.
    """
    name, merged, _ = _merge(root, _files(root), environment, os.environ if variables is None else variables)
    return envfile.lint(_read_env(root, name), f".env.{name}", secrets=_secret_names(merged))


def _load(root: Path, environment: str | None, variables_: Mapping[str, str]) -> tuple[Settings, Merged]:
    files = _files(root)
    name, merged, problems = _merge(root, files, environment, variables_)
    settings, wrong = validation.validate(merged)
    problems += wrong
    env, env_problems, hint = _env(root, name, _secret_names(merged))
    problems += env_problems
    if settings is not None:
        settings = dataclasses.replace(
            settings, environment=name, root=root, env=env, absent=_absent(root, files, name)
        ).with_receiver()
        problems += [f"{merged.where(path)}: {message}" for path, message in checks.check(settings)]
    if settings is None or problems:
        raise SettingsError("\n".join(problems), hint=hint or "docs/SETTINGS.md describes every key")
    return settings, merged


def _merge(
    root: Path, files: list[tuple[str, Table]], environment: str | None, variables_: Mapping[str, str]
) -> tuple[str, Merged, list[str]]:
    name = _choose(environment, variables_, _names([table for _, table in files]))
    merged, problems = Merged(), []
    for file, table in files:
        for layer in _layers(root, file, table, name):
            if isinstance(layer, str):
                problems.append(layer)
            else:
                merged.add(layer)
    set_by_variables, unknown = variables.layers(variables_, merged)
    for layer in set_by_variables:
        merged.add(layer)
    if "host" not in merged.tree:
        problems.append(f"{FILE}: environments.{name}.host: required key is missing")
        # Reported; this keeps the validation from reporting it again without the environment's name.
        merged.tree["host"] = {"address": name}
    return name, merged, problems + unknown


def _files(root: Path) -> list[tuple[str, Table]]:
    if not (root / FILE).is_file():
        raise SettingsError(
            f"{FILE}: not found in {root}", hint="run inv inside the project; docs/SETTINGS.md describes the file"
        )
    files = [(name, read_toml(root / name, name)) for name in (FILE, LOCAL_FILE) if (root / name).is_file()]
    for name, table in files:
        chosen = table.get("environments", {})
        if not isinstance(chosen, dict):
            raise SettingsError(f"{name}: environments: expected a table, found {validation.describe(chosen)}")
    return files


def _names(tables: list[Table]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table.get("environments", {})))


def _choose(environment: str | None, variables_: Mapping[str, str], names: list[str]) -> str:
    if not environment and variables_.get(ENVIRONMENT_VARIABLE) == "":
        raise SettingsError(
            f"{ENVIRONMENT_VARIABLE} is empty", hint=f"unset it for {DEFAULT_ENVIRONMENT}, or give it a name"
        )
    name = environment or variables_.get(ENVIRONMENT_VARIABLE) or DEFAULT_ENVIRONMENT
    if name in names:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise SettingsError(
                f"{FILE}: environments.{schema.dotted((name,))}: use a-z, 0-9, - and _: files are named after it"
            )
        return name
    by = "" if environment or not variables_.get(ENVIRONMENT_VARIABLE) else f" ({ENVIRONMENT_VARIABLE})"
    near = schema.nearest(name, names)
    raise SettingsError(
        f'unknown environment "{name}"{by}' + (f', did you mean "{near}"?' if near else ""),
        hint=f"{FILE} has: {', '.join(names)}" if names else f"add [environments.{name}.host] to {FILE}",
    )


def _layers(root: Path, file: str, table: Table, name: str) -> Iterator[Layer | str]:
    """Yield what one file contributes: its own tables, those of the environment, the environment's overlay."""
    own = {key: value for key, value in table.items() if key != "environments"}
    yield Layer(file, file, own)
    chosen = table.get("environments", {}).get(name, {})
    if not isinstance(chosen, dict):
        yield f"{file}: environments.{name}: expected a table, found {validation.describe(chosen)}"
        return
    special = dict(chosen)
    overlay = special.pop("overlay", "")
    prefix = ("environments", name)
    yield Layer(file, schema.dotted(prefix) if file == FILE else file, special, prefix)
    if not isinstance(overlay, str):
        yield f"{file}: environments.{name}.overlay: expected a string, found {validation.describe(overlay)}"
    elif overlay and (root / overlay).is_file():
        yield Layer(overlay, overlay, read_toml(root / overlay, overlay))


def _absent(root: Path, files: list[tuple[str, Table]], name: str) -> str:
    """The environment's overlay where it does not exist, nor another one that a local file names."""
    chosen = [table.get("environments", {}).get(name) for _, table in files]
    named = [one["overlay"] for one in chosen if isinstance(one, dict) and isinstance(one.get("overlay"), str)]
    return "" if any((root / overlay).is_file() for overlay in named) else next(filter(None, named), "")


def _secret_names(merged: Merged) -> list[str]:
    found = merged.value(("secrets",))
    return list(found) if isinstance(found, dict) else []


def _read_env(root: Path, environment: str) -> str:
    name = f".env.{environment}"
    file = root / name
    if not file.is_file():
        raise SettingsError(f"{name}: not found in {root}", hint=f"cp {shlex.quote(_example(root))} {name}")
    try:
        # Bytes, because reading as text would hide line ends that bash and Compose see.
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: is not UTF-8 text (byte {error.start})") from error


def _example(root: Path) -> str:
    """The example to copy: the project's own, else the delivered one, in a wheel below ``resources/``."""
    package = Path(__file__).resolve().parents[1]
    if (root / EXAMPLE_FILE).is_file():
        return EXAMPLE_FILE
    found = [path for path in (package / "resources", package.parent) if (path / EXAMPLE_FILE).is_file()]
    return str(found[0] / EXAMPLE_FILE) if found else EXAMPLE_FILE


def _env(root: Path, environment: str, secrets: list[str]) -> tuple[dict[str, str], list[str], str]:
    """Return the values of the environment's .env file, what is wrong with it, and a hint when it is missing."""
    try:
        text = _read_env(root, environment)
    except SettingsError as error:
        return {}, [error.message], error.hint
    found = envfile.lint(text, f".env.{environment}", secrets=secrets)
    problems = [str(problem) for problem in found if problem.severity == "error"]
    return ({} if problems else envfile.parse(text)), problems, ""


def _leaves(value: object, path: schema.Path) -> Iterator[tuple[schema.Path, object]]:
    """Yield every value below a table; what only the loader fills in is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for key in schema.keys(type(value)):
            yield from _leaves(getattr(value, key), (*path, key))
    elif isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, (*path, key))
    else:
        yield path, value
