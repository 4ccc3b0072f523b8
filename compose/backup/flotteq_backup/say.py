"""Progress on standard error, one result on standard output."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Note:
    """What a step has to say when it is done."""

    text = ""


class Say:
    """Where the program speaks. A line of progress is ``@@step NAME`` or ``@@done SECONDS NAME: NOTE``."""

    @contextmanager
    def step(self, name: str) -> Iterator[Note]:
        """Announce a step and how long it took."""
        started, note = time.monotonic(), Note()
        sys.stderr.write(f"@@step {name}\n")
        yield note
        sys.stderr.write(f"@@done {time.monotonic() - started:.1f} {name}: {note.text}\n")

    def warn(self, text: str) -> None:
        """Something that a person should look at."""
        sys.stderr.write(f"@@warn {text}\n")

    def result(self, kind: str, document: Any) -> None:
        """The last line."""
        sys.stdout.write(f"@@{kind} {json.dumps(document)}\n")
        sys.stdout.flush()


say = Say()
