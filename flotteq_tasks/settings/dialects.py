"""How Docker Compose and bash read an .env file: ports of their rules, measured against Compose 2.40 and bash 5.2.

Nothing is executed. The rules of Compose are those of compose-go's dotenv package, its oddities included: a file is
safe only where every reader finds the same value.
"""

import re
from collections.abc import Mapping

# Go's unicode.IsSpace; Python's str.isspace also has the separators 0x1c to 0x1f.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
BLANKS = "\t\v\f\r \x85\xa0"

_ESCAPES = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})')
_ESCAPED = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)) | {'"': '"', "\\": "\\", "$": "$$"}
_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[_a-z][_a-z0-9]*)|\{(?:(?P<braced>[_a-z][_a-z0-9]*(?::?[-+?].*)?)\}|(?P<bad>)))",
    re.IGNORECASE | re.ASCII,
)
_OPERATOR = re.compile(r":?[-+?]")


class UnreadableError(ValueError):
    """Compose stops at this statement."""


def compose(text: str, values: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Return the statements of an .env text as Compose reads them; a key without value has None.

    Args:
        text: a whole file, or a part that begins at a statement.
        values: variables known before, which ``$NAME`` may refer to.

    Raises:
        UnreadableError: Compose refuses the text.
    """
    found: list[tuple[str, str | None]] = []
    known = dict(values)
    rest = _statement(text)
    while rest:
        key, rest, inherited = _key(rest)
        if " " in key:
            raise UnreadableError("its key contains a space")
        if inherited:
            found.append((key, None))
        else:
            value, rest = _value(rest, known)
            known[key] = value
            found.append((key, value))
        rest = _statement(rest)
    return found


def expand(text: str, values: Mapping[str, str]) -> str:
    """Substitute ``$NAME``, ``${NAME:-default}`` and the like as Compose does; an unknown name becomes nothing.

    Raises:
        UnreadableError: ``${`` is not closed, or a required variable is missing.
    """
    return _REFERENCE.sub(lambda match: _reference(match[0], values), text)


def blank(text: str) -> bool:
    """Whether Compose finds nothing but white space and comments."""
    return not _statement(text)


def refers(text: str) -> bool:
    """Whether Compose would substitute anything in an unquoted text."""
    return bool(_REFERENCE.search(text))


def bash(text: str) -> str | None:
    """Return what bash assigns for the text after ``KEY=``; None when it runs, expands or cannot read it."""
    out: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char in " \t\n":
            break
        if char == "'":
            piece = re.compile(r"'([^']*)'").match(text, position)
        elif char == '"':
            piece = re.compile(r'"((?:[^"\\$`]|\\[^\n])*)"').match(text, position)
        elif char == "\\":
            piece = re.compile(r"\\([^\n])").match(text, position)
        else:
            piece = re.compile(r"([^\s'\"\\$`;&|<>()])").match(text, position)
        if piece is None or (char == "~" and (position == 0 or text[position - 1] == ":")):
            return None
        out.append(re.sub(r'\\([$`"\\])', r"\1", piece[1]) if char == '"' else piece[1])
        position = piece.end()
    after = text[position:].strip(" \t\n")
    return None if after and not after.startswith("#") else "".join(out)


def _statement(text: str) -> str:
    """Skip white space and comments."""
    text = text.lstrip(SPACES)
    while text.startswith("#"):
        text = text.partition("\n")[2].lstrip(SPACES)
    return text


def _key(text: str) -> tuple[str, str, bool]:
    """Split off the key. The third value says that it stands alone, so that Compose takes it from its environment."""
    if re.match(r"export[\t\n\f\r ]", text):
        text = text.removeprefix("export").lstrip(BLANKS)
    for index, char in enumerate(text):
        if char in "=:\n":
            return text[:index].rstrip(SPACES), text[index + 1 :].lstrip(BLANKS), char == "\n"
        if char not in BLANKS + "_.-[]" and not (char.isalpha() or char.isnumeric()):
            raise UnreadableError(f"Compose allows no {char} in a key")
    # Compose takes a last line without `=` and line end for the value of the empty key.
    return "", text.lstrip(BLANKS), False


def _value(text: str, values: Mapping[str, str]) -> tuple[str, str]:
    if text[:1] not in {"'", '"'}:
        line, _, rest = text.partition("\n")
        return expand(line.partition(" #")[0].rstrip(SPACES), values), rest
    quote, escaped = text[0], False
    chars: list[str] = []
    for index, char in enumerate(text[1:], start=1):
        if char == quote and not escaped:
            value = "".join(chars)
            return (expand(_unescape(value), values) if quote == '"' else value), text[index + 1 :]
        if char == "\\" and not escaped:
            escaped = True
            continue
        if escaped and char != quote:
            chars.append("\\")
        escaped = False
        chars.append(char)
    raise UnreadableError("its quote is not closed")


def _unescape(text: str) -> str:
    return _ESCAPES.sub(lambda match: _escape(match[0]), text)


def _escape(sequence: str) -> str:
    if sequence[1] != "0":
        return _ESCAPED.get(sequence[1], sequence)
    # `\0123` is Go's `\123`; what Go does not accept stays, without the zero.
    octal = sequence[2:]
    if re.fullmatch(r"[0-3][0-7]{2}", octal):
        return chr(int(octal, 8))
    return "\\" + octal


def _reference(text: str, values: Mapping[str, str]) -> str:
    end = _closing(text)
    text, rest = (text[: end + 1], text[end + 1 :]) if end >= 0 else (text, "")
    match = _REFERENCE.fullmatch(text)
    if match is None or match["bad"] is not None:
        raise UnreadableError("its ${ is not a reference Compose understands")
    if match["escaped"]:
        return "$"
    if match["named"]:
        return values.get(match["named"], "")
    return _braced(match["braced"], values) + expand(rest, values)


def _braced(text: str, values: Mapping[str, str]) -> str:
    operator = _OPERATOR.search(text)
    if operator is None:
        return values.get(text, "")
    name, other = text[: operator.start()], text[operator.end() :]
    value = values.get(name)
    present = value if operator[0].startswith(":") else value is not None
    other = expand(other, values)
    if operator[0].endswith("?") and not present:
        raise UnreadableError(f"it requires {name}")
    if operator[0].endswith("+"):
        return other if present else value or ""
    return (value or "") if present or operator[0].endswith("?") else other


def _closing(text: str) -> int:
    """Return where the first brace closes, with nested ones counted."""
    depth, index = 0, 0
    while index < len(text):
        if text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
        if text[index] == "{":
            depth += 1
            index += 1
        index += 1
    return -1
