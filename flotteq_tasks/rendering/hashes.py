"""Content hashes: what Compose does not see in files that it mounts."""

import hashlib
from collections.abc import Mapping

LENGTH = 12


def content_hash(files: Mapping[str, bytes]) -> str:
    """Return the hash of a set of files: paths and contents, in whatever order they come.

    Args:
        files: content of each relative path.

    Returns:
        12 hexadecimal digits.
    """
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{len(path)}:{path}:{len(files[path])}:".encode())
        total.update(files[path])
    return total.hexdigest()[:LENGTH]
