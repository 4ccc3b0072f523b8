"""The program that timers run, run here; the units as text."""

import fcntl
import json
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from unit_support import Events, fleet, shellcheck

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import CommandFailed
from flotteq_tasks.model.stack import Project, ScheduleSettings, Service, ServiceBuild
from flotteq_tasks.operations import schedule as operation
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.history import entries
from flotteq_tasks.operations.lock import break_lock, who_holds
from flotteq_tasks.rendering import schedule

COMMANDS = {"good": Command("env", "echo", "it's done"), "bad": Command("sh", "-c", "exit 5")}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program below a directory of the test's own; it does not wait for the lock."""
    project = Project(name="fleet", domain="fleet.example", directory=str(tmp_path))
    settings = fleet(project=project, schedule=ScheduleSettings(wait=0))
    path = tmp_path / "schedule/run"
    path.parent.mkdir()
    (tmp_path / "state").mkdir()
    path.write_text(schedule.program_text(settings, COMMANDS))
    path.chmod(0o755)
    return path


def run(program: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, name], capture_output=True, text=True, check=False, timeout=20)


def journal(program: Path) -> str:
    return (program.parents[1] / "state/journal.jsonl").read_text()


def test_a_job_is_journaled_like_what_people_do(program: Path) -> None:
    done = run(program, "good")
    assert (done.returncode, done.stdout) == (0, "it's done\n")
    (entry,) = entries(journal(program))
    assert (entry.what, entry.who, entry.result) == ("schedule good", "timer", "done")
    assert not (program.parents[1] / "state/lock.json").exists()


def test_a_job_behind_half_of_a_line_is_in_the_journal(program: Path) -> None:
    (program.parents[1] / "state/journal.jsonl").write_text('{"at": "2026-11-2')
    run(program, "good")
    assert [one.what for one in entries(journal(program))] == ["schedule good"]


def test_a_job_that_fails_keeps_its_exit_code(program: Path) -> None:
    assert run(program, "bad").returncode == 5
    (entry,) = entries(journal(program))
    assert (entry.result, entry.error) == ("failed", "exit code 5")


def test_a_held_lock_is_respected(program: Path) -> None:
    with (program.parents[1] / "state/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(program, "good").returncode == 75
    assert run(program, "good").returncode == 0


def test_a_job_that_runs_gives_the_lock_back_when_it_is_taken_away(program: Path) -> None:
    state = str(program.parents[1] / "state")
    waits = Command("sh", "-c", 'trap "echo put away; exit" TERM; echo begun; sleep 60 & wait', "waits")
    program.write_text(schedule.program_text(fleet(project=Project("fleet", "f.example", str(program.parents[1]))),
                                             {"long": waits}))  # fmt: skip
    with subprocess.Popen([program, "long"], stdout=subprocess.PIPE, text=True, start_new_session=True) as job:
        assert job.stdout and job.stdout.readline() == "begun\n"
        assert break_lock(LocalHost("here"), state).startswith("here is locked by timer on")
        assert (job.stdout.read(), job.wait(5)) == ("put away\n", 143)
    assert who_holds(LocalHost("here"), state) == "here is not locked"


def test_a_number_of_somebody_else_is_not_ended(program: Path) -> None:
    state = program.parents[1] / "state"
    with subprocess.Popen(["sleep", "60"]) as stranger, (state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (state / "lock.pid").write_text(f"{stranger.pid}\n")
        with pytest.raises(CommandFailed, match="does not hold"):
            break_lock(LocalHost("here"), str(state))
        assert stranger.poll() is None
        stranger.kill()


def test_an_unknown_job_does_nothing(program: Path) -> None:
    assert run(program, "other").returncode == 2


def test_shellcheck_has_nothing_to_say(program: Path) -> None:
    assert shellcheck(program.read_text(), "bash") == ""


BACKS_UP = {**fleet().services, "backup": Service(kind="job", image="fleet-backup", build=ServiceBuild("b"))}


def test_every_job_has_a_timer_that_catches_up_and_says_when_it_failed() -> None:
    settings = fleet(services=BACKS_UP)
    units = schedule.unit_texts(settings)
    names = [job.name for job in schedule.jobs(settings)]
    assert len(units) == 2 * len(names) + 1
    for name in names:
        timer, service = units[f"fleet-schedule-{name}.timer"], units[f"fleet-schedule-{name}.service"]
        spread = "120m" if name == "renew" else "20m"
        assert "Persistent=true" in timer and f"RandomizedDelaySec={spread}\n" in timer
        assert "OnFailure=fleet-schedule-failed@%n.service" in service
        assert f"ExecStart=/srv/fleet/schedule/run {name}\n" in service
        # The wait for the lock and the job's own limit fit in.
        assert "TimeoutStartSec=18300" in service


def test_the_table_of_cron_has_every_job() -> None:
    assert (
        schedule.cron_text(fleet(services=BACKS_UP))
        == """\
# Written by `inv schedule.install`.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
47 1,13 * * * root /srv/fleet/schedule/by-cron renew
27 9 * * Wed root /srv/fleet/schedule/by-cron rehearse
17 2 * * * root /srv/fleet/schedule/by-cron backup
17 3 * * Sun root /srv/fleet/schedule/by-cron full
17 4 * * * root /srv/fleet/schedule/by-cron verify
17 5 * * Sun root /srv/fleet/schedule/by-cron drill
17 6 * * * root /srv/fleet/schedule/by-cron prune
"""
    )


def test_without_a_backup_job_the_certificate_is_renewed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = SimpleNamespace(write=lambda *_, **__: True)
    monkeypatch.setattr(operation, "locked", lambda *_: nullcontext(keeper))
    host, settings = FakeHost({"*": ""}), fleet()
    site = Site(settings, host, ComposeEngine(host, settings), Events().report)
    assert operation.install(site, {}) == ["renew", "rehearse"]
    assert list(operation.commands(site)) == ["renew", "rehearse"]


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ("Mon..Fri *-*-* 3:07", "7 3 * * Mon-Fri"),
        ("Sat,Sun *-*-* 01:00:00", "0 1 * * Sat,Sun"),
        ("*-*-01 04:30:00", "30 4 01 * *"),
        ("*-*-* 01,13:47:00", "47 1,13 * * *"),
        ("daily", None),
        ("*-*-* *:00:00", None),
        ("2026-*-* 01:00", None),
    ],
)
def test_times_of_systemd_are_said_as_cron_says_them_or_not_at_all(when: str, wanted: str | None) -> None:
    assert schedule.cron_time(when) == wanted


def test_what_cron_runs_keeps_output_and_result_and_tells_of_a_failure(program: Path) -> None:
    place = program.parent
    project = Project(name="fleet", domain="fleet.example", directory=str(program.parents[1]))
    by_cron = place / "by-cron"
    by_cron.write_text(schedule.cron_program_text(fleet(project=project)))
    by_cron.chmod(0o755)
    (place / "on-failure").write_text('#!/bin/sh\necho "$1" >told\n')
    (place / "on-failure").chmod(0o755)
    for name, code in (("good", 0), ("bad", 5)):
        done = subprocess.run([by_cron, name, "now"], capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode, (place / f"{name}.result").read_text().split()[1]) == (code, str(code))
    assert (place / "good.log").read_text() == "it's done\n"
    assert (place / "told").read_text() == "bad\n"
    assert shellcheck(by_cron.read_text(), "bash") == ""


def test_the_journal_is_json(program: Path) -> None:
    run(program, "good")
    assert [json.loads(line)["event"] for line in journal(program).splitlines()] == ["start", "end"]
