"""What trials of the backup program in its own image work with: the program, a repository, a Postgres of their own."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BACKUPS, BASE, BIN, LIVE = Path("/backups"), Path("/base"), Path("/bench/bin"), Path("/live")
UPLOADS, CERTS, SMALL = Path("/src/uploads"), Path("/src/certs"), Path("/small")
ENVIRONMENT = {
    "BACKUP_NAME": "trial", "PGHOST": str(LIVE), "PGUSER": "postgres", "PGDATABASE": "fleet", "BACKUP_STALL": "20",
    "BACKUP_KEEP": "1 0 0 0 0", "PATH": f"{BIN}:{os.environ['PATH']}",
}  # fmt: skip
# What a migration of a real application makes: another owner, an extension, a partition, a sequence, a view.
SCHEMA = """
create role other; create extension pg_trgm;
create table a (id serial primary key, t text); create index on a using gin (t gin_trgm_ops);
insert into a (t) select md5(n::text) from generate_series(1, 500) n;
create table b (id int) partition by range (id); create table b1 partition of b for values from (0) to (1000);
insert into b select generate_series(1, 300);
create materialized view m as select count(*) from a;
alter table a owner to other; grant select on b to other;
"""
# 16 MiB that do not compress.
LARGE = "create table c as select gen_random_bytes(1024) from generate_series(1, 16384)"


# A table with what a type may make of the same value, and changes of which each has to be seen.
VALUES = """
create type mood as enum ('calm', 'busy');
create table v (id int, n numeric, big bigint, f float8, t text, c char(4), d jsonb, j json, b bytea, m mood, a int[]);
insert into v values (1, 1.0, 1, 0.0, 'x', 'a', '{"k": 1.0}', '{"k": 1}', '\\x00', 'calm', '{1}'),
  (2, 2.0, 2, 1.5, 'y', 'b', '{"k": 2}', '{"k": 2}', '\\x01', 'busy', '{2}');
insert into v (id) values (3);
"""
CHANGES = (
    "set n = 1.00 where id = 1", "set big = 0 where id = 1", "set f = '-0' where id = 1", "set t = 'X' where id = 1",
    "set t = '' where id = 3", "set a = '{}' where id = 3", """set d = '{"k": 1.00}' where id = 1""",
    """set j = '{"k":1}' where id = 1""", "set b = '\\x0000' where id = 1", "set m = 'busy' where id = 1",
    "set t = c, c = t where id < 3", "set n = 3 - n where id < 3",
    "set big = 3 - big where id < 3", "set t = case id when 1 then 'y' else 'x' end where id < 3",
)  # fmt: skip


# A repository's key costs whoever opens it half a second, as measured when it is made: on a slow machine it is cheap.
CHEAP_KEY = """
case "$*" in *init*) ;; *) exec REAL "$@" ;; esac
REAL "$@" & pid=$!
while kill -0 $pid 2>/dev/null; do kill -STOP $pid; sleep 0.2; kill -CONT $pid; sleep 0.01; done
wait $pid
"""


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended."""

    code: int
    result: dict[str, Any]
    said: str

    def failed(self, code: int, sentence: str) -> "Ended":
        """It must have ended so, and said so."""
        assert self.code == code, self
        assert re.search(sentence, self.result["message"]), self
        return self

    def ok(self) -> dict[str, Any]:
        """It must have ended well; its result."""
        assert self.code == 0, self
        return self.result


def start(*words: str, **variables: str) -> "subprocess.Popen[str]":
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, "-m", "flotteq_backup", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **ENVIRONMENT, **variables},
    )  # fmt: skip


def run(*words: str, **variables: str) -> Ended:
    """Run the program to its end."""
    process = start(*words, **variables)
    out, err = process.communicate(timeout=90)
    return Ended(process.returncode, json.loads(out.splitlines()[-1].partition(" ")[2]) if out else {}, err)


def ledger() -> list[dict[str, Any]]:
    """What the program remembers."""
    return [json.loads(line) for line in (BACKUPS / "ledger.jsonl").read_text().splitlines()]


def sets() -> list[str]:
    """Ids of the sets that the program knows."""
    return [one["id"] for one in ledger() if one["event"] == "set"]


def snapshots(place: Path = BACKUPS / "restic") -> list[dict[str, Any]]:
    """What is in a repository; a lock that somebody left does not matter."""
    words = ["restic", "--repo", str(place), "--password-file", "/run/secrets/restic_password", "--no-lock"]
    found = subprocess.run([*words, "snapshots", "--json"], capture_output=True, text=True, check=True, timeout=60)
    listed: list[dict[str, Any]] = json.loads(found.stdout)
    return listed


def nothing_left(count: int = 2) -> None:
    """No part of a set, no lock, no dump, no server, no program."""
    assert len(snapshots()) == count, snapshots()
    assert list((BACKUPS / "restic/locks").iterdir()) == []
    for place in (BACKUPS / "scratch", Path("/drill/now")):
        assert not place.exists() or list(place.iterdir()) == []
    assert not programs(), programs()


