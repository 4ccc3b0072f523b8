"""The version of a release: an image tag."""

import re
from dataclasses import dataclass

from flotteq_tasks.model.errors import UsageError

# The grammar of an image tag, from the OCI distribution specification.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Version:
    """A tag such as ``v1.2.0``."""

    tag: str

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Check a version typed by a person.

        Raises:
            UsageError: empty, ``latest``, or not an image tag.
        """
        text = text.strip()
        if not _TAG.fullmatch(text):
            raise UsageError(
                f"--version: {text!r} is not a version: letters, digits, '.', '_' and '-', at most 128",
                hint="inv deploy --version v1.2.0",
            )
        if text == "latest":
            raise UsageError(
                "--version: 'latest' names no release: it means another image tomorrow",
                hint="inv deploy --version v1.2.0",
            )
        return cls(text)

    def __str__(self) -> str:
        return self.tag
