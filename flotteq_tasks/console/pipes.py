"""Readers that go away: `inv logs | head`."""

import os
from typing import TextIO

# What a shell shows for a program that SIGPIPE ended.
CLOSED = 141


def silence(stream: TextIO) -> None:
    """Let what is still written to a pipe that nobody reads go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
