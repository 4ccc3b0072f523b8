"""Tables of text. Pure."""

from collections.abc import Sequence
from unicodedata import east_asian_width

NARROWEST, READABLE = 4, 8


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
        width: columns of the terminal; the widest cells are cut until the table fits. None: nothing is cut.
        cut: stands at the end of a cell that was cut.
    """
    table = [list(head), *[list(row) for row in rows]]
    widths = [max(_width(row[column]) for row in table) for column in range(len(head))]
    if width is not None:
        widths = _fitting(widths, width)
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


def _fitting(widths: Sequence[int], width: int) -> list[int]:
    """Take from the widest column until all fit; the first names its row and is cut last."""
    found = list(widths)
    while sum(found) + 2 * (len(found) - 1) > width and max(found) > NARROWEST:
        widest = max(found[1:], default=0)
        place = found.index(widest, 1) if widest > READABLE else found.index(max(found))
        found[place] -= 1
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
