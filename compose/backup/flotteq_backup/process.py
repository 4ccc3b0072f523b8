"""Programs: every one has a time limit, none gets a secret by its arguments."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from flotteq_backup.errors import Failed
from flotteq_backup.pace import FULL, Pace

LIMIT = 600
PACE = 0.25
# Seconds of an interrupted program to end by itself.
GRACE = 5


def run(
    words: Sequence[str],
    *,
    limit: float = LIMIT,
    text: str = "",
    good: Sequence[int] = (0,),
    environment: Mapping[str, str] | None = None,
    watch: Callable[[], None] | None = None,
    pace: Pace = FULL,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        limit, text, environment, watch, pace: as of ``finish``.
        good: exit codes that are no failure.

    Raises:
        Failed: another exit code, or the limit; the details are the program's last words.
    """
    code, out, err = finish(words, limit=limit, text=text, environment=environment, watch=watch, pace=pace)
    if code not in good:
        # pg_amcheck says what it found on its standard output.
        raise failed(words[0], code, (err.strip() or out).decode(errors="replace"))
    return out.decode()


def finish(
    words: Sequence[str],
    *,
    limit: float = LIMIT,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    watch: Callable[[], None] | None = None,
    pace: Pace = FULL,
) -> tuple[int, bytes, bytes]:
    """Run a program to its end and return its exit code, its standard output and its standard error.

    Args:
        limit: seconds; afterwards its whole process group is stopped.
        text: its standard input.
        environment: more variables for it.
        watch: is called four times a second; when it raises, the program is stopped.
        pace: with which pauses it works.

    Raises:
        Failed: the limit; the details are the program's last words.
    """
    process = subprocess.Popen(
        list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    with pace.of(process):
        out, err = _wait(process, words[0], limit, text, watch)
    return process.returncode, out, err


def _wait(
    process: "subprocess.Popen[bytes]", program: str, limit: float, text: str, watch: Callable[[], None] | None
) -> tuple[bytes, bytes]:
    end, given = time.monotonic() + limit, text.encode() or None
    try:
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                return process.communicate(given, timeout=min(left, PACE) if watch else left)
            except subprocess.TimeoutExpired:
                # It must not be given a second time.
                given = None
            if time.monotonic() >= end:
                raise _late(process, program, limit)
            if watch:
                watch()
    except BaseException:
        stop(process)
        raise


def _late(process: "subprocess.Popen[bytes]", program: str, limit: float) -> Failed:
    """Stop a program whose time is over; what it said until then may be why: restic tries again for a long time."""
    stop(process)
    said = b""
    with contextlib.suppress(subprocess.TimeoutExpired):
        said = process.communicate(timeout=5)[1]
    return _error(f"{program} did not end within {limit:g} s and was stopped", said.decode(errors="replace"))


def failed(program: str, code: int, said: str) -> Failed:
    """An error with the program's last words."""
    return _error(f"{program} ended with exit code {code}", said)


def _error(what: str, said: str) -> Failed:
    lines = [line for line in said.strip().splitlines() if line.strip()][-15:]
    # What restic says behind this is no reason.
    reason = next((line for line in lines if "already locked" in line), lines[-1] if lines else "")
    last = f": {reason.strip()}" if reason else ""
    return Failed(f"{what}{last}", details="\n".join(lines))


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a process with all that it started, and kill what does not end: restic takes its lock away before."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process with all that it started, and wait for its end."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
    process.wait()
