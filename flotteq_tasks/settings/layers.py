"""Tables laid over each other, each value remembering which file it came from."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.settings import schema

Table = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """One source of values.

    Args:
        name: the file as messages name it, or the name of a variable.
        origin: what ``config.show`` calls it.
        table: its values, in the shape of the settings.
        prefix: where the table lies in the file, for key paths as people wrote them; for a variable the path it sets.
        variable: whether the name is that of a variable.
    """

    name: str
    origin: str
    table: Table
    prefix: schema.Path = ()
    variable: bool = False

    def where(self, path: schema.Path) -> str:
        """Say where a key path of the settings is written: ``flotteq.toml: environments.staging.host.port``."""
        if self.variable:
            return self.name if path == self.prefix else f"{self.name}: {schema.dotted(path)}"
        return f"{self.name}: {schema.dotted((*self.prefix, *path))}"


@dataclass
class Merged:
    """The values of all layers so far. Tables merge key by key, everything else replaces what was below."""

    tree: Table = field(default_factory=dict)
    sources: dict[schema.Path, Layer] = field(default_factory=dict)
    first: Layer | None = None

    def add(self, layer: Layer) -> None:
        """Lay a layer over those added before."""
        self.first = self.first or layer
        self._merge(self.tree, layer.table, (), layer)

    def source(self, path: schema.Path) -> Layer | None:
        """Return the layer of the value itself; None when no layer sets it."""
        if path in self.sources:
            return self.sources[path]
        below = (layer for known, layer in self.sources.items() if known[: len(path)] == path)
        return next(below, None)

    def where(self, path: schema.Path) -> str:
        """Say where a value is written, or, for one that is missing, where its table is."""
        for end in range(len(path), 0, -1):
            layer = self.source(path[:end])
            if layer is not None and (end == len(path) or not layer.variable):
                return layer.where(path)
        return self.first.where(path) if self.first else schema.dotted(path)

    def value(self, path: schema.Path) -> object:
        """Return the value at a path of the merged tables, None when there is none."""
        found: Any = self.tree
        for key in path:
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return found

    def _merge(self, into: Table, table: Table, path: schema.Path, layer: Layer) -> None:
        for key, value in table.items():
            here = (*path, key)
            if isinstance(value, dict) and (value or key not in into):
                if not isinstance(into.get(key), dict):
                    self._forget(here)
                    into[key] = {}
                if not value:
                    self.sources[here] = layer
                self._merge(into[key], value, here, layer)
            elif not isinstance(value, dict):
                self._forget(here)
                into[key] = value
                self.sources[here] = layer

    def _forget(self, path: schema.Path) -> None:
        for known in [known for known in self.sources if known[: len(path)] == path]:
            del self.sources[known]


def read_toml(file: Path, name: str) -> Table:
    """Read a TOML file.

    Raises:
        SettingsError: it is not TOML, not UTF-8 or cannot be read; the message has the line.
    """
    try:
        text = file.read_text("utf-8")
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        what, line = (found[1], found[2]) if found else (str(error), None)
        last = max(len(text.splitlines()), 1)
        raise SettingsError(f"{name}: line {line or last}: {what[0].lower()}{what[1:]}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise SettingsError(f"{name}: cannot be read: {error.strerror}") from error
