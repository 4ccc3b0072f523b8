"""Point-in-time recovery: moments, windows, promises, settings, timers, scripts."""

import dataclasses
import fcntl
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from unit_support import execute, fake_program, fleet, shellcheck

from flotteq_tasks.commands import pitr
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.compose.files import backup_variables
from flotteq_tasks.model import recovery
from flotteq_tasks.model.backup import read_ledger
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.stack import RECEIVER, BackupSettings, Service, ServiceBuild, Settings
from flotteq_tasks.operations import images
from flotteq_tasks.rendering import schedule
from flotteq_tasks.settings import checks

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def stack(**backup: Any) -> Settings:
    job = Service("job", "fleet-backup", build=ServiceBuild("compose/backup"))
    services = {**fleet().services, "backup": job}
    return fleet(services=services, backup=BackupSettings(**backup)).with_receiver()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-22 14:03", "2026-11-22T14:03:00+00:00"),
        ("2026-11-22 14:03:07.5", "2026-11-22T14:03:07.500000+00:00"),
        ("2026-11-22T15:03+01:00", "2026-11-22T14:03:00+00:00"),
        (" 2026-11-22 14:03Z ", "2026-11-22T14:03:00+00:00"),
    ],
)
def test_a_moment_is_utc_unless_an_offset_follows(text: str, wanted: str) -> None:
    assert recovery.read_moment(text, NOW).isoformat() == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("yesterday", "'yesterday' is no moment: a date and a time, UTC unless an offset follows"),
        ("2026-11-22", "'2026-11-22' is no moment: a date and a time, UTC unless an offset follows"),
        ("2026-13-22 14:03", "'2026-13-22 14:03' is no moment: a date and a time, UTC unless an offset follows"),
        ("2026-11-24 12:01", "2026-11-24 12:01:00 UTC lies ahead: it is 2026-11-24 12:00:00 UTC now"),
    ],
)
def test_what_is_no_moment_or_lies_ahead_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        recovery.read_moment(text, NOW)
    assert error.value.message == sentence


LOOK = """\
slot reserved t 16777216
system 7001
stored {"added": 1, "at": "2026-11-24T11:50:00Z", "size": 2, "snapshot": "abc"}
chain 7001-20261123T000000Z 1795600000.5
chain 7001-20261120T000000Z 1795400000.0
"""


def log(**changes: Any) -> recovery.Log:
    text = LOOK
    for old, new in changes.pop("edit", {}).items():
        text = text.replace(old, new)
    return recovery.read_log(text, bound=1 << 30, minutes=15)


def based(name: str, chain: str, stopped: str, **more: Any) -> str:
    part = {"snapshot": "s", "size": 10, "files": 1, "added": 1}
    return json.dumps(
        {
            "event": "set", "id": name, "created": stopped, "reason": "manual", "version": "", "size": 10, "added": 1,
            "verified": True, "seconds": 1, "parts": {"base": part}, "base": {"chain": chain, "stopped": stopped},
            **more,
        }
    )  # fmt: skip


SETS = read_ledger(
    "\n".join(
        [
            based("a", "7001-20261120T000000Z", "2026-11-20T01:00:00+00:00"),
            based("b", "7001-20261123T000000Z", "2026-11-23T01:00:00+00:00"),
            based("c", "7001-20261123T000000Z", "2026-11-22T01:00:00+00:00", verified=False),
        ]
    )
)


def test_every_chain_with_a_verified_base_backup_is_a_window_and_the_live_one_goes_on() -> None:
    first, second = recovery.windows(SETS, log(), NOW)
    assert str(first) == "2026-11-20 01:00:00 UTC to 2026-11-23 02:13:20 UTC"
    assert str(second) == "2026-11-23 01:00:00 UTC to 2026-11-24 12:00:00 UTC"


@pytest.mark.parametrize(
    "edit", [{"reserved t": "reserved f"}, {"reserved t": "lost t"}, {"system 7001": "system 7002"}]
)
def test_a_chain_that_nobody_receives_ends_with_its_last_byte(edit: dict[str, str]) -> None:
    assert recovery.windows(SETS, log(edit=edit), NOW)[-1].end == datetime.fromtimestamp(1795600000.52, UTC)


