"""The .env files: read by python-dotenv, checked against how Compose and bash read them, and written safely."""

import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.settings import dialects

if TYPE_CHECKING:
    from dotenv.parser import Binding

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a line of an .env file. Values are not quoted: a password may be among them."""

    filename: str
    line: int
    key: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.filename}: line {self.line}: {key}{self.message}"


def parse(text: str) -> dict[str, str]:
    """Return the values of an .env text as python-dotenv reads them, without expansion."""
    # Imported here: 24 ms that `inv --list` must not pay.
    from dotenv import dotenv_values

    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {key: value for key, value in found.items() if value is not None}


def lint(text: str, filename: str, *, secrets: Collection[str] = ()) -> list[Problem]:
    """Return what is wrong with an .env text, in the order of its lines.

    An error is a line that python-dotenv and Compose read differently, that the tool could not write for the host, or
    that belongs elsewhere. A warning is a line that only bash reads differently.

    Args:
        text: the file.
        filename: its name, for the messages.
        secrets: names of ``[secrets]``: their values are kept in files of their own.
    """
    from dotenv.parser import parse_stream

    problems: list[Problem] = []
    if text.startswith("\ufeff"):
        problems.append(Problem(filename, 1, "", "begins with a byte order mark: save the file as UTF-8 without it"))
        text = text[1:]
    belongs = {name.upper().replace("-", "_"): name for name in secrets}
    seen: dict[str, int] = {}
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text, newline="")):
        source = binding.original.string
        line = binding.original.line + len(re.findall(r"\r\n|\n|\r", source[: len(source) - len(source.lstrip())]))
        if binding.key is None and not binding.error:
            if not dialects.blank(source):
                problems.append(Problem(filename, line, "", "contains a control character: remove it"))
            continue
        for key, message, severity in _judge(binding, values, seen, belongs):
            problems.append(Problem(filename, line, key, message, severity))
        if binding.key is not None:
            seen.setdefault(binding.key, line)
            values[binding.key] = binding.value or ""
    return problems


def render(values: Mapping[str, str]) -> str:
    """Write values so that python-dotenv, Compose and bash read back exactly these.

    Raises:
        SettingsError: a key is no variable name, or a value cannot be written so that all agree.
    """
    lines, problems = [], []
    for key, value in values.items():
        reason = "is not a variable name" if not KEY.fullmatch(key) else unwritable(value)
        if reason:
            problems.append(f"{key}: {reason}")
        else:
            lines.append(f"{key}={value}\n" if BARE.fullmatch(value) else f"{key}='{value}'\n")
    if problems:
        raise SettingsError(
            f".env: {'; '.join(problems)}", hint="inv secrets.set NAME keeps a value in a file of its own"
        )
    return "".join(lines)


def unwritable(value: str) -> str:
    """Say why a value cannot stand in an .env file; empty when it can."""
    for what, found in (
        ("a single quote", "'" in value),
        ("a line break", "\n" in value or "\r" in value),
        ("a control character", any(ord(char) < 32 or ord(char) == 127 for char in value)),
        ("${", "${" in value),
        # python-dotenv reads '\\' as one backslash, Compose as two; before the closing quote it escapes that quote.
        ("a double or final backslash", "\\\\" in value or value.endswith("\\")),
        ("text that is not Unicode", any(0xD800 <= ord(char) <= 0xDFFF for char in value)),
    ):
        if found:
            return f"its value contains {what}, which readers of .env files disagree about: put it in secrets"
    return ""


Judgement = tuple[str, str, Literal["error", "warning"]]


def _judge(
    binding: "Binding", values: Mapping[str, str], seen: Mapping[str, int], belongs: Mapping[str, str]
) -> Iterator[Judgement]:
    key, value, source = binding.key, binding.value, binding.original.string.strip()
    if key is None:
        name = re.match(rf"(?:export\s+)?({KEY.pattern})\s*=", source)
        yield name[1] if name else "", "is not KEY=value: check its quotes", "error"
    elif value is None:
        # Without `=` it may be a piece of a password that a line break split: it is not shown.
        yield "", "has no =: write KEY=value, or KEY= for an empty value", "error"
    elif not KEY.fullmatch(key):
        yield key, "is not a variable name: use letters, digits and _", "error"
    else:
        if key in seen:
            yield key, f"is set twice, line {seen[key]} has it too: remove one", "error"
        if key in belongs:
            yield key, f"belongs to secrets: inv secrets.set {belongs[key]}", "error"
        if re.match(r"export\s", source):
            yield key, "remove `export`: `docker run --env-file` refuses it", "error"
        complaint = _disagreement(binding.original.string, key, value, values) or unwritable(value)
        if complaint:
            yield key, complaint, "error"
        elif dialects.bash(re.split(r"=", binding.original.string, maxsplit=1)[1]) != value or _spaced(source):
            yield key, "bash reads another value: put it in single quotes, without spaces around =", "warning"


def _spaced(source: str) -> bool:
    """Whether white space before ``=`` makes bash run the key as a command."""
    return re.match(r"(?:export\s+)?+\w+\s", source) is not None


def _disagreement(source: str, key: str, value: str, values: Mapping[str, str]) -> str:
    """Say why Compose does not read the same; empty when it does."""
    try:
        found = dialects.compose(source, values)
    except dialects.UnreadableError as error:
        return f"Compose refuses the line: {error}"
    if found == [(key, value)] and found == dialects.compose(source, {}) and not _chance(source, value):
        return ""
    if "$" in source:
        return "Compose expands $ where python-dotenv does not: put the value in single quotes"
    return "python-dotenv and Compose read different values: put the value in single quotes, without escapes"


def _chance(source: str, value: str) -> bool:
    """Whether Compose substitutes a variable and the values are the same only by its value now."""
    quoted = re.match(r"[^=]*=\s*'", source)
    return not quoted and dialects.refers(value)
