"""Tables of text. Pure."""

from collections.abc import Sequence
from unicodedata import east_asian_width

NARROWEST = 4


def render_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    width: int | None = None,
    cut: str = "…",
) -> str:
    """Columns as wide as their widest cell, two spaces between them, no lines: it can be cut, searched and pasted.

    Args:
        right: numbers of the columns that are aligned to the right.
        width: columns of the terminal. What does not fit loses the columns in which nothing stands, then the widest
            cells are cut; never the first one, which names its row and is typed again. None: all of it.
        cut: stands at the end of a cell that was cut.
    """
    table = [list(head), *[list(row) for row in rows]]
    widths = _widths(table)
    if width is not None and _total(widths) > width:
        told = [any(row[column] not in ("", "-") for row in rows) for column in range(len(head))]
        kept = [column for column, something in enumerate(told) if something or not column]
        table = [[row[column] for column in kept] for row in table]
        right = [place for place, column in enumerate(kept) if column in right]
        widths = _fitting(_widths(table), width)
    lines = []
    for row in table:
        cells = [
            _pad(_cut(cell, widths[column], cut), widths[column], right=column in right)
            for column, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Two largest units: ``3 d 4 h``, ``12 min``, ``41 s``."""
    whole = int(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for index, (name, size) in enumerate(units):
        if whole >= size or name == "s":
            text = f"{whole // size} {name}"
            rest = whole % size
            if name in ("d", "h") and index + 1 < len(units) and rest >= units[index + 1][1]:
                text += f" {rest // units[index + 1][1]} {units[index + 1][0]}"
            return text
    return ""


def size(amount: float) -> str:
    """Bytes in binary units with one decimal: ``6.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(_width(row[column]) for row in table) for column in range(len(table[0]))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _fitting(widths: Sequence[int], width: int) -> list[int]:
    """Take from the widest column but the first until all fit."""
    found = list(widths)
    while _total(found) > width and max(found[1:], default=0) > NARROWEST:
        found[found.index(max(found[1:]), 1)] -= 1
    return found


def _cut(text: str, width: int, sign: str) -> str:
    if _width(text) <= width:
        return text
    kept = text
    while kept and _width(kept) + len(sign) > width:
        kept = kept[:-1]
    return kept + sign


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
