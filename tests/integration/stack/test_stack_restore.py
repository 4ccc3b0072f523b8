"""A restore of the database: exactly what was dumped, the former one kept, nothing changed when anything is wrong."""

import json
import re
import shlex
import signal
from typing import Any

import pytest
from support.stack import API, SERVICES, Stack, difference, wait_for

from flotteq_tasks.commands import swapping
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox import machine
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.settings.loader import load

pytestmark = pytest.mark.stack

DATABASE = "flotteq_production"
PLACE = "/var/backups/flotteq"


# As many small transactions as the database takes, until it is told to stop.
WRITER = """
insert='insert into busy (at, t) values (clock_timestamp(), md5(clock_timestamp()::text));'
while [ ! -e /tmp/enough ]; do
  seq 400 | sed "s/.*/$insert/" | docker exec -i flotteq-postgres-1 psql -q -U flotteq_prod flotteq_production
done
"""


# Milliseconds from the end of the one that runs to the first answer of the one that comes.
RESTART = """
backend=$(docker ps --quiet --filter label=com.docker.compose.service=backend)
name=$(docker inspect --format '{{.Name}}' "$backend") began=$(date +%s%3N)
docker stop --time 10 "$backend" >/dev/null; docker start "$backend" >/dev/null
address=http://${name#/}:3000/api/health
until docker exec flotteq-nginx-1 wget -q -T 5 -O - "$address" >/dev/null 2>&1; do sleep 0.1; done
echo $(($(date +%s%3N) - began))
"""


def plates(stack: Stack) -> list[str]:
    out = stack.inv("psql", "--command", "copy (select plate from vehicles order by 1) to stdout").ok().out
    return out.split()


def databases(stack: Stack) -> list[str]:
    out = stack.inv("psql", "--command", "copy (select datname from pg_database order by 1) to stdout").ok().out
    return [name for name in out.split() if name.startswith(DATABASE)]


def add(stack: Stack, plate: str) -> None:
    stack.inv("psql", "--command", "insert into vehicles (plate) values ('PLATE')".replace("PLATE", plate)).ok()


def take(stack: Stack) -> str:
    return str(json.loads(stack.inv("backup.db", "--json").ok().out)["id"])


def test_a_restore_brings_the_set_back_and_undo_what_came_after(stack: Stack) -> None:
    add(stack, "BEFORE")
    before = plates(stack)
    taken = take(stack)
    add(stack, "LATER")
    later = plates(stack)
    done = json.loads(stack.inv("restore.db", "--from", taken, "--yes", "--json").ok().out)
    assert plates(stack) == before
    assert (done["set"], done["database"]) == (taken, DATABASE)
    assert done["swapped"] < 2000 and done["closed"] < 5000, done
    assert databases(stack) == [DATABASE, done["before"]]
    assert stack.health()["database"] == "connected"
    assert "LATER" not in stack.get(API, "/api/vehicles")[2].decode()
    # Whoever holds a transaction does not keep the renames waiting.
    holding = stack.inv.spawn("psql", "--command", "begin; lock table vehicles in share mode; select pg_sleep(300)")
    wait_for(lambda: "pg_sleep" in _statements(stack), "the transaction to hold its lock")
    stack.inv("restore.undo", "--yes").ok()
    assert holding.wait(20).code != 0
    assert plates(stack) == later
    stack.inv("restore.finalize", "--yes").ok()
    assert databases(stack) == [DATABASE]
    assert plates(stack) == later
    assert stack.inv("restore.undo", "--yes").ended(1).err.count("no database from before a restore") == 1
    reasons = [one["reason"] for one in json.loads(stack.inv("backup.list", "--json").ok().out)]
    assert f"pre-restore of {taken}" in reasons
    stack.inv("status").ok()
    stack.inv("psql", "--command", "delete from vehicles where plate in ('BEFORE', 'LATER')").ok()


def _statements(stack: Stack) -> str:
    return stack.inv("psql", "--command", "select query from pg_stat_activity where query like 'begin; lock%'").out