def test_a_moment_outside_of_every_window_is_refused_with_what_can_be_reached() -> None:
    window = recovery.Window(NOW - timedelta(hours=2), NOW - timedelta(hours=1))
    recovery.require(window.start, [window])
    recovery.require(window.end, [window])
    for moment in (window.start - timedelta(seconds=1), window.end + timedelta(seconds=1)):
        with pytest.raises(
            UsageError, match="cannot be reached; what can: 2026-11-24 10:00:00 UTC to 2026-11-24 11:00"
        ):
            recovery.require(moment, [window])
    with pytest.raises(UsageError, match="there is no base backup with its log"):
        recovery.require(NOW, [])


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        ({}, ""),
        ({"system 7001\n": ""}, "the database does not answer: nothing is known of its log"),
        ({"slot reserved t 16777216\n": ""}, "there is no slot: nothing is received"),
        ({"slot reserved": "slot lost"}, "the slot is lost: WAL is gone that was not received"),
        ({"reserved t": "extended f"}, "the slot is inactive: nothing is received"),
        ({"16777216": "700000000"}, "the receiver is 667 MiB behind, 1024 MiB are kept for it"),
        ({"T11:50": "T11:00"}, "the log was stored 60 min ago, promised: every 15 min"),
        ({'stored {"added"': 'other {"added"'}, "the log was never stored"),
    ],
)
def test_what_is_not_as_promised_is_one_sentence(edit: dict[str, str], sentence: str) -> None:
    assert log(edit=edit).problem(SETS, NOW) == sentence


def test_log_without_a_base_backup_before_it_is_no_protection() -> None:
    sentence = "no base backup leads on to the log that is received: inv backup.base"
    assert log().problem(SETS[:1], NOW) == sentence
    assert log().problem([], NOW) == sentence


def test_the_receiver_is_a_service_only_where_it_is_wanted() -> None:
    assert RECEIVER not in stack().services
    found = stack(pitr=True).services[RECEIVER]
    assert (found.kind, found.image, found.memory) == ("tool", "fleet-backup", "128m")
    assert stack(pitr=True).reference(RECEIVER, "v1") == stack().reference("backup", "v1")
    assert RECEIVER not in images.built_services(stack(pitr=True))


def test_nothing_is_told_of_it_where_it_is_off() -> None:
    assert not [name for name in backup_variables(stack()) if name.startswith("WAL")]
    assert backup_variables(stack())["BACKUP_KEEP"] == "3 7 5 12 2"
    on = backup_variables(stack(pitr=True, keep_bases=4))
    assert (on["WAL_RECEIVER_REPLICAS"], on["WAL_RECEIVER_SLOT_MB"], on["BACKUP_KEEP"]) == ("1", "4096", "3 7 5 12 2 4")


def test_settings_that_cannot_be_are_refused() -> None:
    wrong = stack(pitr=True, pitr_minutes=60, pitr_slot_mb=0, keep_bases=0)
    found = [(".".join(path), text) for path, text in checks.check(wrong) if path[0] == "backup"]
    assert found == [
        ("backup.pitr_slot_mb", "0 is less than 1"),
        ("backup.keep_bases", "0 is less than 1"),
        ("backup.pitr_minutes", "60 is more than 59"),
    ]
    alone = fleet(backup=BackupSettings(pitr=True)).with_receiver()
    assert [path for path, _ in checks.check(alone)] == [("backup", "service")]


def test_timers_of_it_are_there_only_where_it_is_on() -> None:
    assert not {"base", "wal"} & {job.name for job in schedule.jobs(stack())}
    units = schedule.unit_texts(stack(pitr=True, pitr_minutes=5))
    timer = units["fleet-schedule-wal.timer"]
    assert "OnCalendar=*-*-* *:0/5:00\nRandomizedDelaySec=0m\n" in timer
    assert "*/5 * * * * root /srv/fleet/schedule/by-cron wal\n" in schedule.cron_text(stack(pitr=True, pitr_minutes=5))
    assert "\nwal) jitter=0 ;;\n" in schedule.cron_program_text(stack(pitr=True))
    assert shellcheck(schedule.cron_program_text(stack(pitr=True)), "bash") == ""


def test_what_stores_the_log_runs_beside_whoever_holds_the_lock(tmp_path: Path) -> None:
    settings = stack(pitr=True)
    settings = dataclasses.replace(settings, project=dataclasses.replace(settings.project, directory=str(tmp_path)))
    (tmp_path / "state").mkdir()
    program = tmp_path / "run"
    names = [job.name for job in schedule.jobs(settings)]
    program.write_text(schedule.program_text(settings, {name: Command("sh", "-c", "exit 5") for name in names}))
    assert shellcheck(program.read_text(), "bash") == ""
    with (tmp_path / "state/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert execute(Command("bash", str(program), "wal")).returncode == 5
    assert not (tmp_path / "state/journal.jsonl").exists()


def test_without_a_database_that_runs_nothing_is_touched(tmp_path: Path) -> None:
    fake_program(tmp_path, "docker", 'echo "$@" >>"$(dirname "$0")/calls"')
    settings = stack()
    done = execute(pitr.remove(settings.project, settings.database, receiver=RECEIVER), path=tmp_path)
    assert (done.returncode, done.stdout) == (pitr.NO_SERVER, "its database does not run\n")
    assert (tmp_path / "calls").read_text().count("\n") == 1
