"""Runs in the backup image: breaks what the backup program works with, in one chosen way each, and looks at the answer.

The program is started as the host starts it. Its server is a Postgres of this container's own, its store a real restic.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from fault_bench import (
    BACKUPS,
    BASE,
    CERTS,
    CHANGES,
    LIVE,
    SMALL,
    UPLOADS,
    VALUES,
    age,
    copy_to,
    die,
    fail_to_take,
    hold_lock,
    instead,
    killed_at,
    ledger,
    nothing_left,
    prepare,
    run,
    run_again,
    sets,
    small_disk,
    snapshots,
    sql,
    start,
    take_what_only_a_drill_sees,
)


def trial_a_dump_that_fails_after_its_last_byte() -> None:
    fail_to_take('REAL "$@"; echo lost >&2; exit 1', "pg_dump ended with exit code 1: lost")


def trial_a_dump_that_is_killed_half_way() -> None:
    fail_to_take('REAL "$@" | head -c 9000; kill -9 $$', "pg_dump ended with exit code -9")


def trial_a_dump_that_says_nothing_and_ends_well() -> None:
    fail_to_take("exit 0", "not a dump")


def trial_a_dump_that_stalls() -> None:
    fail_to_take("printf PGDMP; sleep 60", "sent nothing for 3 s", BACKUP_STALL="3")


def trial_a_dump_that_is_too_small() -> None:
    fail_to_take('REAL "$@" | head -c 100', "fewer than the floor of 512")


def trial_a_dump_through_a_pipe_that_hides_its_end() -> None:
    fail_to_take("REAL nosuchdb | gzip", "not a dump")


def trial_a_server_of_another_major_version() -> None:
    with instead("pg_dump", 'echo "pg_dump (PostgreSQL) 14.9"'):
        run("run", "db").failed(1, r"the server is Postgres 15.*, the backup image has pg_dump \(PostgreSQL\) 14.9")
    nothing_left()


def trial_a_dump_without_its_last_byte() -> None:
    take_what_only_a_drill_sees('REAL "$@" | head -c -1', "pg_restore ended with exit code 1")


def trial_a_dump_whose_line_ends_a_terminal_has_changed() -> None:
    take_what_only_a_drill_sees("""REAL "$@" | sed 's/$/\\r/'""", "")


def trial_a_dump_that_is_half_empty() -> None:
    take_what_only_a_drill_sees('exec REAL --exclude-table-data=a "$@"', "table public.a has 0 rows instead of 500")


def trial_a_pipe_that_loses_bytes() -> None:
    """The snapshot that it made has no manifest: it is no set, and the next run removes it."""
    with instead("restic", 'case "$*" in *flotteq.dump*) head -c -10 | REAL "$@" ;; *) exec REAL "$@" ;; esac'):
        run("run", "db").failed(1, r"restic stored \d+ bytes of \d+")
    assert len(sets()) == 1
    assert "removed 1 snapshots of a backup that did not end" in run_again()
    nothing_left(4)


def trial_a_store_that_is_killed() -> None:
    with instead("restic", 'case "$*" in *flotteq.dump*) head -c 5000 >/dev/null; kill -9 $$ ;; esac\nexec REAL "$@"'):
        run("run", "db").failed(1, "restic ended with exit code -9")
    nothing_left()


def trial_a_lock_of_a_store_that_died() -> None:
    hold_lock(BACKUPS / "restic").kill()
    assert list((BACKUPS / "restic/locks").iterdir())
    run_again()
    nothing_left(4)


def trial_a_repository_that_fills_up() -> None:
    with small_disk(8) as make_room:
        run("run", "db", PGDATABASE="large").failed(1, "no space left on device")
        assert len(sets()) == 1
        make_room()
        run("run", "db", PGDATABASE="large").ok()
        nothing_left(4)


def trial_a_full_disk_at_retention() -> None:
    run_again()
    age(sets()[0])
    with small_disk(0) as make_room:
        run("prune", "--many").failed(1, "no space left on device")
        assert len(snapshots()) == 4
        assert "removed" not in [one["event"] for one in ledger()]
        make_room()
        assert len(run("prune", "--many").ok()["remove"]) == 1
        nothing_left()


def trial_a_copy_whose_disk_is_full() -> None:
    large = run("run", "db", PGDATABASE="large").ok()["id"]
    ballast, away = SMALL / "ballast", SMALL / "away"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(SMALL).free - (8 << 20)))
    run(*copy_to(away)).failed(1, "the copy away failed: .*no space left on device")
    assert "copied" not in [one["event"] for one in ledger()]
    ballast.unlink()
    assert large in run(*copy_to(away)).ok()["copied"]["away"]
    shutil.rmtree(away)
    nothing_left(4)


def trial_a_copy_that_somebody_has_locked() -> None:
    away = Path("/bench/locked")
    run(*copy_to(away)).ok()
    run_again()
    holder = hold_lock(away)
    with instead("restic", 'exec REAL "${@/#10m/1s}"'):
        run(*copy_to(away)).failed(1, "the copy away failed: restic ended with exit code 11.*lock")
    holder.kill()
    holder.wait()
    # Of a store that died on this very machine restic knows that it did.
    assert run(*copy_to(away)).ok()["copied"]["away"]
    shutil.rmtree(away)


def trial_a_repository_that_is_gone() -> None:
    (BACKUPS / "restic").rename(BACKUPS / "elsewhere")
    for words in (["run", "db"], ["run", "--quick", "db"], ["verify"], ["prune"], ["drill"]):
        run(*words).failed(1, "the repository is gone: there is none in restic/ beside the ledger of 1 sets")
    assert not (BACKUPS / "restic").exists()
    assert [one["event"] for one in ledger()] == ["set"]
    (BACKUPS / "elsewhere").rename(BACKUPS / "restic")
    run("verify").ok()


def trial_a_set_of_another_environment() -> None:
    run("verify", sets()[0], BACKUP_NAME="fleet-staging").failed(2, "is one of trial, not of fleet-staging")
    nothing_left()


def trial_a_set_of_another_database() -> None:
    wrong = run("restore-db", sets()[0], "--target", "beside", PGDATABASE="large")
    wrong.failed(2, "is one of the database fleet, not of large")
    assert sql("select count(*) from pg_database where datname = 'beside'") == "0"
    nothing_left()


def trial_a_server_without_an_extension() -> None:
    control = next(Path("/usr/share/postgresql").glob("*/extension/pg_trgm.control"))
    away = control.rename(control.with_suffix(".away"))
    try:
        run("restore-db", sets()[0], "--target", "beside").failed(1, "the server lacks the extensions pg_trgm")
    finally:
        away.rename(control)
    nothing_left()


def trial_a_clock_that_moved_back() -> None:
    run_again()
    age(sets()[0])
    with (BACKUPS / "ledger.jsonl").open("a") as file:
        file.write('{"at": "2099-01-01T00:00:00Z", "event": "verified", "id": "x", "ok": true}\n')
    run("prune", "--many").failed(1, "the clock moved back; nothing is removed")
    nothing_left(4)


def trial_two_at_once() -> None:
    with instead("pg_dump", 'case "$*" in --version) ;; *) touch /bench/busy; sleep 2 ;; esac\nexec REAL "$@"'):
        first = start("run", "db", BACKUP_STALL="60")
        while not Path("/bench/busy").exists():
            time.sleep(0.02)
        run("run", "db").failed(75, "another backup or restore runs")
        first.communicate(timeout=60)
    assert first.returncode == 0
    nothing_left(4)


def trial_a_backup_that_is_killed_while_it_dumps() -> None:
    killed_at("db")


def trial_a_backup_that_is_killed_at_its_manifest() -> None:
    killed_at("manifest")


def trial_a_backup_that_is_terminated_while_it_reads_back() -> None:
    """Manifest and snapshots are there: it is found, and does not count before it was read."""
    die("read back", "run", "db", number=signal.SIGTERM)
    assert run("verify").ok()["id"] == sets()[0]
    assert len(sets()) == 2
    found = next(one for one in ledger() if one["event"] == "set" and one["id"] == sets()[1])
    assert (found["verified"], found["problem"]) == (False, "found in the repository")
    run("verify", found["id"]).ok()
    nothing_left(4)


def trial_a_retention_that_is_killed() -> None:
    run_again()
    age(sets()[0])
    die("remove", "prune", "--many")
    run("prune", "--many").ok()
    nothing_left()
    run("verify", "--data", "100%").ok()


def trial_a_drill_that_is_killed() -> None:
    die("restore beside", "drill")
    run("drill").ok()
    nothing_left()


def trial_a_copy_that_is_killed() -> None:
    away = Path("/bench/killed")
    die("copy to away", *copy_to(away))
    run(*copy_to(away)).ok()
    assert len(snapshots(away)) == 2
    shutil.rmtree(away)
    nothing_left()


_WITHOUT_RIGHTS = "setpriv --bounding-set=-dac_override,-dac_read_search"


def trial_a_file_that_cannot_be_read() -> None:
    """It is named, the set does not count, and latest is the one before it."""
    place = UPLOADS / "private.jpg"
    place.write_text("photo")
    place.chmod(0)
    try:
        with instead("restic", f'exec {_WITHOUT_RIGHTS} REAL "$@"'):
            sentence = "could not be read, the first of 1: /src/uploads/private.jpg"
            run("run", "uploads").failed(5, sentence)
    finally:
        place.unlink()
    assert run("verify").ok()["id"] == sets()[0]
    nothing_left(4)


def trial_a_file_that_vanishes_while_it_is_read() -> None:
    """Unreadable at the first look, gone at the second."""
    place = UPLOADS / "passing.tmp"
    place.write_text("x")
    place.chmod(0)
    script = f'case "$*" in *{UPLOADS}) {_WITHOUT_RIGHTS} REAL "$@"; code=$?; rm -f {place}; exit $code ;; esac'
    with instead("restic", f'{script}\nexec REAL "$@"'):
        assert run("run", "uploads").ok()["verified"] is True
    nothing_left(4)


def trial_files_that_change_while_they_are_read() -> None:
    writer = subprocess.Popen(["sh", "-c", f"while :; do head -c 20000 /dev/urandom >>{UPLOADS}/log; sleep 0.01; done"])
    try:
        taken = run("run", "uploads").ok()["id"]
    finally:
        writer.kill()
        writer.wait()
        (UPLOADS / "log").unlink()
    assert run("drill", taken).ok()["parts"] == ["uploads"]


def trial_files_come_back_with_their_attributes() -> None:
    photo = UPLOADS / "a.jpg"
    os.setxattr(photo, "user.kind", b"photo")
    taken = run("run", "uploads").ok()["id"]
    os.removexattr(photo, "user.kind")
    run("restore-tree", "uploads", taken, "--place", str(UPLOADS)).ok()
    assert os.getxattr(photo, "user.kind") == b"photo"
    shutil.rmtree(UPLOADS / ".flotteq-restore")


def trial_certificates_whose_links_became_files() -> None:
    lineage = CERTS / "live/fleet"
    lineage.mkdir(parents=True)
    for name in ("fullchain.pem", "privkey.pem"):
        (lineage / name).write_text("pem")
    taken = run("run", "certs").ok()["id"]
    run("drill", taken).failed(5, "live/fleet/fullchain.pem is no link into the archive")
    run("restore-tree", "certs", taken, "--place", str(CERTS)).failed(5, "is no link into the archive")
    assert (lineage / "fullchain.pem").read_text() == "pem"
    shutil.rmtree(CERTS / "live")


def trial_an_index_that_does_not_agree_with_its_table() -> None:
    """As after a change of the C library's order: here the function of an index says something else all at once."""
    from flotteq_backup import postgres
    from flotteq_backup.errors import Failed
    from flotteq_backup.settings import Settings

    function = "create or replace function f(int) returns int immutable language sql as 'select $1 {} 1'"
    sql(function.format("+"), "large")
    sql("create table i as select generate_series(1, 50) n", "large")
    sql("create index on i (f(n))", "large")
    sql(function.format("-"), "large")
    try:
        postgres.check_indexes(Settings(user="postgres", server=str(LIVE)), "large", rows=True)
    except Failed as error:
        assert "lacks matching index tuple" in error.details, error.details
    else:
        raise AssertionError("not seen")
    finally:
        sql("drop table i", "large")


