"""Programs: every one has a time limit, none gets a secret by its arguments."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from flotteq_backup.errors import Failed

LIMIT = 600


def run(
    words: Sequence[str],
    *,
    limit: float = LIMIT,
    text: str = "",
    good: Sequence[int] = (0,),
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        limit: seconds; afterwards its whole process group is killed.
        text: its standard input.
        good: exit codes that are no failure.
        environment: more variables for it.

    Raises:
        Failed: another exit code, or the limit; the details are the program's last words.
    """
    process = subprocess.Popen(
        list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        out, err = process.communicate(text.encode(), timeout=limit)
    except subprocess.TimeoutExpired:
        kill(process)
        raise Failed(f"{words[0]} did not end within {limit:g} s and was killed") from None
    if process.returncode not in good:
        raise failed(words[0], process.returncode, err.decode(errors="replace"))
    return out.decode()


def failed(program: str, code: int, said: str) -> Failed:
    """An error with the program's last words."""
    lines = [line for line in said.strip().splitlines() if line.strip()][-15:]
    last = f": {lines[-1].strip()}" if lines else ""
    return Failed(f"{program} ended with exit code {code}{last}", details="\n".join(lines))


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process with all that it started, and wait for its end."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
    process.wait()