def test_a_set_that_is_taken_under_writes_is_restored_exactly(stack: Stack) -> None:
    """The restore compares rows and checksums of every table with the manifest; one difference would end it."""
    create = "create table if not exists busy (id serial primary key, at timestamptz, t text)"
    stack.inv("psql", "--command", create).ok()
    stack.host(f"rm -f /tmp/enough; nohup sh -c {shlex.quote(WRITER)} >/dev/null 2>&1 &")
    try:
        taken = take(stack)
        second = take(stack)
    finally:
        stack.host("touch /tmp/enough")
    sets = {one["id"]: one for one in json.loads(stack.inv("backup.list", "--json").ok().out)}
    assert sets[second]["rows"]["public.busy"] > sets[taken]["rows"]["public.busy"]
    # Other tables than those of the set: what runs must not meet them unprepared.
    stack.inv("psql", "--command", "drop table busy").ok()
    done = stack.inv("restore.db", "--from", taken, "--yes", "--json").ok()
    assert "backend restarted" in done.err
    # The page lasts as long as the application takes to start, and hardly longer.
    assert json.loads(done.out)["closed"] < 2 * int(stack.host(RESTART).out) + 3000, done.out
    stack.inv("psql", "--command", "drop table busy").ok()
    stack.inv("restore.finalize", "--yes").ok()


def test_without_a_yes_nothing_happens_and_the_differences_are_shown(stack: Stack) -> None:
    taken, before = take(stack), stack.snapshot()
    add(stack, "SINCE")
    done = stack.inv("restore.db", "--from", taken).ended(2)
    assert taken in done.err and "public.vehicles:" in done.err and "nothing was changed" in done.err
    assert difference(before, stack.snapshot()) == []


def test_an_unknown_set_is_refused(stack: Stack) -> None:
    before = stack.snapshot()
    assert "there is no set 1999" in stack.inv("restore.db", "--from", "1999", "--yes").ended(2).err
    assert difference(before, stack.snapshot()) == []


def test_a_restore_without_room_is_refused(stack: Stack) -> None:
    """The ledger is told that the database was far larger."""
    taken, before = take(stack), stack.snapshot()
    stack.host(f"""cd {PLACE}; cp -p ledger.jsonl ledger.kept
      sed -i '/"{taken}"/s/"on_disk": [0-9]*/"on_disk": 99999999999999/' ledger.jsonl""")
    try:
        done = stack.inv("restore.db", "--from", taken, "--yes").ended(1)
    finally:
        stack.host(f"mv {PLACE}/ledger.kept {PLACE}/ledger.jsonl")
    assert re.search(r"a restore beside the live database needs \d+ MiB, \d+ MiB are free", done.err)
    assert difference(before, stack.snapshot()) == []


def test_a_swap_whose_second_rename_fails_renames_nothing(stack: Stack) -> None:
    settings = load(stack.project, "sandbox", {})
    application = swapping.Application(("backend",), "nginx", limit=20)
    command = swapping.swap(
        settings.project, settings.database, application, next="nobody", kept="kept_for_nothing", way="reconnect"
    )
    done = stack.host(command.render(), check=False)
    assert done.code == swapping.REFUSED, done.err
    assert databases(stack) == [DATABASE]
    wait_for(lambda: _connected(stack), "the API to answer")


def test_an_application_that_does_not_start_with_the_set_gets_its_database_back(stack: Stack) -> None:
    stack.inv("psql", "--command", "create table kept as table migrations; delete from migrations").ok()
    try:
        broken = take(stack)
    finally:
        stack.inv("psql", "--command", "insert into migrations select * from kept; drop table kept").ok()
    add(stack, "SURVIVES")
    before = plates(stack)
    done = stack.inv(
        "restore.db", "--from", broken, "--yes", variables={"FLOTTEQ__DEPLOY__HEALTH_TIMEOUT": "25"}
    ).ended(3)
    assert "was not healthy with the other database" in done.err
    assert plates(stack) == before
    assert databases(stack) == [DATABASE]
    assert stack.health()["database"] == "connected"


def test_a_damaged_set_is_seen_before_anything_live_changes(stack: Stack) -> None:
    taken, before = take(stack), plates(stack)
    ids = stack.ids()
    stack.host(f"""
      cp -a {PLACE} {PLACE}.kept; rm -rf {PLACE}/cache
      find {PLACE}/restic/data -type f | while IFS= read -r pack; do
        chmod u+w "$pack"; truncate -s "$(($(stat -c %s "$pack") / 2))" "$pack"
      done""")
    try:
        done = stack.inv("restore.db", "--from", taken, "--skip-backup", "--yes").ended(3)
        assert "everything was put back" in done.err
    finally:
        stack.host(f"rm -rf {PLACE}; mv {PLACE}.kept {PLACE}")
    assert plates(stack) == before
    assert databases(stack) == [DATABASE]
    assert stack.ids() == ids


