"""Directories: restored into an empty place, compared with the snapshot, exchanged with what is there."""

import ctypes
import json
import os
import re
import shutil
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flotteq_backup.errors import NotVerified
from flotteq_backup.restic import Restic

Entry = tuple[str, int, int, int, int]
# Bytes of a name that are no UTF-8: restic's JSON has U+FFFD for each (https://pkg.go.dev/encoding/json#Marshal).
_UNREADABLE = re.compile("[\udc80-\udcff]")
# https://pkg.go.dev/io/fs#FileMode
_SPECIAL = {1 << 23: stat.S_ISUID, 1 << 22: stat.S_ISGID, 1 << 20: stat.S_ISVTX}
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}


def restore(store: Restic, one: dict[str, Any], target: Path) -> str:
    """Put a part of a set into a directory and compare it with the snapshot; a note.

    Args:
        one: the part, from the manifest.
        target: must be empty; gets owner and mode of the original.

    Raises:
        NotVerified: an entry is missing or differs in kind, owner, mode, size or content.
    """
    store.restore(one["snapshot"], one["path"], str(target))
    own(target, one)
    wanted, found = dict(in_snapshot(store, one)), dict(on_disk(target))
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise NotVerified(f"{len(wrong)} entries are not as in the snapshot, the first: {name}: {found.get(name)} "
                          f"instead of {wanted.get(name)}")  # fmt: skip
    return f"{len(found)} entries alike"


def own(target: Path, one: dict[str, Any]) -> None:
    """Give a directory owner and mode of the part that it holds: a volume of a new host belongs to root."""
    owner = one["owner"]
    os.chown(target, owner["uid"], owner["gid"])
    target.chmod(owner["mode"])


def in_snapshot(store: Restic, one: dict[str, Any]) -> Iterator[tuple[str, Entry]]:
    """What a snapshot says of every entry below its directory: kind, uid, gid, permissions, size."""
    root = one["path"]
    for node in store.entries(one["snapshot"], root):
        path = str(node.get("path", ""))
        if path.startswith(f"{root}/"):
            kind = str(node["type"])
            size = int(node.get("size", 0)) if kind == "file" else 0
            permissions = 0 if kind == "symlink" else permissions_of(int(node["mode"]))
            yield path[len(root) + 1 :], (kind, int(node["uid"]), int(node["gid"]), permissions, size)


def permissions_of(mode: int) -> int:
    """A mode as Go writes it, with setuid, setgid and sticky in places of their own, as the system has it."""
    special = (bit for place, bit in _SPECIAL.items() if mode & place)
    return (mode & 0o777) | sum(special)


def on_disk(root: Path) -> Iterator[tuple[str, Entry]]:
    """The same of a directory."""
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder) / name
            found = path.lstat()
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "other")
            size = found.st_size if kind == "file" else 0
            permissions = 0 if kind == "symlink" else found.st_mode & 0o7777
            yield (
                _UNREADABLE.sub("\ufffd", str(path.relative_to(root))),
                (kind, found.st_uid, found.st_gid, permissions, size),
            )


def check_certificates(root: Path) -> str:
    """Every lineage is one that certbot can renew: links into its archive, key and certificate belong together; a note.

    Raises:
        NotVerified: one is not.
    """
    lineages = [one for one in sorted(root.glob("live/*")) if one.is_dir()]
    for lineage in lineages:
        for name in ("fullchain.pem", "privkey.pem"):
            link = lineage / name
            if not link.is_symlink() or root / "archive" not in link.resolve().parents:
                raise NotVerified(f"live/{lineage.name}/{name} is no link into the archive: certbot could not renew it")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(lineage / "fullchain.pem", lineage / "privkey.pem")
        except (OSError, ssl.SSLError) as error:
            raise NotVerified(f"live/{lineage.name}: key and certificate do not belong together: {error}") from error
    return f"{len(lineages)} lineages, keys and certificates belong together"


# Inside the directory itself: only there a rename is one step. Nobody but root looks into it, backups leave it out.
KEPT = ".flotteq-restore"
PLAN = "exchange.json"
_AT_FDCWD, _EXCHANGE = -100, 2


def beside(root: Path, name: str) -> Path:
    """An empty place below a directory that is to be replaced."""
    place = root / KEPT
    place.mkdir(mode=0o700, exist_ok=True)
    target = place / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return target


def exchange(root: Path, incoming: Path, outgoing: Path) -> int:
    """Put what is in one place below a directory into it, and what was in it into another; return how many entries.

    Each entry is switched in one step: there is never a moment without one of the two. What is to be done is written
    down first: whoever is cut off leaves it for ``finish``.
    """
    plan = {
        "incoming": incoming.name,
        "outgoing": outgoing.name,
        "new": {path.name: path.lstat().st_ino for path in incoming.iterdir()},
        "old": sorted({path.name for path in root.iterdir()} - {KEPT}),
    }
    path = root / KEPT / PLAN
    part = path.with_suffix(".part")
    with part.open("w") as file:
        json.dump(plan, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return finish(root)


def finish(root: Path) -> int:
    """Bring an exchange to its end that was written down; return how many entries, 0 where none was."""
    path = root / KEPT / PLAN
    if not path.is_file():
        return 0
    plan = json.loads(path.read_text())
    incoming, outgoing = root / KEPT / plan["incoming"], root / KEPT / plan["outgoing"]
    outgoing.mkdir(mode=0o700, exist_ok=True)
    for name, number in sorted(plan["new"].items()):
        # What does not wait to be moved any more has arrived, whatever the application made of it since.
        arrived = not os.path.lexists(incoming / name) or (incoming / name).lstat().st_ino != number
        if name in plan["old"]:
            if not arrived:
                try:
                    _exchange(root / name, incoming / name)
                except FileNotFoundError:
                    # Whoever uses the files has removed it since they were listed.
                    (incoming / name).rename(root / name)
            if os.path.lexists(incoming / name):
                (incoming / name).rename(outgoing / name)
        elif not arrived:
            (incoming / name).rename(root / name)
    for name in plan["old"]:
        if name not in plan["new"] and os.path.lexists(root / name):
            (root / name).rename(outgoing / name)
    if incoming.is_dir():
        incoming.rmdir()
    path.unlink()
    return len({*plan["new"], *plan["old"]})


def former(root: Path) -> list[Path]:
    """What earlier restores put aside, oldest first."""
    return sorted((root / KEPT).glob("before-*")) if (root / KEPT).is_dir() else []


def _exchange(one: Path, other: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))
