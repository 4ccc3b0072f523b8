"""Where templates and the Compose file lie: the user's project first, then what this package brings."""

from pathlib import Path
from typing import Literal

from flotteq_tasks.model.errors import SettingsError

Folder = Literal["nginx", "compose", "server"]

PACKAGE = Path(__file__).resolve().parents[1]


def packaged(folder: Folder) -> Path:
    """Return the folder as it is delivered: in an installed wheel ``resources/``, in a checkout the repository's root.

    Raises:
        SettingsError: neither exists; the installation is damaged.
    """
    for path in (PACKAGE / "resources" / folder, PACKAGE.parent / folder):
        if path.is_dir():
            return path
    raise SettingsError(
        f"the {folder}/ folder of flotteq-tasks is missing below {PACKAGE}", hint="install flotteq-tasks again"
    )


def search_path(root: Path, folder: Folder) -> list[Path]:
    """Return the folders to search, first wins.

    Args:
        root: the user's project, the directory of flotteq.toml; a file in its folder replaces the delivered one.

    Raises:
        SettingsError: the delivered folder is missing.
    """
    own = root / folder
    delivered = packaged(folder)
    return [own, delivered] if own.is_dir() and own.resolve() != delivered else [delivered]


def find(root: Path, folder: Folder, name: str) -> Path:
    """Return the path of one file of the folder.

    Raises:
        SettingsError: no such file.
    """
    for place in search_path(root, folder):
        if (place / name).is_file():
            return place / name
    raise SettingsError(f"{folder}/{name} does not exist", hint=f"put it below {root / folder}")


def unused(root: Path, folder: Folder) -> list[str]:
    """Return the project's own files of a folder that replace none of the delivered ones, sorted."""
    places = search_path(root, folder)
    if len(places) == 1:
        return []
    own = {path.relative_to(places[0]).as_posix() for path in places[0].rglob("*") if path.is_file()}
    return sorted(own - set(names(folder)))


def context(root: Path, path: str) -> Path:
    """Return a build context: the project's own directory, else the one of that path that is delivered.

    Args:
        path: relative to ``root``; the caller finds out whether what is returned exists.
    """
    own = root / path
    folder, _, rest = path.partition("/")
    if own.is_dir() or folder != "compose" or not rest:
        return own
    return packaged("compose") / rest


def names(folder: Folder) -> list[str]:
    """Return the relative paths of all delivered files of a folder, sorted."""
    base = packaged(folder)
    return sorted(path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file())
