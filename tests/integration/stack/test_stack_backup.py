"""Backups on the host: taken, read back, listed, verified, promised; nothing left of one that failed."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.stack import Stack, wait_for

pytestmark = pytest.mark.stack

PLACE = "/var/backups/flotteq"
UPLOADS = "/var/lib/docker/volumes/flotteq_uploads_data/_data"


def sets(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.inv("backup.list", "--json").ok().out)
    return found


@pytest.fixture(scope="module")
def taken(stack: Stack) -> dict[str, Any]:
    """One set of everything."""
    stack.inv("psql", "--command", "insert into vehicles (plate) values ('BACKED-UP')").ok()
    stack.host(f"echo photo >{UPLOADS}/a.jpg; chown 1000:1000 {UPLOADS}/a.jpg; chmod 600 {UPLOADS}/a.jpg")
    found: dict[str, Any] = json.loads(stack.inv("backup.all", "--json").ok().out)
    return found


def test_a_set_of_everything_is_read_back_and_listed(stack: Stack, taken: dict[str, Any]) -> None:
    assert taken["verified"] is True
    assert set(taken["parts"]) == {"db", "uploads", "certs"}
    assert sets(stack)[0]["id"] == taken["id"]
    assert taken["id"] in stack.inv("backup.list").ok().out
    assert "backup.all" in stack.inv("history").ok().out


def test_the_repository_belongs_to_root_alone(stack: Stack, taken: dict[str, Any]) -> None:
    assert stack.host(f"stat -c '%a %U' {PLACE}").out.split() == ["700", "root"]


def test_promises_are_kept_now_and_broken_when_too_old(stack: Stack, taken: dict[str, Any]) -> None:
    found = json.loads(stack.inv("backup.status", "--json").ok().out)
    assert [(one["part"], one["kept"]) for one in found["parts"]] == [("db", True), ("uploads", True), ("certs", True)]
    old = 's/"created": "2[0-9-]*T/"created": "2020-01-01T/'
    stack.host(f"cd {PLACE}; cp -p ledger.jsonl ledger.kept; sed -i '{old}' ledger.jsonl")
    try:
        assert "TOO OLD" in stack.inv("backup.status").ended(5).out
    finally:
        stack.host(f"mv {PLACE}/ledger.kept {PLACE}/ledger.jsonl")


def test_a_verified_set_is_whole(stack: Stack, taken: dict[str, Any]) -> None:
    done = stack.inv("backup.verify", "--set", taken["id"][:12], "--data", "100%")
    # Other sets of this minute may begin alike.
    assert f"set {taken['id']} is whole" in done.out if done.code == 0 else "more than one set" in done.err


def test_a_drill_restores_everything_where_nobody_uses_it(stack: Stack, taken: dict[str, Any]) -> None:
    before = stack.ids()
    found = json.loads(stack.inv("backup.drill", "--set", taken["id"], "--json").ok().out)
    assert found["parts"] == ["certs", "db", "uploads"] and found["rows"] > 0
    listed = next(one for one in sets(stack) if one["id"] == taken["id"])
    assert listed["drilled"]["ok"] is True and listed["drilled"]["seconds"] > 0
    assert stack.ids() == before
    assert stack.host(f"find {PLACE}/drill {PLACE}/scratch -mindepth 1", check=False).out == ""


def test_retention_removes_what_is_old_with_its_snapshots_and_nothing_young(
    stack: Stack, taken: dict[str, Any]
) -> None:
    """The ledger is told that two sets were taken long ago."""
    names = [str(json.loads(stack.inv("backup.certs", "--json").ok().out)["id"]) for _ in range(2)]
    for name in names:
        stack.host(f"""sed -i '/"{name}"/s/"created": "[0-9-]*T/"created": "2019-01-01T/' {PLACE}/ledger.jsonl""")
    stack.inv("backup.certs").ok()
    snapshots = int(stack.host(f"ls {PLACE}/restic/snapshots | wc -l").out)
    planned = json.loads(stack.inv("backup.prune", "--dry-run", "--json").ok().out)
    assert names[0] in planned["remove"] and "young" in planned["keep"][taken["id"]]
    assert json.loads(stack.inv("backup.prune", "--json").ok().out)["remove"] == planned["remove"]
    assert names[0] not in [one["id"] for one in sets(stack)]
    assert int(stack.host(f"ls {PLACE}/restic/snapshots | wc -l").out) == snapshots - 2 * len(planned["remove"])
    stack.inv("backup.verify", "--data", "100%").ok()


@pytest.fixture
def damaged(stack: Stack, taken: dict[str, Any]) -> Iterator[None]:
    """Bits flipped all over every pack of the repository: packs hold pieces of several sets."""
    stack.host(f"""
      cp -a {PLACE} {PLACE}.kept
      find {PLACE}/restic/data -type f | while IFS= read -r pack; do
        chmod u+w "$pack"; LC_ALL=C tr a-p b-q <"$pack" >/root/pack; cat /root/pack >"$pack"
      done; rm -rf {PLACE}/cache /root/pack""")
    yield
    stack.host(f"rm -rf {PLACE}; mv {PLACE}.kept {PLACE}")


def test_flipped_bits_are_seen_and_the_set_does_not_count_any_more(
    stack: Stack, taken: dict[str, Any], damaged: None
) -> None:
    assert "could not be restored" in stack.inv("backup.drill", "--set", taken["id"]).ended(5).err
    assert "is damaged" in stack.inv("backup.verify", "--set", taken["id"]).ended(5).err
    assert next(one for one in sets(stack) if one["id"] == taken["id"])["verified"] is False


def test_an_unknown_set_is_refused_with_the_newest_names(stack: Stack, taken: dict[str, Any]) -> None:
    done = stack.inv("backup.verify", "--set", "19990101").ended(2)
    assert "no set 19990101" in done.err and taken["id"] in done.err


def test_another_key_is_refused_and_nothing_is_made_anew(stack: Stack, taken: dict[str, Any]) -> None:
    secret = "$(readlink -f /opt/flotteq/secrets/restic_password)"
    before = stack.host(f"find {PLACE}/restic -type f | sort | sha256sum").out
    stack.host(f"cp -p {secret} /root/kept; printf other >{secret}")
    try:
        assert "another key made it" in stack.inv("backup.db").ended(1).err
    finally:
        stack.host(f"cat /root/kept >{secret}; rm /root/kept")
    assert stack.host(f"find {PLACE}/restic -type f | sort | sha256sum").out == before


def test_a_dump_that_fails_leaves_no_set(stack: Stack, taken: dict[str, Any]) -> None:
    before = [one["id"] for one in sets(stack)]
    stack.inv("stop", "--service", "postgres", "--yes").ok()
    try:
        done = stack.inv("backup.db").ended(1)
    finally:
        stack.inv("start", "--service", "postgres").ok()
    assert "psql ended with exit code 2" in done.err
    assert [one["id"] for one in sets(stack)] == before


def test_a_killed_client_leaves_no_set_no_container_and_no_lock(stack: Stack, taken: dict[str, Any]) -> None:
    before = [one["id"] for one in sets(stack)]
    holding = stack.inv.spawn("psql", "--command", "begin; lock table vehicles; select pg_sleep(60)")
    wait_for(lambda: "AccessExclusive" in _locks(stack), "the table to be locked")
    running = stack.inv.spawn("backup.db")
    wait_for(lambda: "flotteq-backup" in stack.ids(), "the container to run")
    running.kill(signal.SIGKILL)
    wait_for(lambda: "flotteq-backup" not in stack.ids(), "the container to be gone")
    holding.kill(signal.SIGKILL)
    # Its server process would sleep on, with the lock.
    end = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'begin; lock%'"
    stack.inv("psql", "--command", end).ok()
    wait_for(lambda: "pg_dump" not in stack.host("ps axww -o args").out, "no orphan")
    assert [one["id"] for one in sets(stack)] == before
    wait_for(lambda: stack.inv("backup.db").code == 0, "the next backup to pass", timeout=90)
    assert len(sets(stack)) == len(before) + 1


def test_a_container_that_is_killed_for_want_of_memory_leaves_no_set(stack: Stack, taken: dict[str, Any]) -> None:
    before = [one["id"] for one in sets(stack)]
    running = stack.inv.spawn("backup.all")
    running.says("  db …")
    stack.host("docker kill flotteq-backup")
    done = running.wait(60)
    assert (done.code, "exit code 137 and said nothing of its result" in done.err) == (1, True), str(done)
    assert [one["id"] for one in sets(stack)] == before
    assert "is not locked" in stack.inv("lock.status").ok().out


def test_no_password_is_in_a_command_line_or_in_the_container(stack: Stack, taken: dict[str, Any]) -> None:
    secrets = [stack.secret("restic_password"), stack.secret("db_password")]
    holding = stack.inv.spawn("psql", "--command", "begin; lock table vehicles; select pg_sleep(8)")
    wait_for(lambda: "AccessExclusive" in _locks(stack), "the table to be locked")
    running = stack.inv.spawn("backup.db")
    wait_for(lambda: "flotteq-backup" in stack.ids(), "the container to run")
    seen = stack.host(
        "ps axwwo args; docker inspect flotteq-backup; docker exec flotteq-backup sh -c 'cat /proc/[0-9]*/cmdline'",
        check=False,
    ).out
    running.wait(120).ok()
    holding.wait(60)
    assert "flotteq_backup" in seen
    assert not [one for one in secrets if one in seen or one in running.heard()]


def test_the_doctor_names_what_is_between_here_and_a_restore(stack: Stack, taken: dict[str, Any]) -> None:
    found = {one["what"]: one for one in json.loads(stack.inv("backup.doctor", "--json").out)["findings"]}
    assert all(found[what]["ok"] for what in ("job", "key", "image", "repository", "access", "db verified"))
    # Nothing of it leaves this host.
    assert found["copies"]["ok"] is False
    stack.host(f"chmod 755 {PLACE}")
    try:
        found = {one["what"]: one for one in json.loads(stack.inv("backup.doctor", "--json").out)["findings"]}
    finally:
        stack.host(f"chmod 700 {PLACE}")
    assert found["access"]["ok"] is False


def _locks(stack: Stack) -> str:
    return stack.inv("psql", "--command", "select mode from pg_locks where mode like 'AccessExclusive%'").out
