"""The received log and base backups in the job: chains, gaps, what goes, what is run, what is told."""

import dataclasses
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import archive, backup, base, metrics, receive, recover, retention, wal
from flotteq_backup.errors import Failed, Unknown
from flotteq_backup.restic import Restic
from flotteq_backup.settings import Settings as Job
from unit_support import fake_program

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
JOB = Job(name="fleet-production", database="fleet", user="fleet", server="store")
FIRST, SECOND, THIRD = (f"00000001000000000000000{number}" for number in (1, 2, 3))
SIZE = 16 << 20


def segment(chain: Path, name: str, content: str = "x") -> Path:
    chain.mkdir(parents=True, exist_ok=True)
    path = chain / name
    path.write_text(content)
    return path


def test_chains_sort_by_time_and_belong_to_a_cluster(tmp_path: Path) -> None:
    for name in ("9-20261122T000000Z", "10-20261121T000000Z", "9-20261120T000000Z"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert wal.chains(tmp_path) == ["9-20261120T000000Z", "10-20261121T000000Z", "9-20261122T000000Z"]
    assert wal.chains(tmp_path, "9") == ["9-20261120T000000Z", "9-20261122T000000Z"]
    assert wal.chains(tmp_path / "none") == []
    assert wal.new_chain("9", NOW) == "9-20261124T120000Z"


def test_a_chain_without_the_first_segment_is_not_whole(tmp_path: Path) -> None:
    segment(tmp_path, SECOND)
    segment(tmp_path, f"{THIRD}.partial")
    segment(tmp_path, "archive_status")
    assert [one.name for one in wal.from_segment(tmp_path, FIRST)] == [SECOND, f"{THIRD}.partial"]
    assert wal.gap(tmp_path, FIRST, SIZE) == f"chain {tmp_path.name} does not have segment {FIRST}"
    assert wal.gap(tmp_path, SECOND, SIZE) == wal.gap(tmp_path, THIRD, SIZE) == ""


def test_a_segment_that_is_missing_in_between_is_seen(tmp_path: Path) -> None:
    for name in (FIRST, SECOND, "0000000100000000000000FF", "000000010000000100000000"):
        segment(tmp_path, name)
    assert wal.gap(tmp_path, FIRST, SIZE) == f"chain {tmp_path.name} lacks 252 segments behind the 2. of {FIRST}"
    assert wal.gap(tmp_path, "0000000100000000000000FF", SIZE) == ""


@pytest.mark.parametrize(
    ("redo", "later", "arrived", "wanted"),
    [
        ("redo done at 0/3000148 system usage", -1, False, True),
        ("redo done at 0/2FFFF28 system usage", -1, False, True),
        ("redo done at 0/1000148 system usage", -1, False, False),
        ("redo done at 0/3000148 system usage", 1, False, False),
        ("redo done at 0/3000148 system usage", -1, True, False),
        ("", -1, False, False),
    ],
    ids=["at the end", "one before", "far from it", "received for shorter", "it must be there", "no word"],
)
def test_a_log_without_a_later_transaction_is_enough_only_when_all_of_it_was_read(
    tmp_path: Path, redo: str, later: int, arrived: bool, wanted: bool
) -> None:
    job = dataclasses.replace(JOB, place=tmp_path)
    chain = wal.folder(job) / "7-20261120T000000Z"
    for name in (FIRST, SECOND, f"{THIRD}.partial"):
        os.utime(segment(chain, name), (NOW.timestamp(), NOW.timestamp()))
    entry = {"id": "a", "base": {"chain": chain.name, "segment": FIRST, "segment_bytes": SIZE}}
    store: Any = None
    recovery_ = recover.Recovery(job, store, entry, NOW + timedelta(seconds=later))
    recovery_.arrived = arrived
    assert recovery_._is_all(f"LOG:  {redo}\n") is wanted


def test_retention_leaves_what_a_base_backup_needs(tmp_path: Path) -> None:
    old, lone, live = (tmp_path / f"7-2026112{day}T000000Z" for day in (0, 1, 2))
    for chain in (old, lone, live):
        for name in (FIRST, SECOND, f"{THIRD}.partial"):
            segment(chain, name)
    bases = [{"chain": old.name, "segment": THIRD}, {"chain": old.name, "segment": SECOND}]
    assert wal.trim(tmp_path, bases) == 1 + 3
    assert sorted(one.name for one in old.iterdir()) == [SECOND, f"{THIRD}.partial"]
    assert not lone.exists()
    # It waits for its first base backup.
    assert len(list(live.iterdir())) == 3
    assert wal.trim(tmp_path, bases) == 0


def test_retention_keeps_the_last_base_backups_and_no_old_ones() -> None:
    sets = [
        {"id": f"b{day}", "created": f"2026-10-{day:02}T00:00:00Z", "verified": day != 5, "parts": {"base": {}}}
        for day in range(1, 7)
    ]
    found = retention.plan(sets, retention.Keep(bases=2), NOW)
    assert found.keep == {"b6": ["last of base"], "b4": ["last of base"]}


def test_the_newest_base_backup_from_before_the_moment_is_taken() -> None:
    sets = [
        {"id": name, "verified": verified, "base": {"stopped": f"2026-11-{day}T00:00:00+00:00"}}
        for name, day, verified in (("a", 20, True), ("b", 21, True), ("c", 22, False), ("d", 23, True))
    ]
    assert recover.choose(sets, datetime(2026, 11, 22, 12, tzinfo=UTC))["id"] == "b"
    with pytest.raises(Unknown, match="the oldest base backup is of 2026-11-20T00:00:00 UTC"):
        recover.choose(sets, datetime(2026, 11, 19, tzinfo=UTC))
    with pytest.raises(Unknown, match="there is no verified base backup"):
        recover.choose([], NOW)


def test_the_label_of_a_base_backup_names_its_first_segment() -> None:
    label = f"START WAL LOCATION: 0/2000028 (file {SECOND})\nCHECKPOINT LOCATION: 0/2000060\n"
    assert base.first_segment(label) == SECOND
    with pytest.raises(Failed, match="names no segment"):
        base.first_segment("LABEL: x\n")


def test_no_password_is_in_what_is_run() -> None:
    assert receive.receive_words(JOB, Path("/wal/c")) == [
        "pg_receivewal", "--directory=/wal/c", "--slot=wal_receiver", "--synchronous", "--no-loop", "--no-password",
        "--host", "store", "--username", "fleet",
    ]  # fmt: skip
    assert base.words(JOB, Path("/backups/base")) == [
        "pg_basebackup", "--pgdata=/backups/base", "--format=plain", "--wal-method=stream", "--checkpoint=fast",
        "--manifest-checksums=SHA256", "--no-password", "--host", "store", "--username", "fleet",
    ]  # fmt: skip


def test_the_server_of_a_recovery_is_reached_by_nobody_and_ends_at_the_moment() -> None:
    words = recover.server_words(Path("/drill/now"), "recovery_target_time=2026-11-24 12:00:00+00:00")
    options = words[4::2]
    assert words[:4] == ["postgres", "-D", "/drill/now/data", "-c"]
    for option in (
        "listen_addresses=", "recovery_target_time=2026-11-24 12:00:00+00:00", "recovery_target_action=promote",
        "restore_command=cp /drill/now/wal/%f %p", "archive_mode=off", "hba_file=/drill/now/hba",
    ):  # fmt: skip
        assert option in options


def test_monitoring_sees_that_nothing_is_received() -> None:
    stored = "2026-11-24T11:50:00Z"
    found = metrics.text("fleet-production", metrics.of_log(wal.Slot("lost", True, 9), stored))
    assert 'flotteq_wal_received{stack="fleet-production"} 0\n' in found
    assert 'flotteq_wal_lag_bytes{stack="fleet-production"} 9\n' in found
    assert metrics.of_log(None, stored)[0].value == 0
    assert metrics.of_log(wal.Slot("reserved", True, 0), stored)[0].value == 1


class Store:
    """A repository that remembers."""

    def __init__(self, times: dict[str, str]) -> None:
        self.times, self.copied = times, list[str]()

    def snapshots(self, *tags: str) -> list[dict[str, Any]]:
        assert tags == ("part=wal",)
        return [{"id": name, "time": time} for name, time in self.times.items()]

    def copy(self, _source: Any, ids: Any) -> None:
        self.copied += list(ids)


TIMES = {
    "old": "2026-11-19T23:00:00.123456789Z", "early": "2026-11-20T10:00:00.5+01:00",
    "late": "2026-11-20T20:00:00Z", "next": "2026-11-21T08:00:00Z",
}  # fmt: skip


def test_the_newest_log_of_every_day_comes_back_from_elsewhere() -> None:
    store: Any = Store({})
    archive.bring(store, Store(TIMES), "2026-11-20T01:00:00+00:00")  # type: ignore[arg-type]
    assert store.copied == ["late", "next"]


def test_a_segment_that_is_being_received_is_not_overwritten_by_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = dataclasses.replace(JOB, place=tmp_path)
    segment(wal.folder(job) / "7-20261120T000000Z", f"{FIRST}.partial")
    said = tmp_path / "said"
    fake_program(
        tmp_path / "bin",
        "restic",
        f"""case $* in *snapshots*) echo '[{{"id": "s", "time": ""}}]' ;;
*) echo "$*" >>{said} ;; esac""",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    archive.unpack(job, Restic("fleet-test"), "7-20261120T000000Z")
    (words,) = said.read_text().splitlines()
    assert "restore s:" in words and "--overwrite if-newer" in words


def test_what_an_interrupted_run_left_is_removed_and_the_log_stays() -> None:
    class Left:
        def snapshots(self) -> list[dict[str, Any]]:
            tags = {"whole": ["run=a", "part=db"], "manifest": ["run=a", "part=manifest"], "left": ["run=b", "part=db"]}
            return [{"id": name, "tags": one} for name, one in {**tags, "log": ["part=wal"]}.items()]

        def forget(self, ids: list[str]) -> None:
            assert ids == ["left"]

    assert backup.sweep(Left()) == ["left"]  # type: ignore[arg-type]


def test_log_from_before_every_base_backup_is_outdated_but_never_the_newest(tmp_path: Path) -> None:
    store: Any = Store(TIMES)
    bases = [{"stopped": "2026-11-20T12:00:00+00:00"}]
    assert archive.outdated(store, tmp_path, bases) == ["old", "early"]
    (tmp_path / archive.STATE).write_text('{"snapshot": "early"}')
    assert archive.outdated(store, tmp_path, bases) == ["old"]
    assert archive.outdated(store, tmp_path, []) == []


RECEIVES = """\
import pathlib, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""


def test_the_receiver_stops_when_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, script, runs = tmp_path / "programs", tmp_path / "receives.py", tmp_path / "runs"
    script.write_text(RECEIVES)
    fake_program(folder, "pg_receivewal", f"exec {sys.executable} {script} {runs}")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    receiver = receive.Receiver(JOB, tmp_path)
    monkeypatch.setattr(receiver, "chain", lambda: tmp_path / "chain")
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    while not runs.exists():
        thread.join(0.05)
    receiver.stop()
    thread.join(20)
    assert not thread.is_alive()
