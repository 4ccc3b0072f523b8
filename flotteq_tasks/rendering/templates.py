"""The template environment: unknown names are errors, and nothing that could end a directive gets into one."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flotteq_tasks.model.errors import SettingsError

if TYPE_CHECKING:
    from jinja2 import Environment

# Whatever ends a word, a directive or a block in nginx's grammar, starts a comment or a variable, or is not printable.
_UNSAFE = re.compile(r"[^!-~]|[;{}\"'`\\$#]")

_UNQUOTABLE = re.compile(r"[^ -~]|[\"\\$]")


def word(value: object) -> str:
    """Return a value that may stand in an nginx configuration as one bare word.

    Raises:
        SettingsError: it is empty or holds white space, a quote, ``;``, a brace, ``$``, ``#`` or a backslash.
    """
    text = str(value)
    found = _UNSAFE.search(text)
    if found:
        raise SettingsError(f"{text!r} cannot stand in nginx's configuration: it holds {found.group()!r}")
    if not text:
        raise SettingsError("an empty value cannot stand in nginx's configuration")
    return text


def quoted(value: object) -> str:
    """Return a value that may stand in an nginx configuration between double quotes.

    Raises:
        SettingsError: it holds a quote, a backslash, ``$`` or what is not printable ASCII.
    """
    text = str(value)
    found = _UNQUOTABLE.search(text)
    if found:
        raise SettingsError(f"{text!r} cannot stand between quotes in nginx's configuration: {found.group()!r}")
    return text


def pattern(value: object) -> str:
    """Return a word as part of a regular expression that stands between double quotes and matches it as it is."""
    return re.sub(r"([.+*?()\[\]|^])", r"\\\1", word(value))


def environment(search: Sequence[Path]) -> "Environment":
    """Return the environment for templates below ``search``; the first folder that has one wins."""
    return _environment(tuple(str(path) for path in search))


@cache
def _environment(search: tuple[str, ...]) -> "Environment":
    """A deploy renders three times; the templates are compiled once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(search),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),  # noqa: S701 - the rest is no HTML
    )
    env.filters.update(word=word, quoted=quoted, pattern=pattern)
    return env


def render(env: "Environment", name: str, **values: object) -> bytes:
    """Render one template to UTF-8.

    Raises:
        SettingsError: the template does not parse, uses an unknown name or refuses a value.
    """
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return env.get_template(name).render(**values).encode()
    except TemplateSyntaxError as error:
        raise SettingsError(f"{error.filename or name}, line {error.lineno}: {error.message}") from error
    except TemplateError as error:
        raise SettingsError(f"template {name}: {error.message or type(error).__name__}") from error
    except SettingsError as error:
        raise SettingsError(f"template {name}: {error.message}", hint=error.hint) from error
