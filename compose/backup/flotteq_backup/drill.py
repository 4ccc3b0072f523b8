"""A trial restore in a place of its own: a server that nobody else reaches, directories that nobody uses."""

import contextlib
import dataclasses
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flotteq_backup import process, trees
from flotteq_backup.errors import Failed
from flotteq_backup.restic import Restic
from flotteq_backup.restore import Beside
from flotteq_backup.say import say
from flotteq_backup.settings import Settings

PLACE = Path("/drill")
SOCKET = "/tmp"  # noqa: S108 - the container's own
# Nothing here has to survive a power cut; the container has little memory.
_QUICK = (
    "listen_addresses=", f"unix_socket_directories={SOCKET}", "fsync=off", "full_page_writes=off", "autovacuum=off",
    "synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0", "shared_buffers=64MB",
    "maintenance_work_mem=64MB", "max_wal_size=2GB", "dynamic_shared_memory_type=mmap", "jit=off",
    "max_connections=20", "max_locks_per_transaction=2048",
)  # fmt: skip
_START_LIMIT = 60


def drill(settings: Settings, store: Restic, document: dict[str, Any], place: Path = PLACE) -> dict[str, Any]:
    """Restore a whole set, compare everything, and measure how long it took.

    Raises:
        Failed: something of it could not be restored or is not what the manifest says.
    """
    started = time.monotonic()
    rows = 0
    with empty(place) as here:
        if "db" in document["parts"]:
            with _server(here, settings.user) as socket:
                own = dataclasses.replace(settings, server=socket)
                rows = Beside(own, store, document, "drill", trial=True).make()["rows"]
        for part in sorted(set(document["parts"]) - {"db"}):
            with say.step(part) as note:
                target = here / part
                target.mkdir()
                note.text = trees.restore(store, document["parts"][part], target)
                if part == "certs":
                    note.text += f", {trees.check_certificates(target)}"
    return {
        "id": document["id"],
        "parts": sorted(document["parts"]),
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
    }


@contextmanager
def empty(place: Path) -> Iterator[Path]:
    """A directory for one trial; it is gone afterwards, and so is what an earlier one left."""
    here = place / "now"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(mode=0o755)
    try:
        yield here
    finally:
        shutil.rmtree(here, ignore_errors=True)


@contextmanager
def _server(here: Path, user: str) -> Iterator[str]:
    """A Postgres of its own without a network; the directory of its socket."""
    owner = pwd.getpwnam("postgres")
    data = here / "data"
    data.mkdir(mode=0o700)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    with say.step("start a server") as note:
        words = ["initdb", f"--pgdata={data}", f"--username={user}", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        _as_postgres(words)
        options = [word for one in _QUICK for word in ("-c", one)]
        server = subprocess.Popen(
            ["postgres", "-D", str(data), *options], user="postgres", group="postgres", extra_groups=[],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_ready(server, limit=_START_LIMIT)
        note.text = "no network, no other user"
    try:
        yield SOCKET
    finally:
        stop(server, data)


def stop(server: "subprocess.Popen[bytes]", data: Path) -> None:
    """End a server that nobody needs any more, with all its processes."""
    with contextlib.suppress(Failed):
        _as_postgres(["pg_ctl", "stop", f"--pgdata={data}", "--mode=immediate", "--wait"])
    process.kill(server)


def wait_ready(server: "subprocess.Popen[bytes]", *, limit: float) -> None:
    """Wait until a server answers at its socket.

    Args:
        limit: seconds.

    Raises:
        Failed: it ended, or does not answer; it is gone.
    """
    end = time.monotonic() + limit
    while subprocess.run(["pg_isready", "-q", "-h", SOCKET], check=False, timeout=10).returncode != 0:
        if server.poll() is not None or time.monotonic() > end:
            process.kill(server)
            raise Failed("the server of the trial did not start")
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.1)


def _as_postgres(words: list[str]) -> None:
    done = subprocess.run(
        words, user="postgres", group="postgres", extra_groups=[], capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        raise process.failed(words[0], done.returncode, done.stderr)
