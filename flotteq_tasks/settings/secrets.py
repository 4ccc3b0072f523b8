"""Local secret files ``.secrets/<environment>/<name>``: one value each, 0600, no line break."""

import hashlib
import os
import re
import secrets
import shlex
import stat
import tempfile
from pathlib import Path

from flotteq_tasks.model.errors import SecretError
from flotteq_tasks.model.secret import Secret

DIRECTORY = ".secrets"


def directory(root: Path, environment: str) -> Path:
    """Return where the secrets of an environment lie on this machine."""
    return root / DIRECTORY / environment


def read(root: Path, environment: str, name: str) -> Secret | None:
    """Return a secret, None when there is no file of it.

    Raises:
        SecretError: others can read the file, or its content is no usable value.
    """
    path = _path(root, environment, name)
    try:
        check_mode(path)
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecretError(f"{path}: cannot be read: {error.strerror}") from error
    return check_value(name, raw)


def check_value(name: str, raw: bytes | None) -> Secret:
    """Return the value as a secret.

    Raises:
        SecretError: it is missing, empty, not UTF-8, or has a line break or NUL byte; the value is not shown.
    """
    hint = f"inv secrets.set {name}"
    if raw is None:
        raise SecretError(f"secret {name} is missing", hint=hint)
    if not raw.strip():
        raise SecretError(f"secret {name} is empty", hint=hint)
    if raw.endswith((b"\n", b"\r")) and not re.search(rb"[\r\n]", raw.rstrip(b"\r\n")):
        raise SecretError(f"secret {name} ends with a line break: an editor or `echo` added it", hint=hint)
    if re.search(rb"[\r\n]", raw):
        raise SecretError(f"secret {name} contains a line break: it must be one line", hint=hint)
    if b"\0" in raw:
        raise SecretError(f"secret {name} contains a NUL byte: no environment variable can hold it", hint=hint)
    try:
        return Secret(raw.decode("utf-8"))
    except UnicodeDecodeError:
        # The original error holds the bytes: it must not be shown as a cause.
        raise SecretError(f"secret {name} is not UTF-8 text", hint=hint) from None


def check_mode(path: Path) -> None:
    """Check that nobody but its owner can open a secret file.

    Raises:
        SecretError: group or others have permissions.
        FileNotFoundError: there is no such file.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SecretError(f"{path}: readable by others (mode {mode:04o})", hint=f"chmod 600 {shlex.quote(str(path))}")


def write(root: Path, environment: str, name: str, secret: Secret, *, replace: bool = False) -> Path:
    """Write a secret file at once and completely, 0600 in a 0700 directory, and return its path.

    Raises:
        SecretError: there is one already and ``replace`` is not set, or the value is not usable.
    """
    path = _path(root, environment, name)
    value = secret.reveal().encode("utf-8")
    check_value(name, value)
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    _keep_out_of_git(root / DIRECTORY)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(temporary).replace(path)
        else:
            # A link fails when the name exists, also when another process made it just now.
            path.hardlink_to(temporary)
    except FileExistsError:
        raise SecretError(
            f"secret {name} of {environment} exists already: nothing was changed",
            hint=f"inv secrets.generate --rotate {name}",
        ) from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def generate() -> Secret:
    """Return 256 random bits as 43 URL-safe characters: nothing in them needs quoting anywhere."""
    return Secret(secrets.token_urlsafe(32))


def fingerprint(name: str, secret: Secret) -> str:
    """Return 12 hexadecimal digits that tell versions of a secret apart and can be shown.

    SHA-256 over name, NUL and value. A generated secret has 256 bits, so its fingerprint tells nothing; a supplied one
    that can be guessed can be tested against its fingerprint, so supply long random values. With the name in it, equal
    values of two secrets do not show as equal.
    """
    return hashlib.sha256(f"{name}\0{secret.reveal()}".encode()).hexdigest()[:12]


def _keep_out_of_git(folder: Path) -> None:
    """A project that takes the tasks as a library has a .gitignore of its own, which knows nothing of secrets."""
    file = folder / ".gitignore"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text("*\n")


def _path(root: Path, environment: str, name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise SecretError(f'"{name}" is no secret name: use a-z, 0-9 and _')
    return directory(root, environment) / name
