"""The command lines of all processes, read again and again while something runs."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class CommandLines:
    """Collects every command line that this machine sees during a block: those in its containers, too."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    self._look(entry / "cmdline")

    def _look(self, file: Path) -> None:
        try:
            self.seen.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            return
