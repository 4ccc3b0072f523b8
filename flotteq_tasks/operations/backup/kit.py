"""An escrow kit: a tar archive sealed with age, so that two keys, kept by people, open what a lost host leaves behind.

The format is that of age and tar alone: where this program is not at hand, ``age --decrypt`` and ``tar`` open it.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flotteq_tasks.model.errors import FlotteqError, UsageError


def seal(files: Mapping[str, bytes], recipients: Iterable[str], *, programs: Iterable[str] = ()) -> bytes:
    """Pack files and encrypt them for all recipients: each of them can open the kit alone.

    Args:
        files: content by path; all become readable by their owner only.
        recipients: age public keys.
        programs: those of the files that their owner can run.

    Raises:
        UsageError: one is no age public key, or there is none.
    """
    import pyrage

    return bytes(pyrage.encrypt(_packed(files, frozenset(programs)), readers(recipients)))


def readers(recipients: Iterable[str]) -> list[Any]:
    """The keys of those who can open a kit; see ``seal``."""
    import pyrage

    keys = []
    for one in recipients:
        try:
            keys.append(pyrage.x25519.Recipient.from_str(one))
        except pyrage.RecipientError:
            shown = "a private key: it must not lie here" if one.startswith("AGE-SECRET-KEY") else repr(one)
            raise UsageError(f"{shown} is no age public key (age1…)", hint="age-keygen prints one") from None
    if not keys:
        raise UsageError(
            "nobody could open the kit: there is no recipient",
            hint="inv backup.escrow --recipient age1…, or backup.recipients in flotteq.toml; age-keygen makes a pair",
        )
    return keys


def opened(kit: bytes, identity: str) -> dict[str, bytes]:
    """Open a kit; return its files by path.

    Args:
        identity: text of a file of age's private keys.

    Raises:
        FlotteqError: the key is none of its recipients', or the kit is damaged.
        UsageError: there is no age private key in the text.
    """
    import pyrage

    lines = [line.strip() for line in identity.splitlines() if line.strip().startswith("AGE-SECRET-KEY-")]
    try:
        keys = [pyrage.x25519.Identity.from_str(line) for line in lines]
    except pyrage.IdentityError:
        keys = []
    if not keys:
        raise UsageError("the identity is no age private key (AGE-SECRET-KEY-1…)", hint="age-keygen makes a pair")
    try:
        return _unpacked(bytes(pyrage.decrypt(kit, keys)))
    except pyrage.DecryptError as error:
        raise FlotteqError(
            f"the kit does not open with this identity: {error}", hint="inv backup.escrow writes a new one"
        ) from None


def local_files(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Content by path of files and of what lies below directories of a project; what does not exist is left out."""
    found = {}
    for name in dict.fromkeys(names):
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found


def _packed(files: Mapping[str, bytes], programs: frozenset[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o700 if name in programs else 0o600
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            if file is not None:
                found[entry.name] = file.read()
    return found