def programs() -> dict[int, str]:
    """Programs of a run that go on, and the server of a drill: process and name."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, words = (place / "comm").read_text().strip(), (place / "cmdline").read_bytes()
            # Of a process that has ended and was not waited for, no words are left.
            if words and (name in ("pg_dump", "pg_restore", "restic") or b"/drill/now/data" in words):
                found[int(place.name)] = name
    return found


@contextmanager
def instead(name: str, text: str) -> Iterator[None]:
    """Put a script in the place of a program; ``REAL`` in it is the program."""
    real = shutil.which(name, path=os.environ["PATH"])
    path = BIN / name
    path.write_text("#!/bin/bash\n" + text.replace("REAL", str(real)))
    path.chmod(0o755)
    try:
        yield
    finally:
        path.unlink()


def sql(statement: str, database: str = "fleet") -> str:
    """Ask the live server."""
    words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(LIVE), "-U", "postgres", database, "-c", statement]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def run_again() -> str:
    """The next run must end well; what it said."""
    ended = run("run", "db")
    ended.ok()
    return ended.said


def hold_lock(place: Path) -> "subprocess.Popen[bytes]":
    """A store that stands still with its exclusive lock."""
    words = ["restic", "--repo", str(place), "--password-file", "/run/secrets/restic_password", "--quiet", "prune"]
    for _ in range(20):
        process = subprocess.Popen(words)
        while process.poll() is None and not _locks(place):
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        # It may have been done before it stood still.
        if process.poll() is None and _locks(place):
            return process
        process.kill()
        process.wait()
    raise AssertionError("no store was caught with its lock")


def _locks(place: Path) -> list[Path]:
    """Locks; one is written under another name first."""
    return [one for one in (place / "locks").iterdir() if "tmp" not in one.name]


@contextmanager
def small_disk(free: int) -> Iterator[Callable[[], None]]:
    """All of the backups on a disk with so many MiB left; what it yields makes room."""
    shutil.rmtree(SMALL / "backups", ignore_errors=True)
    shutil.move(BACKUPS, SMALL / "backups")
    BACKUPS.symlink_to(SMALL / "backups")
    ballast = SMALL / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(SMALL).free - (free << 20)))
    try:
        yield ballast.unlink
    finally:
        ballast.unlink(missing_ok=True)
        BACKUPS.unlink()
        shutil.rmtree(SMALL / "backups")


def age(name: str) -> None:
    """Tell the ledger that a set was taken long ago."""
    path = BACKUPS / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    old = [re.sub('"created": "[^T]*T', '"created": "2019-01-01T', line) if name in line else line for line in lines]
    path.write_text("".join(old))


def copy_to(place: Path) -> list[str]:
    return ["copy", "--to", json.dumps({"name": "away", "repository": str(place)})]


def die(step: str, *words: str, number: signal.Signals = signal.SIGKILL, **variables: str) -> None:
    """The container ends in the middle of a step."""
    process = start(*words, **variables)
    assert process.stderr and process.stdout
    said = []
    for line in process.stderr:
        said.append(line)
        if line == f"@@step {step}\n":
            break
    else:
        raise AssertionError(f"there was no step {step}: {''.join(said)}{process.stdout.read()}")
    process.send_signal(number)
    process.wait(20)
    while left := programs():
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(0.05)


def fail_to_take(text: str, sentence: str, **variables: str) -> None:
    """A dump that goes wrong is no set; monitoring is told."""
    with instead("pg_dump", f'case "$*" in --version) exec REAL "$@" ;; esac\n{text}'):
        run("run", "db", **variables).failed(1, sentence)
    nothing_left()
    assert len(sets()) == 1
    metric = 'flotteq_backup_job_exit_code{stack="trial",job="run"} 1'
    assert metric in Path("/metrics/trial-backup-run.prom").read_text()


def take_what_only_a_drill_sees(text: str, sentence: str) -> None:
    """The program that dumps lies about its end: whoever restores the set finds out."""
    with instead("pg_dump", f'case "$*" in --version) exec REAL "$@" ;; esac\n{text}'):
        taken = run("run", "db").ok()["id"]
    run("drill", taken).failed(5, f"set {taken} could not be restored: .*{sentence}")
    assert ledger()[-1]["ok"] is False
    nothing_left(4)


def killed_at(step: str, number: signal.Signals = signal.SIGKILL) -> None:
    die(step, "run", "db", number=number)
    seen = len(sets())
    assert seen <= 2
    run_again()
    assert len(sets()) == seen + 1
    nothing_left(2 * len({*sets()}))


def prepare() -> None:
    """A live server, and a repository with one good set."""
    for place in (BIN, UPLOADS, CERTS, Path("/run/secrets"), Path("/metrics"), Path("/drill")):
        place.mkdir(parents=True)
    for name in ("db_password", "restic_password"):
        Path("/run/secrets", name).write_text("a key")
    Path("/run/copies").symlink_to("/run/secrets")
    (UPLOADS / "a.jpg").write_text("photo")
    owner = pwd.getpwnam("postgres")
    os.chown(LIVE, owner.pw_uid, owner.pw_gid)
    as_owner: dict[str, Any] = {"user": owner.pw_uid, "group": owner.pw_gid, "stdout": subprocess.DEVNULL}
    data = LIVE / "data"
    subprocess.run(["initdb", f"--pgdata={data}", "--auth=trust", "--encoding=UTF8", "-N"], check=True, **as_owner)
    options = ["listen_addresses=", f"unix_socket_directories={LIVE}", "fsync=off", "dynamic_shared_memory_type=mmap"]
    words = ["postgres", "-D", str(data), *(word for one in options for word in ("-c", one))]
    subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True, **as_owner)
    while subprocess.run(["pg_isready", "-q", "-h", str(LIVE)], check=False).returncode != 0:
        time.sleep(0.05)
    for name in ("fleet", "large"):
        sql(f"create database {name}", "postgres")
    sql(SCHEMA)
    sql("create extension pgcrypto", "large")
    sql(LARGE, "large")
    with instead("restic", CHEAP_KEY):
        run("run", "db").ok()
    BACKUPS.rename(BASE)
