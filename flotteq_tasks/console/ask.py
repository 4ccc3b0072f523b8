"""Ask for a value that must not be seen."""

import getpass
from typing import TextIO

from flotteq_tasks.model.errors import SecretError


def ask_secret(name: str, stream: TextIO) -> bytes:
    """Read a secret: without echo from a terminal, else all of standard input (one line end is removed).

    Raises:
        SecretError: nothing came.
    """
    if stream.isatty():
        value = getpass.getpass(f"{name} (not shown): ").encode()
    else:
        value = stream.buffer.read()
        if value.endswith(b"\n"):
            value = value[:-1].removesuffix(b"\r")
    if not value:
        raise SecretError(f"secret {name} is empty", hint=f"inv secrets.set {name} at a terminal, or with < FILE")
    return value