PAGE = "/opt/flotteq/nginx/state/maintenance.on"
LEFT = f"""
ls {PAGE} /opt/flotteq/state/restore.json {PLACE}/scratch/*.dump 2>/dev/null
docker ps --all --format '{{{{.Names}}}}' | grep backup
true
"""


KILLED_AT = {
    "backup of what is there": "",
    "restore beside": "the live database is as it was",
    "swap": "",
    "containers": "its database is live",
    "verify": "",
    "clean up": "",
}


@pytest.mark.parametrize("step", KILLED_AT)
def test_a_client_that_is_killed_leaves_one_database_or_the_other(stack: Stack, step: str) -> None:
    before, taken = plates(stack), take(stack)
    add(stack, "SINCE")
    running = stack.inv.spawn("restore.db", "--from", taken, "--skip-backup", "--yes")
    running.says(f"  {step} …")
    running.kill(signal.SIGKILL)
    running.wait(10)
    if KILLED_AT[step]:
        assert f"a restore of set {taken}" in stack.inv("deploy.status").out
    assert KILLED_AT[step] in stack.inv("deploy.abort").ok().err
    swapped = "_before_" in "".join(databases(stack))
    assert not swapped or step not in ("backup of what is there", "restore beside")
    assert swapped or step in ("backup of what is there", "restore beside", "swap")
    _one_state(stack, before if swapped else sorted([*before, "SINCE"]))
    stack.inv("restore.finalize", "--yes").ok()


def _one_state(stack: Stack, wanted: list[str]) -> None:
    """The site answers with exactly one of both; nothing half-done is left."""
    wait_for(lambda: _connected(stack), "the API to answer")
    assert plates(stack) == wanted
    assert not [name for name in databases(stack) if "_restored_" in name]
    assert stack.host(LEFT).out == ""
    assert "half-done" not in stack.inv("deploy.status").ok().out
    found = stack.containers()
    assert sorted(one["service"] for one in found) == sorted(SERVICES)
    assert {one["health"] for one in found} == {"healthy"}


def test_a_host_that_loses_power_during_the_swap_is_brought_to_one_state(stack: Stack) -> None:
    stack.inv("psql", "--command", "create table brief (id int)").ok()
    taken = take(stack)
    # Other columns: the application is stopped meanwhile, and the window is long enough to be hit.
    stack.inv("psql", "--command", "drop table brief").ok()
    running = stack.inv.spawn("restore.db", "--from", taken, "--skip-backup", "--yes")
    wait_for(lambda: stack.host(f"test -e {PAGE}", check=False).ok, "the maintenance page", timeout=120)
    docker, names = Docker(LocalHost()), Names(stack.sandbox.instance)
    docker.run("kill", names.host)
    running.kill(signal.SIGKILL)
    docker.run("start", names.host)
    machine.wait_for_machine(docker, names)
    wait_for(lambda: "half-done" in stack.inv("deploy.status").out, "the host to answer", timeout=120)
    assert "a restore of set" in stack.inv("status").ended(5).out
    assert "a restore of set" in stack.inv("doctor").ended(5).out
    assert "did not end" in stack.inv("start").ok().err
    _one_state(stack, plates(stack))
    stack.inv("restore.finalize", "--yes").ok()
    stack.inv("psql", "--command", "drop table if exists brief").ok()
    stack.inv("status").ok()


def _connected(stack: Stack) -> Any:
    return stack.get(API, "/api/health")[0] == 200 and stack.health()["database"] == "connected"


UPLOADS = "/var/lib/docker/volumes/flotteq_uploads_data/_data"
_LISTED = f"""
cd {UPLOADS}
find . -path ./.flotteq-restore -prune -o -printf '%P %y %m %U %G %l\\n' | sort
find . -path ./.flotteq-restore -prune -o -type f -exec sha256sum {{}} + | sort
"""


def test_uploads_come_back_with_owners_modes_and_links_and_undo_brings_back_what_came_after(stack: Stack) -> None:
    stack.host(f"""
      cd {UPLOADS}; mkdir -p deep/er; echo photo >deep/er/p.jpg; echo doc >d.pdf; ln -sf deep/er/p.jpg latest
      chown -R 1000:1000 deep; chmod 2750 deep; chmod 600 d.pdf; chown 1000:33 d.pdf; touch 'a name'""")
    before = stack.host(_LISTED).out
    taken = str(json.loads(stack.inv("backup.uploads", "--json").ok().out)["id"])
    stack.host(f"cd {UPLOADS}; rm -r deep; echo other >d.pdf; chmod 644 d.pdf; echo new >n.jpg")
    after = stack.host(_LISTED).out
    stack.inv("restore.uploads", "--from", taken, "--yes").ok()
    assert stack.host(_LISTED).out == before
    stack.inv("restore.uploads", "--undo", "--yes").ok()
    assert stack.host(_LISTED).out == after
    stack.inv("restore.finalize", "--yes").ok()
    assert stack.host(f"ls -d {UPLOADS}/.flotteq-restore", check=False).out == ""
    stack.host(f"cd {UPLOADS}; rm -rf deep d.pdf latest n.jpg 'a name'")


