"""Pauses between bursts, with real programs."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from flotteq_backup import __main__ as program
from flotteq_backup import process
from flotteq_backup.errors import Failed
from flotteq_backup.pace import FULL, GRACE, Pace

SPIN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"


def _busy(seconds: float, pace: Pace) -> float:
    """Seconds that a program needs for so many seconds of work."""
    began = time.monotonic()
    process.run([sys.executable, "-c", SPIN.format(seconds)], pace=pace)
    return time.monotonic() - began


def test_a_program_works_its_share_of_the_time() -> None:
    assert _busy(GRACE + 0.4, Pace(0.2)) > GRACE + 1.2


def test_one_that_is_soon_done_is_left_alone() -> None:
    assert _busy(0.01, Pace(0.01)) < GRACE


def test_without_pauses_nothing_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("a signal"))
    process.run([sys.executable, "-c", SPIN.format(GRACE + 0.1)], pace=FULL)


def test_one_that_pauses_still_hears_that_it_is_interrupted(tmp_path: Path) -> None:
    """restic takes its lock away then."""
    cleaned = tmp_path / "cleaned"
    body = (
        "import os, pathlib, signal\n"
        f"signal.signal(signal.SIGINT, lambda *_: (pathlib.Path({str(cleaned)!r}).touch(), os._exit(130)))\n"
        "while True: pass"
    )
    with pytest.raises(Failed, match="did not end within 1 s"):
        process.run([sys.executable, "-c", body], limit=1, pace=Pace(0.05))
    assert cleaned.exists()


def test_what_goes_on_behind_the_block_is_not_left_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN.format(60)], start_new_session=True) as spinning:
        with Pace(0.01).of(spinning):
            time.sleep(GRACE + 0.1)
        state = Path(f"/proc/{spinning.pid}/stat").read_text().rpartition(")")[2].split()[0]
        os.killpg(spinning.pid, signal.SIGKILL)
    assert state != "T"


@pytest.mark.parametrize(
    ("words", "duty"),
    [
        (["run", "db"], 0.25), (["run", "--quick", "db"], 1), (["verify"], 0.25), (["drill"], 1), (["copy"], 0.25),
        (["restore-db", "x", "--target", "y"], 1),
    ],
    ids=str,
)  # fmt: skip
def test_only_what_nobody_waits_for_pauses(words: list[str], duty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    class Seen(program.Program):
        def __init__(self, settings: program.Settings) -> None:
            super().__init__(settings)
            seen.extend([settings.duty, self.store.pace.duty])
            raise Failed("enough")

    monkeypatch.setattr(program, "Program", Seen)
    monkeypatch.setattr(program, "give_credentials", lambda _: None)
    monkeypatch.setattr(program, "alone", lambda *_: nullcontext())
    monkeypatch.setattr(program, "_measure", lambda *_: None)
    assert program.main(words, {"BACKUP_DUTY": "0.25"}) == 1
    assert seen == [duty, duty]
