"""The signs in front of lines, in ASCII where the stream cannot show others."""

from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Marks:
    """One set of signs."""

    unicode: bool
    done: str
    failed: str
    warning: str
    bar: str


_SIGNS = Marks(unicode=True, done="✓", failed="✗", warning="!", bar="│")
_ASCII = Marks(unicode=False, done="ok", failed="FAILED", warning="!", bar="|")


def marks(stream: TextIO) -> Marks:
    """Return the signs that a stream can encode."""
    try:
        "✓✗│…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _SIGNS
