"""What monitoring reads."""

from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import __main__ as program
from flotteq_backup import metrics
from flotteq_backup.settings import Settings


def taken(name: str, **more: Any) -> dict[str, Any]:
    parts = {"db": {"size": 10, "added": 5}}
    return {"id": name, "created": "2026-11-24T02:17:00Z", "parts": parts, "verified": True, "seconds": 7.5, **more}


SETS = [
    taken("a", copies=["vault"], drilled={"at": "2026-11-22T05:20:00Z", "ok": True, "seconds": 41.0}),
    taken("b", created="2026-11-25T02:17:00Z"),
    taken("c", verified=False),
]


def test_the_text_is_prometheus_own() -> None:
    assert (
        metrics.text("fleet-production", metrics.of_sets(SETS, 1 << 30))
        == """\
# HELP flotteq_backup_last_verified_timestamp_seconds When the newest verified set of a part was taken.
# TYPE flotteq_backup_last_verified_timestamp_seconds gauge
flotteq_backup_last_verified_timestamp_seconds{stack="fleet-production",part="db",repository="local"} 1795573020
flotteq_backup_last_verified_timestamp_seconds{stack="fleet-production",part="db",repository="vault"} 1795486620
# HELP flotteq_backup_size_bytes Size of that part.
# TYPE flotteq_backup_size_bytes gauge
flotteq_backup_size_bytes{stack="fleet-production",part="db"} 10
# HELP flotteq_backup_added_bytes What that set added to the repository.
# TYPE flotteq_backup_added_bytes gauge
flotteq_backup_added_bytes{stack="fleet-production",part="db"} 5
# HELP flotteq_backup_duration_seconds How long that set took.
# TYPE flotteq_backup_duration_seconds gauge
flotteq_backup_duration_seconds{stack="fleet-production",part="db"} 7.5
# HELP flotteq_backup_sets Sets in the host's repository.
# TYPE flotteq_backup_sets gauge
flotteq_backup_sets{stack="fleet-production",state="verified"} 2
flotteq_backup_sets{stack="fleet-production",state="unverified"} 1
# HELP flotteq_backup_last_drill_timestamp_seconds When a set was last restored where nobody uses it.
# TYPE flotteq_backup_last_drill_timestamp_seconds gauge
flotteq_backup_last_drill_timestamp_seconds{stack="fleet-production"} 1795324800
# HELP flotteq_backup_last_drill_ok Whether that set was whole.
# TYPE flotteq_backup_last_drill_ok gauge
flotteq_backup_last_drill_ok{stack="fleet-production"} 1
# HELP flotteq_backup_drill_rto_seconds How long that restore took.
# TYPE flotteq_backup_drill_rto_seconds gauge
flotteq_backup_drill_rto_seconds{stack="fleet-production"} 41
# HELP flotteq_backup_free_bytes Free bytes beside the host's repository.
# TYPE flotteq_backup_free_bytes gauge
flotteq_backup_free_bytes{stack="fleet-production"} 1073741824
"""
    )


@pytest.mark.parametrize(("of_set", "of_base"), [(True, True), (False, True), (True, False)])
def test_a_base_backup_that_is_well_does_not_hide_a_set_that_is_not(of_set: bool, of_base: bool) -> None:
    base = {"base": {"size": 9, "added": 3}}
    sets = [
        taken("a", drilled={"at": "2026-11-22T05:20:00Z", "ok": of_set, "seconds": 41.0}),
        taken("b", parts=base, drilled={"at": "2026-11-15T05:30:00Z", "ok": False, "seconds": 3.0}),
        taken("c", parts=base, drilled={"at": "2026-11-22T05:30:00Z", "ok": of_base, "seconds": 7.0}),
    ]
    found = {one.name: one.value for one in metrics.of_sets(sets, 0)}
    assert found["flotteq_backup_last_drill_ok"] == int(of_set and of_base)
    assert found["flotteq_backup_drill_rto_seconds"] == 41.0
    assert found["flotteq_backup_last_drill_timestamp_seconds"] == 1795324800


def test_the_drill_of_a_base_backup_has_metrics_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_measure", lambda _settings, job, *_: jobs.append(job))
    monkeypatch.setattr(program, "give_credentials", lambda _: None)
    monkeypatch.setattr(program.Program, "drill", lambda *_: {})
    monkeypatch.setattr(program.Settings, "read", lambda _: Settings(place=tmp_path))
    jobs: list[str] = []
    assert [program.main(["drill", what], {}) for what in ("latest", "base")] == [0, 0]
    assert jobs == ["drill", "drill-base"]


def test_files_are_whole_readable_and_one_for_each_job(tmp_path: Path) -> None:
    for job, code in (("run", 0), ("drill", 5)):
        metrics.write(tmp_path, "fleet", tmp_path, SETS, metrics.of_job(job, 1795486620, code, 1.5))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fleet-backup-drill.prom", "fleet-backup-run.prom", "fleet-backup.prom",
    ]  # fmt: skip
    said = (tmp_path / "fleet-backup-drill.prom").read_text()
    assert 'flotteq_backup_job_exit_code{stack="fleet",job="drill"} 5\n' in said
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


@pytest.mark.parametrize("sets", [[], [taken("a", verified=False)]])
def test_without_a_good_set_no_age_is_invented(sets: list[dict[str, Any]]) -> None:
    assert "timestamp" not in metrics.text("fleet", metrics.of_sets(sets, 0))


def test_without_a_place_nothing_is_written(tmp_path: Path) -> None:
    metrics.write(tmp_path / "absent", "fleet", tmp_path, SETS, metrics.of_job("run", 0, 0, 0))
    assert list(tmp_path.iterdir()) == []
