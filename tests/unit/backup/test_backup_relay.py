"""The gate between a dump and the store, with real processes: the store here writes down whether it saw the end."""

import hashlib
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from flotteq_backup.errors import Failed, NotVerified
from flotteq_backup.relay import Gate, relay

# Like restic: takes all of its input, makes a "snapshot" at its end, cleans up when it is interrupted.
STORE = """
import os, signal, sys
def stop(*_):
    sys.stderr.write("signal interrupt received, cleaning up\\n"); sys.stderr.flush(); os._exit(130)
signal.signal(signal.SIGINT, stop)
data = b""
while piece := os.read(0, 1 << 16): data += piece
open(sys.argv[1], "wb").write(data)
print("stored", len(data))
"""
GATE = Gate(header=b"PGDMP", floor=10, stall=2, limit=20)


def send(body: str, place: Path, *, gate: Gate = GATE, store: str = STORE) -> Path:
    """Relay what a script prints; return where the store would have put it."""
    target = place / "snapshot"
    producer = [sys.executable, "-c", f"import os, sys, time\n{body}"]
    relay(producer, [sys.executable, "-c", store, str(target)], gate)
    return target


@pytest.mark.parametrize(("sha256", "kept"), [(hashlib.sha256(b"PGDMP123456").hexdigest(), True), ("0" * 64, False)])
def test_with_another_hash_than_the_one_asked_for_the_consumer_sees_no_end(
    tmp_path: Path, sha256: str, kept: bool
) -> None:
    with nullcontext() if kept else pytest.raises(NotVerified, match="something else than what was written"):
        send("os.write(1, b'PGDMP123456')", tmp_path, gate=replace(GATE, sha256=sha256))
    assert (tmp_path / "snapshot").exists() == kept


def test_a_watch_that_raises_stops_both(tmp_path: Path) -> None:
    began = time.monotonic()

    def watch() -> None:
        if time.monotonic() - began > 0.5:
            raise Failed("the disk is full")

    producer = [sys.executable, "-c", "import os, time\nwhile True: os.write(1, b'x' * 100); time.sleep(0.05)"]
    with pytest.raises(Failed, match="the disk is full"):
        relay(producer, [sys.executable, "-c", STORE, str(tmp_path / "snapshot")], GATE, watch=watch)
    assert not (tmp_path / "snapshot").exists()


def test_a_producer_that_is_stopped_may_take_its_lock_away(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    body = (
        "import signal, pathlib\n"
        f"signal.signal(signal.SIGINT, lambda *_: (pathlib.Path({str(lock)!r}).unlink(), os._exit(130)))\n"
        "while True: os.write(1, b'no dump at all'); time.sleep(0.01)"
    )
    with pytest.raises(Failed, match="was stopped"):
        send(body, tmp_path, gate=replace(GATE, limit=1))
    assert not lock.exists()


def test_both_have_the_variables_that_were_given(tmp_path: Path) -> None:
    show = "import os, sys; sys.stdout.write('PGDMP' + os.environ['FLEET'] * 9)"
    take = "import os, sys; sys.stdin.read(); print(os.environ['FLEET'])"
    done = relay([sys.executable, "-c", show], [sys.executable, "-c", take], GATE, environment={"FLEET": "x"})
    assert (done.size, done.said) == (14, "x\n")


def test_what_is_whole_arrives_with_its_size_and_hash(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'PGDMP' + bytes(3_000_000))"]
    done = relay(words, [sys.executable, "-c", STORE, str(tmp_path / "snapshot")], GATE)
    assert done.size == 3_000_005 == (tmp_path / "snapshot").stat().st_size
    assert done.sha256 == hashlib.sha256(b"PGDMP" + bytes(3_000_000)).hexdigest()
    assert done.said == "stored 3000005\n"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("sys.stdout.write('PGDMP' + 'x' * 5000); sys.stdout.flush(); sys.exit(1)", "exit code 1"),
        ("os.write(1, b'PGDMP' + bytes(5000)); os.kill(os.getpid(), 9)", "exit code -9"),
        ("pass", "not a dump"),
        ("os.write(1, b'PGDMP')", "fewer than the floor"),
        ("os.write(1, b'\\x1f\\x8b' + bytes(5000))", "not a dump"),
        ("os.write(1, b'PGDMP\\r\\n'); time.sleep(60)", "sent nothing for 2 s"),
        ("sys.stderr.write('server is gone\\n'); sys.exit(2)", "server is gone"),
    ],
    ids=["fails after data", "is killed", "says nothing", "too short", "is no dump", "stalls", "says why"],
)
def test_a_producer_that_does_not_end_well_leaves_no_snapshot(tmp_path: Path, body: str, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence):
        send(body, tmp_path)
    assert not (tmp_path / "snapshot").exists()


def test_a_store_that_fails_is_the_reason(tmp_path: Path) -> None:
    full = "import sys; sys.stdin.buffer.read(70000); sys.stderr.write('no space left on device\\n'); sys.exit(1)"
    with pytest.raises(Failed, match="no space left on device"):
        send("os.write(1, b'PGDMP')\nwhile True: os.write(1, bytes(1 << 16))", tmp_path, store=full)


def test_a_store_that_hangs_does_not_hold_the_dump_for_ever(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Failed, match="took nothing for 2 s"):
        send(
            "os.write(1, b'PGDMP')\nwhile True: os.write(1, bytes(1 << 20))",
            tmp_path,
            store="import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)",
        )
    assert time.monotonic() - started < 20


def test_a_dump_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    gate = Gate(header=b"PGDMP", floor=1, stall=5, limit=1.5)
    with pytest.raises(Failed, match=r"longer than 1.5 s|sent nothing"):
        send("os.write(1, b'PGDMP')\nwhile True: time.sleep(0.1); os.write(1, b'x')", tmp_path, gate=gate)
    assert not (tmp_path / "snapshot").exists()


def test_an_interrupted_store_gets_no_end_of_file_before_it_understood(tmp_path: Path) -> None:
    slow = STORE.replace("def stop(*_):", "def stop(*_):\n    import time; time.sleep(0.5)")
    with pytest.raises(Failed, match="exit code 1"):
        send("os.write(1, b'PGDMP' + bytes(50)); sys.exit(1)", tmp_path, store=slow)
    assert not (tmp_path / "snapshot").exists()