def trial_no_change_of_a_value_has_the_same_checksum() -> None:
    """Nor values that change places. The order of rows does not matter, nor did it in sets from before."""
    from flotteq_backup import postgres
    from flotteq_backup.settings import Settings

    sql(VALUES, "large")
    with postgres.Session(Settings(user="postgres", server=str(LIVE)), "large") as session:

        def sums(way: str = postgres.BY_COLUMN, change: str = "") -> list[Any]:
            session.ask(f"begin; {change}")
            found: list[Any] = postgres.contents(session, way)["tables"]["public.v"]
            session.ask("rollback")
            return found

        before = sums()
        turned = "create temp table w as select * from v order by id desc; truncate v; insert into v select * from w"
        assert [change for change in CHANGES if sums(change=f"update v {change}") == before] == []
        assert (sums(change=turned), sums(postgres.BY_TEXT, turned)) == (before, sums(postgres.BY_TEXT))
    sql("drop table v; drop type mood", "large")


def trial_rows_that_are_read_by_pieces_have_the_same_checksum() -> None:
    """Also where a table has grown since its size was asked for, and where it has blocks without a row."""
    from flotteq_backup import postgres
    from flotteq_backup.pace import Pace
    from flotteq_backup.settings import Settings

    sql("create table p as select n, repeat('x', 200) from generate_series(1, 20000) n", "large")
    sql("delete from p where n between 4000 and 12000", "large")
    with postgres.Session(Settings(user="postgres", server=str(LIVE)), "large") as session:
        asked: list[str] = []
        ask = session.ask
        session.ask = lambda statement: asked.append(statement) or ask(statement)  # type: ignore[method-assign, func-returns-value]
        whole = postgres.contents(session)["tables"]
        pieces = postgres.contents(session, postgres.BY_COLUMN, Pace(0.5))["tables"]
        explained = session.ask("explain select 1 from only public.p where ctid >= '(16,0)' and ctid < '(32,0)'")
    sql("drop table p", "large")
    assert (pieces, pieces["public.p"][0]) == (whole, 11_999)
    assert len([one for one in asked if "from only public.p t where ctid" in one]) > 3
    assert "Tid Range Scan" in explained[0], explained


