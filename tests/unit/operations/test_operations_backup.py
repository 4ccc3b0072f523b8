"""What the host side makes of the backup container: its words, its result, its silence."""

import json
import re
from typing import Any

import pytest
from unit_support import Events, fleet

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import ExitCode, FlotteqError, SettingsError
from flotteq_tasks.model.events import StepDone, StepFailed, StepStarted, Warned
from flotteq_tasks.model.stack import Service, ServiceBuild
from flotteq_tasks.operations import database
from flotteq_tasks.operations.backup import predeploy, sets
from flotteq_tasks.operations.backup.job import run_job
from flotteq_tasks.operations.context import Site

JOB = Service(kind="job", image="fleet-backup", build=ServiceBuild(context="b"))


def site(*lines: str, code: int = 0, **changes: Any) -> tuple[Site, FakeHost, Events]:
    settings = fleet(**changes)
    if "services" not in changes:
        settings = fleet(services={**settings.services, "backup": JOB})
    host, events = FakeHost({re.compile(" run --rm "): "\n".join(lines)}), Events()
    follow = host.follow

    def ends(command: Any, on_line: Any, *, timeout: float) -> Done:
        done = follow(command, on_line, timeout=timeout)
        return Done(command, code, out=done.out)

    host.follow = ends  # type: ignore[method-assign]
    return Site(settings, host, ComposeEngine(host, settings), events.report), host, events


def test_progress_is_reported_and_the_result_returned() -> None:
    lines = ["@@step db", "restic said something", "@@done 1.5 db: 3 tables", "@@warn old", '@@ok {"id": "a"}']
    where, host, events = site(*lines)
    assert run_job(where, ["run", "db"]) == {"id": "a"}
    assert [type(one) for one in events.seen] == [StepStarted, StepDone, Warned]
    assert StepDone("db", 1.5, "3 tables") in events.seen
    (command,) = host.transcript
    assert "run --rm --no-deps --no-TTY --quiet-pull --name fleet-backup backup run db" in command


def test_full_speed_is_a_variable_of_the_container() -> None:
    where, host, _ = site('@@ok {"id": "a"}')
    run_job(where, ["run", "db"], full_speed=True)
    assert "--env=BACKUP_DUTY=1 backup run db" in host.transcript[0]


def test_a_failure_keeps_its_words_and_its_exit_code() -> None:
    failed = {"message": "pg_dump ended with exit code 1", "hint": "look", "details": "x"}
    where, _, events = site("@@step db", f"@@failed {json.dumps(failed)}", code=5)
    with pytest.raises(FlotteqError) as caught:
        run_job(where, ["run", "db"])
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (
        "pg_dump ended with exit code 1", "look", ExitCode.UNHEALTHY,
    )  # fmt: skip
    assert StepFailed("db", 0.0, "pg_dump ended with exit code 1") in events.seen


def test_a_container_that_says_nothing_of_its_result_has_failed() -> None:
    where, _, _ = site("@@step db", "Killed", code=0)
    with pytest.raises(FlotteqError, match="said nothing of its result") as caught:
        run_job(where, ["run", "db"])
    assert caught.value.details == "Killed"


def test_an_image_that_is_not_there_is_named() -> None:
    where, _, _ = site("Error response from daemon: No such image: fleet-backup:latest", code=1)
    with pytest.raises(FlotteqError, match="the image of the backups is not there"):
        run_job(where, ["run", "db"])


def test_without_a_job_in_the_settings_nothing_runs() -> None:
    where, host, _ = site(services=fleet().services)
    with pytest.raises(SettingsError, match=r"no services\.backup"):
        run_job(where, ["run", "db"])
    assert host.transcript == []


TAKEN = '@@ok {"id": "20261124T021700Z-aaaa", "size": 20480, "parts": {}}'


def test_a_deploys_set_is_taken_in_one_round_trip_and_tagged_with_its_release() -> None:
    where, host, events = site("@@step db", "@@done 0.1 db: 3 tables", "@@warn old", TAKEN)
    assert database.dump(where, "r2") == ("set 20261124T021700Z-aaaa, 20 KiB", [])
    (command,) = host.transcript
    assert command.startswith("install -d -m 700 /var/backups/fleet && ")
    assert "run --quick --reason 'pre-deploy r2' --keep-days=14 db" in command.replace("'\"'\"'", "'")
    assert [type(one) for one in events.seen] == [Warned]


def test_of_an_empty_database_a_deploy_takes_no_set() -> None:
    where, _, _ = site('@@ok {"id": "", "parts": {}}')
    assert database.dump(where, "r1") == ("", [])


def test_what_is_asked_meanwhile_is_answered_in_the_same_round_trip() -> None:
    where, host, _ = site(TAKEN)
    host.script["orm show"] = "[X] First\n"
    note, (asked,) = database.dump(where, "r2", meanwhile=[Command("orm", "show")])
    assert (note[:3], asked.out, len(host.transcript)) == ("set", "[X] First\n", 2)


def test_an_image_that_is_older_than_this_program_is_named() -> None:
    where, _, _ = site("flotteq-backup: error: unrecognized arguments: --quick", code=2)
    with pytest.raises(FlotteqError, match="the image of the backups is older than this program"):
        database.dump(where, "r2")


def test_on_a_host_without_a_release_it_is_said_that_nothing_was_deployed() -> None:
    where, _, _ = site("Couldn't find env file: /srv/fleet/current/.env", code=1)
    with pytest.raises(FlotteqError, match=r"^nothing has been deployed to .* yet"):
        run_job(where, ["run", "db"])


def test_without_a_job_a_deploy_dumps_to_a_file() -> None:
    where, host, _ = site(services=fleet().services)
    host.script = {"*": "2048\n"}
    assert database.dump(where, "r2") == ("2 KiB in /var/backups/fleet/pre-deploy/r2.dump", [])


def test_the_set_from_before_a_release_is_found_by_its_tag() -> None:
    where, host, _ = site()
    rest = {"created": "2026-11-24T02:17:00+00:00", "version": "v1", "parts": {}, "size": 1, "added": 1, "seconds": 1}
    named = (("a", "pre-deploy r1"), ("b", "pre-deploy r2"), ("c", "manual"))
    lines = [{"event": "set", "id": name, "reason": reason, "verified": True, **rest} for name, reason in named]
    host.files["/var/backups/fleet/ledger.jsonl"] = "".join(f"{json.dumps(one)}\n" for one in lines)
    assert predeploy.before(where, "r2") == "inv restore.db --from b"
    assert predeploy.before(where, "r3") == ""


@pytest.mark.parametrize(
    ("reason", "part", "first"),
    [("pre-deploy r1", "db", True), ("manual", "volume-cache_data", True), ("manual", "db", False)],
)
def test_what_a_deploy_takes_by_itself_is_no_first_backup(reason: str, part: str, first: bool) -> None:
    where, host, _ = site()
    one = {"event": "set", "id": "a", "created": "2026-11-24T02:17:00+00:00", "version": "v1", "size": 1, "added": 1,
           "verified": True, "seconds": 1, "reason": reason, "parts": {part: {"size": 1}}}  # fmt: skip
    host.files["/var/backups/fleet/ledger.jsonl"] = json.dumps(one) + "\n"
    assert sets.is_first(where) is first
