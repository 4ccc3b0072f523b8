"""A set of files as one tar stream, and the scripts that put files into place on a host."""

import io
import stat
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from flotteq_tasks.host.base import File

WRITE_FILE = r"""
set -eu
path=$1 mode=$2 group=$3 size=$4
dir=$(dirname -- "$path")
umask 022
mkdir -p -- "$dir"
umask 077
if [ -d "$path" ] && [ ! -L "$path" ]; then echo "$path: is a directory" >&2; exit 1; fi
part=$(mktemp "$dir/.flotteq.XXXXXX")
trap 'rm -f -- "$part"' EXIT
trap 'exit 143' HUP INT TERM
trap '' PIPE
cat >"$part"
if [ "$(wc -c <"$part")" -ne "$size" ]; then echo "$path: the upload was cut off" >&2; exit 1; fi
[ -z "$group" ] || chgrp -- "$group" "$part"
chmod -- "$mode" "$part"
sync -- "$part"
mv -fT -- "$part" "$path"
sync -- "$dir"
"""
"""Arguments: path, mode, group or nothing, size in bytes. The content comes on standard input, whose end looks the same
when the client died: hence the size."""

WRITE_TREE = r"""
set -eu
root=$1
umask 022
mkdir -p -- "$root"
umask 077
stage=$(mktemp -d "$root/.flotteq.XXXXXX")
trap 'rm -rf -- "$stage"' EXIT
trap 'exit 143' HUP INT TERM
trap '' PIPE
tar -x -m --no-same-owner -f - -C "$stage"
if [ ! -f "$stage/manifest" ]; then echo "$root: the upload was cut off" >&2; exit 1; fi
tab=$(printf '\t')
while IFS=$tab read -r mode group path; do
  if [ -d "$root/$path" ] && [ ! -L "$root/$path" ]; then echo "$root/$path: is a directory" >&2; exit 1; fi
  [ "$group" = - ] || chgrp -- "$group" "$stage/files/$path"
  chmod -- "$mode" "$stage/files/$path"
  case $path in */*) (umask 022; mkdir -p -- "$root/${path%/*}") ;; esac
done <"$stage/manifest"
find "$stage/files" -type f -exec sync -- {} +
while IFS=$tab read -r mode group path; do
  mv -fT -- "$stage/files/$path" "$root/$path"
done <"$stage/manifest"
"""
"""Argument: root. A tar stream comes on standard input; its last member, the manifest, proves that it is complete."""


def check_paths(paths: Iterable[str]) -> None:
    """Refuse paths that are not plain names below a root.

    Raises:
        ValueError: absolute, empty, with ``.`` or ``..`` in it, with control characters.
    """
    for path in paths:
        parts = path.split("/")
        if not path.isprintable() or any(part in {"", ".", ".."} for part in parts):
            raise ValueError(f"not a plain relative path: {path!r}")


def mode_text(file: File) -> str:
    """Return the mode as ``chmod`` takes it: ``0640``."""
    return f"{stat.S_IMODE(file.mode):04o}"


def pack(files: Mapping[str, File]) -> bytes:
    """Return the tar stream that ``WRITE_TREE`` unpacks.

    Raises:
        ValueError: see ``check_paths``.
    """
    check_paths(files)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for directory in _directories(files):
            member = tarfile.TarInfo(str(PurePosixPath("files", directory)))
            member.type, member.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(member)
        for path, file in sorted(files.items()):
            _add(archive, f"files/{path}", file.content)
        manifest = "".join(f"{mode_text(file)}\t{file.group or '-'}\t{path}\n" for path, file in sorted(files.items()))
        _add(archive, "manifest", manifest.encode())
    return buffer.getvalue()


def _directories(files: Mapping[str, File]) -> list[str]:
    return sorted({str(parent) for path in files for parent in PurePosixPath(path).parents} | {"."})


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))