def trial_a_backup_with_pauses_is_restored() -> None:
    taken = run("run", "db", PGDATABASE="large", BACKUP_DUTY="0.25").ok()
    run("verify", taken["id"], BACKUP_DUTY="0.25").ok()
    run("drill", taken["id"], PGDATABASE="large").ok()


def trial_a_database_server_whose_disk_fills_up_during_a_restore() -> None:
    """It is stopped before Postgres cannot write its log any more, which would end it for everybody."""
    taken, started = run("run", "db", PGDATABASE="large").ok()["id"], sql("select pg_postmaster_start_time()")
    ballast = LIVE / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(LIVE).free - (76 << 20)))
    Path("/data").symlink_to(LIVE)
    try:
        # A fast machine is done between two looks at the disk.
        with instead("pg_restore", 'REAL "$@" && sleep 2'):
            full = run("restore-db", taken, "--target", "beside", PGDATABASE="large")
        full.failed(1, r"the database's disk has \d+ MiB left, 64 stay free: the restore was stopped")
        assert "@@step restore beside" in full.said
        assert sql("select count(*) from pg_database where datname = 'beside'") == "0"
        assert sql("select pg_postmaster_start_time()") == started
    finally:
        ballast.unlink()
    run("restore-db", taken, "--target", "beside", PGDATABASE="large").ok()
    sql("drop database beside")
    nothing_left(4)


def main(wanted: list[str]) -> None:
    """Print one line a trial: its name, its seconds, and what was wrong."""
    prepare()
    found = {name: one for name, one in globals().items() if name.startswith("trial_")}
    for name, one in found.items():
        if wanted and name not in wanted:
            continue
        if BACKUPS.exists():
            shutil.rmtree(BACKUPS)
        shutil.copytree(BASE, BACKUPS)
        began, wrong = time.monotonic(), ""
        try:
            one()
        except Exception:  # noqa: BLE001 - whatever it was, the next trial runs
            wrong = traceback.format_exc()
        line = {"name": name, "seconds": round(time.monotonic() - began, 1), "wrong": wrong}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
