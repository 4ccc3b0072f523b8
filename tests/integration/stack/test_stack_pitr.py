"""Point-in-time recovery: received, restored to a moment, its troubles seen, nothing left once it is off."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.stack import VERSION, Stack, difference, wait_for

pytestmark = pytest.mark.stack

ON = {"FLOTTEQ__BACKUP__PITR": "true"}
PLACE = "/var/backups/flotteq"
RECEIVER = "flotteq-wal-receiver-1"


def ask(stack: Stack, sql: str) -> str:
    return stack.host(
        "docker exec -i flotteq-postgres-1 psql -XAtq -v ON_ERROR_STOP=1 -U flotteq_prod flotteq_production",
        stdin=sql.encode(),
    ).out.strip()


def plates(stack: Stack) -> list[str]:
    return ask(stack, "select plate from vehicles order by 1").split("\n")


def add(stack: Stack, plate: str) -> None:
    ask(stack, "insert into vehicles (plate) values ('PLATE')".replace("PLATE", plate))


def now(stack: Stack) -> str:
    return ask(stack, "select clock_timestamp() at time zone 'UTC'")


def status(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.inv("backup.status", "--json", variables=ON).out)["log"]
    return found


def is_received(stack: Stack) -> bool:
    return ask(stack, "select active from pg_replication_slots where slot_name = 'wal_receiver'") == "t"


@pytest.fixture(scope="module")
def before(stack: Stack) -> Iterator[dict[str, str]]:
    """The containers from before it was switched on."""
    ids = stack.ids()
    stack.inv("deploy", "--version", VERSION, variables=ON).ok()
    yield ids
    if RECEIVER in stack.ids():
        stack.inv("deploy", "--version", VERSION).ok()


@pytest.fixture(scope="module")
def base(stack: Stack, before: dict[str, str]) -> dict[str, Any]:
    """A base backup."""
    found: dict[str, Any] = json.loads(stack.inv("backup.base", "--json", variables=ON).ok().out)
    return found


def test_a_deploy_starts_the_receiver_and_replaces_nothing_else(stack: Stack, before: dict[str, str]) -> None:
    assert {name: id for name, id in stack.ids().items() if name != RECEIVER} == before
    wait_for(lambda: is_received(stack), "the slot to be active")
    seen = json.loads(stack.host(f"docker inspect {RECEIVER}").out)[0]
    assert seen["Config"]["User"] == "6400:6400" and seen["HostConfig"]["ReadonlyRootfs"] is True
    assert seen["HostConfig"]["CapDrop"] == ["ALL"] and seen["HostConfig"]["Memory"] == 128 << 20
    assert seen["State"]["Health"]["Status"] == "healthy"
    assert stack.secret("db_password") not in json.dumps(seen)
    assert ask(stack, "show max_slot_wal_keep_size") == "4GB"
    assert "nothing to do" in stack.inv("deploy", "--version", VERSION, variables=ON).ok().err


def test_a_restore_to_a_moment_brings_exactly_what_was_there_and_undo_the_rest(
    stack: Stack, base: dict[str, Any]
) -> None:
    assert base["verified"] is True and set(base["parts"]) == {"base"}
    add(stack, "BEFORE")
    wanted, moment = plates(stack), now(stack)
    add(stack, "LATER")
    later = plates(stack)
    assert "any moment of" in stack.inv("backup.list", variables=ON).ok().out
    done = json.loads(
        stack.inv("restore.db", "--to", moment, "--skip-backup", "--yes", "--json", variables=ON, timeout=300).ok().out
    )
    assert plates(stack) == wanted and "LATER" in later
    assert done["set"].endswith(" UTC") and done["closed"] < 5000, done
    assert stack.health()["database"] == "connected"
    stack.inv("restore.undo", "--yes", variables=ON).ok()
    assert plates(stack) == later
    stack.inv("restore.finalize", "--yes", variables=ON).ok()
    left = f"find {PLACE}/drill {PLACE}/scratch -mindepth 1; ls -d {PLACE}/base"
    assert stack.host(left, check=False).out == ""
    ask(stack, "delete from vehicles where plate in ('BEFORE', 'LATER')")


def test_a_moment_that_cannot_be_reached_is_refused(stack: Stack, base: dict[str, Any]) -> None:
    unchanged = stack.snapshot()
    for words, sentence in (
        (["--to", "2020-01-01 00:00"], "2020-01-01 00:00:00 UTC cannot be reached; what can: "),
        (["--to", "2999-01-01 00:00"], "2999-01-01 00:00:00 UTC lies ahead"),
        (["--to", "noon"], "'noon' is no moment"),
        (["--to", "2020-01-01 00:00", "--from", "latest"], "--from and --to exclude each other"),
    ):
        assert sentence in stack.inv("restore.db", *words, "--yes", variables=ON).ended(2).err
    assert "point-in-time recovery is off" in stack.inv("restore.db", "--to", "2020-01-01 00:00", "--yes").ended(2).err
    assert difference(unchanged, stack.snapshot()) == []


def test_a_client_that_is_killed_while_it_recovers_leaves_nothing(stack: Stack, base: dict[str, Any]) -> None:
    known = plates(stack)
    running = stack.inv.spawn("restore.db", "--to", now(stack), "--skip-backup", "--yes", variables=ON)
    wait_for(lambda: stack.host(f"ls {PLACE}/drill/now", check=False).out, "the recovery to begin")
    running.kill(signal.SIGKILL)
    wait_for(lambda: "flotteq-backup" not in stack.ids(), "the container to be gone")
    assert "the live database is as it was" in stack.inv("deploy.abort", variables=ON).ok().err
    assert plates(stack) == known
    assert stack.host(f"find {PLACE}/drill {PLACE}/scratch -mindepth 1", check=False).out == ""


def test_a_base_backup_is_recovered_where_nobody_uses_it(stack: Stack, base: dict[str, Any]) -> None:
    found = json.loads(stack.inv("backup.drill", "--set", "base", "--json", variables=ON).ok().out)
    assert found["id"] == base["id"] and found["rows"] > 0


def test_the_timer_stores_the_log_beside_whoever_holds_the_lock(stack: Stack, base: dict[str, Any]) -> None:
    stack.inv("schedule.install", variables=ON).ok()
    stored = status(stack)["stored"]
    wait_for(lambda: now(stack)[:19] > stored[:19].replace("T", " "), "the next second")
    stack.host("flock /opt/flotteq/state/lock systemctl start flotteq-schedule-wal.service", timeout=90)
    assert status(stack)["stored"] > stored
    assert "schedule wal" not in stack.inv("history").ok().out
    stack.inv("schedule.remove", "--yes").ok()


def test_a_receiver_that_is_away_is_seen_and_comes_back_after_the_server(stack: Stack, base: dict[str, Any]) -> None:
    assert stack.inv("backup.status", variables=ON).err == ""
    assert status(stack)["problem"] == ""
    stack.host(f"docker stop --time 10 {RECEIVER}")
    assert "the slot is inactive: nothing is received" in stack.inv("backup.status", variables=ON).ended(5).out
    assert "the slot is inactive" in stack.inv("backup.doctor", variables=ON).ended(5).out
    stack.host(f"docker start {RECEIVER}; docker restart flotteq-postgres-1", timeout=120)
    wait_for(lambda: stack.host("docker exec flotteq-postgres-1 pg_isready -q", check=False).ok, "the server")
    wait_for(lambda: is_received(stack), "the receiver to come back")
    wait_for(lambda: stack.status()["ok"], "the application to connect anew")


def test_a_lost_slot_is_seen_and_a_base_backup_begins_anew(stack: Stack, base: dict[str, Any]) -> None:
    known = len(status(stack)["windows"])
    stack.host(f"docker stop --time 10 {RECEIVER}")
    ask(stack, "alter system set max_slot_wal_keep_size = '16MB'; select pg_reload_conf()")
    for _ in range(4):
        ask(stack, "create table filler (); drop table filler; select pg_switch_wal()")
    ask(stack, "checkpoint")
    assert status(stack)["problem"] == "the slot is lost: WAL is gone that was not received"
    stack.host(f"docker start {RECEIVER}")
    stack.inv("backup.base", variables=ON).ok()
    stack.inv("backup.prune", variables=ON).ok()
    found = status(stack)
    assert found["problem"] == "" and len(found["windows"]) == known + 1, found


def test_switched_off_it_leaves_no_slot_and_no_container(stack: Stack, before: dict[str, str]) -> None:
    stack.inv("deploy", "--version", VERSION).ok()
    assert RECEIVER not in stack.ids()
    assert ask(stack, "select count(*) from pg_replication_slots") == "0"
    assert ask(stack, "show max_slot_wal_keep_size") == "-1"
    rules = "select count(*) from pg_hba_file_rules where database = '{replication}' and address = 'samenet'"
    assert ask(stack, rules) == "0"
    assert "nothing to do" in stack.inv("deploy", "--version", VERSION).ok().err