def test_lost_certificates_come_back_and_are_served(stack: Stack) -> None:
    taken = str(json.loads(stack.inv("backup.certs", "--json").ok().out)["id"])
    place = "/opt/flotteq/certbot/conf"
    before = stack.host(f"cd {place}; find live archive -printf '%P %y %m %l\\n' | sort").out
    stack.host(f"rm -rf {place}/live {place}/archive")
    stack.inv("restore.certs", "--from", taken, "--skip-backup", "--yes").ok()
    assert stack.host(f"cd {place}; find live archive -printf '%P %y %m %l\\n' | sort").out == before
    stack.inv("ssl.status").ok()
    assert "good; not due" in stack.inv("ssl.renew").ok().out
    stack.inv("restore.finalize", "--yes").ok()


def test_any_volume_comes_back_and_nothing_that_runs_is_torn(stack: Stack) -> None:
    def mark(value: str = "") -> str:
        words = f"set mark {value}" if value else "get mark"
        return stack.inv("redis-cli", "--command", words).ok().out.strip()

    mark("one")
    for name in ("redis_data", "postgres_data"):
        assert "would be torn" in stack.inv("volumes.backup", name).ended(2).err
    taken = json.loads(stack.inv("volumes.backup", "redis_data", "--stop", "--json").ok().out)["id"]
    mark("two")
    here = ("restore.volume", "redis_data", "--yes")
    assert "redis runs on redis_data" in stack.inv(*here, "--from", taken).ended(2).err
    stack.inv(*here, "--from", taken, "--stop", "--skip-backup").ok()
    assert mark() == "one"
    stack.inv("volumes.restore", "--name", "redis_data", "--yes", "--undo", "--stop").ok()
    assert mark() == "two"
    running = stack.inv.spawn(*here, "--from", taken, "--stop", "--skip-backup")
    running.says("  restore …")
    running.kill(signal.SIGKILL)
    running.wait(10)
    assert "a restore of redis_data: inv deploy.abort" in stack.inv("deploy.status").out
    assert "started: redis" in stack.inv("deploy.abort").ok().err
    wait_for(lambda: mark() in ("one", "two"), "redis to answer")
    wait_for(lambda: _connected(stack), "the API to answer")
    assert "half-done" not in stack.inv("deploy.status").ok().out
    stack.inv("restore.finalize", "--yes").ok()
    volume = "/var/lib/docker/volumes/flotteq_redis_data/_data"
    assert stack.host(f"ls -d {volume}/.flotteq-restore", check=False).out == ""


def test_the_way_back_behind_a_migration_is_the_set_from_before_it(stack: Stack) -> None:
    version, before = "v7.5.0", plates(stack)
    if not stack.published(version):
        stack.publish(version, "EXTRA_MIGRATION=colour")
    stack.inv("deploy", "--version", version, "--soak", "0").ok()
    add(stack, "SINCE")
    said = re.search(r"\(inv restore\.db --from (\S+)\)", stack.inv("rollback").ok().err)
    assert said is not None
    listed = next(one for one in json.loads(stack.inv("backup.list", "--json").ok().out) if one["id"] == said[1])
    assert listed["verified"] is True and listed["keep_days"] == 14
    assert listed["reason"].startswith("pre-deploy ") and listed["reason"].endswith(version)
    assert stack.host(f"ls {PLACE}/pre-deploy", check=False).out == ""
    done = stack.inv("restore.db", "--from", "pre-deploy", "--yes", "--json").ok()
    assert json.loads(done.out)["set"] == said[1]
    assert plates(stack) == before
    columns = "copy (select column_name from information_schema.columns where table_name = 'vehicles') to stdout"
    assert "extra_colour" not in stack.inv("psql", "--command", columns).ok().out.split()
    stack.inv("restore.finalize", "--yes").ok()
    stack.inv("backup.verify", "--set", said[1]).ok()
