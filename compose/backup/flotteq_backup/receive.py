"""The receiver: pg_receivewal on a slot of its own, for as long as the stack runs."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from flotteq_backup import postgres, wal
from flotteq_backup.errors import Failed
from flotteq_backup.settings import Settings, give_credentials

PLACE = Path("/wal")
# Seconds between two looks at a server that is away, or at a slot that is lost.
PAUSE = 2.0


class Receiver:
    """Begins a chain where there is a new slot, goes on with it otherwise, and waits for a server that is away.

    Args:
        place: directory of the chains.
    """

    def __init__(self, settings: Settings, place: Path = PLACE) -> None:
        self.settings, self.place = settings, place
        self.stopped = threading.Event()
        self.child: subprocess.Popen[bytes] | None = None
        self.said = ""

    def stop(self, *_: object) -> None:
        """End at the next moment; what was received is on the disk."""
        self.stopped.set()
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)

    def run(self) -> None:
        """Receive until stopped."""
        while not self.stopped.is_set():
            try:
                chain = self.chain()
            except Failed as error:
                self._say(error.message)
            else:
                self._say(f"receives into {chain.name}")
                self._receive(chain)
            self.stopped.wait(PAUSE)

    def chain(self) -> Path:
        """The directory to receive into.

        Raises:
            Failed: the server is away, or the slot is lost.
        """
        with postgres.Session(self.settings, "postgres") as session:
            system = session.ask("select system_identifier from pg_control_system()")[0]
            found = wal.slot(session)
            if found is not None and found.lost:
                raise Failed("the slot is lost: WAL is gone that was not received. inv backup.base begins anew")
            if found is None:
                session.ask(f"select pg_create_physical_replication_slot('{wal.SLOT}', true)")
            known = wal.chains(self.place, system)
        if found is not None and known:
            return self.place / known[-1]
        # The group may remove what is not needed any more: the job that backs up does.
        fresh = self.place / wal.new_chain(system, datetime.now(UTC))
        fresh.mkdir(exist_ok=True)
        fresh.chmod(0o2770)
        return fresh

    def _receive(self, chain: Path) -> None:
        self.child = subprocess.Popen(receive_words(self.settings, chain))
        # The signal may have come before there was anybody to send it to.
        if self.stopped.is_set():
            self.stop()
        self.child.wait()

    def _say(self, text: str) -> None:
        """Say it once."""
        if text != self.said:
            sys.stderr.write(f"{text}\n")
        self.said = text


def receive_words(settings: Settings, chain: Path) -> list[str]:
    """What receives. Every byte is on the disk before the server hears that it arrived."""
    return [
        "pg_receivewal", f"--directory={chain}", f"--slot={wal.SLOT}", "--synchronous", "--no-loop", "--no-password",
        "--host", settings.server, "--username", settings.user,
    ]  # fmt: skip


def main() -> int:
    """Receive until the container is stopped."""
    settings = Settings.read(os.environ)
    give_credentials(settings)
    receiver = Receiver(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, receiver.stop)
    receiver.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
