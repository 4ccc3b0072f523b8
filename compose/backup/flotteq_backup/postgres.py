"""The database: an exported snapshot, what is in it, and a restored one beside the live one."""

import json
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flotteq_backup import process
from flotteq_backup.errors import Failed
from flotteq_backup.pace import BURST, FULL, Pace
from flotteq_backup.settings import Settings

# Of a session that fills a database which nobody uses yet: what a crash takes from it is restored again.
FILLING = {"PGOPTIONS": "-c synchronous_commit=off -c maintenance_work_mem=128MB"}
# Of what psql says beside its answers so many lines are kept, and a longer one is cut: notices come by the million.
_SAID, _LINE = 50, 1 << 12
# Blocks.
_PIECE = 16
# The same value must give the same text in every session.
_STEADY = (
    "set timezone='UTC'; set datestyle='ISO'; set intervalstyle='postgres'; set bytea_output='hex'; "
    "set extra_float_digits=3; set statement_timeout=0; set lock_timeout='60s';"
)
# Name, columns, and blocks where rows can be read by their place: before Postgres 14 each piece would be a whole scan.
# Types whose hash is that of their value's bytes. The others are hashed as text: two numerics are equal with other
# zeros at their ends, and an enum is hashed by a number that its type has in one database only.
_TABLES = """
select coalesce(json_agg(json_build_array(format('%I.%I', n.nspname, c.relname), (
  select coalesce(string_agg(format(case
    when a.atttypid = any('{bool,int2,int4,int8,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[])
    then 't.%I' else 't.%I::text collate "C"' end, a.attname), ', ' order by a.attnum), '')
  from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), case
    when current_setting('server_version_num')::int >= 140000
    and c.relam = (select oid from pg_am where amname = 'heap')
    then coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int else 0 end
) order by n.nspname, c.relname), '[]') from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname not in ('pg_catalog', 'information_schema')
and n.nspname not like 'pg_toast%' and n.nspname not like 'pg_temp%'
and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype = 'e')
"""
# How the rows of a set are hashed; its manifest says it. A manifest that does not is from before there were two ways.
BY_TEXT, BY_COLUMN, BY_QUALIFIED = "text", "column", "qualified"
_HASHES = {
    # Postgres quotes what is in a row as it writes the row's text: that takes longer than all the rest. And of a table
    # that has a column "t" this is that column alone; it stays as it was for the sets that were taken so.
    BY_TEXT: "hashtextextended(t::text, 0)",
    # A row's hash adds up those of its columns: the sum over the rows would not see two values that changed places.
    BY_COLUMN: "hashtextextended(hash_record_extended(row(COLUMNS), 0)::text, 0)",
}
# The same, and names of relations and functions (regclass, regproc) have their schema whatever ALTER DATABASE has made
# the search path of the live database: a restored one is compared before it gets that.
_HASHES[BY_QUALIFIED] = _HASHES[BY_COLUMN]
# A sum of 64-bit hashes does not depend on the order of rows; the number of rows stands beside it.
_CONTENT = "select json_build_array(count(*), coalesce(sum({}), 0)::text) from only {} t"
_FACTS = """
select json_build_object(
  'server', current_setting('server_version'),
  'encoding', (select pg_encoding_to_char(encoding) from pg_database where datname = current_database()),
  'collate', (select datcollate from pg_database where datname = current_database()),
  'ctype', (select datctype from pg_database where datname = current_database()),
  'extensions', (select coalesce(json_object_agg(extname, extversion), '{}') from pg_extension),
  'owners', (select coalesce(json_agg(distinct pg_get_userbyid(relowner)), '[]') from pg_class c
             join pg_namespace n on n.oid = c.relnamespace
             where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'),
  'sequences', (select coalesce(json_object_agg(format('%I.%I', schemaname, sequencename), last_value), '{}')
                from pg_sequences),
  'turning', (select coalesce(json_agg(format('%I.%I', schemaname, sequencename)), '[]')
              from pg_sequences where increment_by < 0 or cycle),
  'relations', (select coalesce(json_object_agg(kind, number), '{}') from (
                select relkind::text kind, count(*) number from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'
                and n.nspname not like 'pg_temp%' group by 1) counted),
  'size', pg_database_size(current_database()))"""


class Session:
    """One psql that keeps its transaction open while statements are sent to it.

    Args:
        limit: seconds for each answer.
    """

    def __init__(self, settings: Settings, database: str, *, limit: float = 3600) -> None:
        words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-w", "-h", settings.server, "-U", settings.user, database]
        self._psql = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        self._limit = limit
        self._said: deque[str] = deque(maxlen=_SAID)
        # A pipe that nobody reads is full after 64 KiB: psql would wait until the limit.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.ask(_STEADY)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        process.kill(self._psql)  # type: ignore[arg-type]

    def ask(self, statement: str) -> list[str]:
        """Run statements; return the lines of their results.

        Raises:
            Failed: Postgres refused one, is gone, or did not answer in time.
        """
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill(self._psql)  # type: ignore[arg-type]

        clock = threading.Timer(self._limit, end)
        clock.daemon = True
        clock.start()
        try:
            return self._ask(statement)
        except Failed:
            if late.is_set():
                raise Failed(f"Postgres did not answer within {self._limit:g} s") from None
            raise
        finally:
            clock.cancel()

    def _ask(self, statement: str) -> list[str]:
        assert self._psql.stdin and self._psql.stdout  # noqa: S101
        try:
            self._psql.stdin.write(f"{statement};\n\\echo @@\n")
            self._psql.stdin.flush()
        except BrokenPipeError:
            raise self._broken() from None
        lines: list[str] = []
        for line in self._psql.stdout:
            if line == "@@\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise self._broken()

    def _listen(self) -> None:
        assert self._psql.stderr  # noqa: S101
        while line := self._psql.stderr.readline(_LINE):
            self._said.append(line.rstrip("\n"))

    def _broken(self) -> Failed:
        code = self._psql.wait(10)
        self._listener.join(10)
        return process.failed("psql", code, "\n".join(self._said))


def contents(session: Session, hashed: str = BY_QUALIFIED, pace: Pace = FULL) -> dict[str, Any]:
    """Rows and checksum of every table, and what else must be the same after a restore.

    Args:
        hashed: how rows are hashed: as those were that these are compared with.
        pace: with which pauses the server works.
    """
    if hashed == BY_QUALIFIED:
        session.ask("set search_path=pg_catalog")
    facts: dict[str, Any] = json.loads("".join(session.ask(_FACTS)))
    facts["hashed"] = hashed
    facts["tables"] = {}
    for table, columns, blocks in json.loads("".join(session.ask(_TABLES))):
        statement = _CONTENT.format(_HASHES[hashed].replace("COLUMNS", columns), table)
        whole = pace.full or not blocks
        facts["tables"][table] = _content(session, statement) if whole else _by_pieces(session, statement, blocks, pace)
    return facts


def _content(session: Session, statement: str) -> list[Any]:
    found: list[Any] = json.loads(session.ask(statement)[0])
    return found


def _by_pieces(session: Session, statement: str, blocks: int, pace: Pace) -> list[Any]:
    """The same in pieces of about a burst."""
    rows = total = begin = 0
    size = _PIECE
    while True:
        end, started = begin + size, time.monotonic()
        # The last has no end: whatever became of the table meanwhile, each row is in one piece.
        until = f" and ctid < '({end},0)'" if end < blocks else ""
        found = _content(session, f"{statement} where ctid >= '({begin},0)'{until}")
        took = time.monotonic() - started
        rows, total = rows + found[0], total + int(found[1])
        if end >= blocks:
            return [rows, str(total)]
        begin, size = end, max(_PIECE, min(2 * size, int(size * BURST / took)))
        pace.rest(took)


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What of a manifest a restored database does not have, in words."""
    wrong = []
    for name in sorted({*wanted["tables"], *found["tables"]}):
        before, after = wanted["tables"].get(name), found["tables"].get(name)
        if before is None or after is None:
            wrong.append(f"table {name} is {'missing' if after is None else 'not in the manifest'}")
        elif before[0] != after[0]:
            wrong.append(f"table {name} has {after[0]} rows instead of {before[0]}")
        elif before != after:
            wrong.append(f"table {name} has other contents")
    # A dump says "create extension" without a version: it gets the one of the image, see ``moved_extensions``.
    before, after = set(wanted["extensions"]), set(found["extensions"])
    if before != after:
        wrong.append(f"extensions: {', '.join(sorted(after))} instead of {', '.join(sorted(before))}")
    alike = ("encoding", "collate", "ctype", "relations")
    wrong += [f"{kind}: {found[kind]} instead of {wanted[kind]}" for kind in alike if wanted[kind] != found[kind]]
    for name, last in wanted["sequences"].items():
        now = found["sequences"].get(name)
        # Sequences obey no snapshot: while the dump was made they may have gone on, some of them downwards.
        back = now is None or (now < last and name not in found.get("turning", ())) if last is not None else False
        if name not in found["sequences"] or back:
            wrong.append(f"sequence {name} stands at {now} instead of {last}")
    return wrong


def moved_extensions(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Which extensions have another version than when the set was taken; empty: none."""
    versions = found["extensions"]
    return ", ".join(
        f"{name} {versions[name]} instead of {version}"
        for name, version in sorted(wanted["extensions"].items())
        if versions.get(name, version) != version
    )


def dump_words(settings: Settings, snapshot: str) -> list[str]:
    """The dump of an exported snapshot; uncompressed, because the store compresses what is new only."""
    return [
        "pg_dump", "--format=custom", "--compress=0", f"--snapshot={snapshot}", "--no-password",
        "--lock-wait-timeout=60s", "--host", settings.server, "--username", settings.user, settings.database,
    ]  # fmt: skip


def require_same_major(session: Session) -> str:
    """The server's version; the client must be of its major version.

    Raises:
        Failed: it is older or newer.
    """
    server = session.ask("show server_version")[0]
    client = process.run(["pg_dump", "--version"])
    majors = [re.search(r"(\d+)", text) for text in (server, client.partition(")")[2])]
    if not all(majors) or majors[0][1] != majors[1][1]:  # type: ignore[index]
        raise Failed(
            f"the server is Postgres {server}, the backup image has {client.strip()}",
            hint="build and deploy a version: the image takes its client from services.postgres.image",
        )
    return server


def create(session: Session, name: str, facts: Mapping[str, Any], owner: str) -> None:
    """Make an empty database like the one that was dumped."""
    session.ask(
        f"create database {ident(name)} with template template0 owner {ident(owner)} encoding {text(facts['encoding'])}"
        f" lc_collate {text(facts['collate'])} lc_ctype {text(facts['ctype'])}"
    )


def restore_words(settings: Settings, database: str, dump: Path | None, *, whole: bool = False) -> list[str]:
    """Fill a database from a dump, or from standard input; the first error ends it.

    Only of a file several parts can be read at once.

    Args:
        whole: in one transaction. Where ``wal_level`` is minimal, Postgres does not log what one that made a table
            puts into it. It holds a lock on each table and index: 40,000 in the server of a drill.
    """
    return [
        "pg_restore", "--exit-on-error", "--no-owner", "--no-acl", f"--role={settings.user}", "--no-password",
        "--host", settings.server, "--username", settings.user, "--dbname", database,
        *(["--single-transaction"] if whole else []), *([f"--jobs={settings.jobs}", str(dump)] if dump else []),
    ]  # fmt: skip


def check_indexes(settings: Settings, database: str, *, rows: bool = False) -> str:
    """Let pg_amcheck look through every table and index; a note.

    Args:
        rows: also whether each row stands in each index. It takes three times as long as all the rest, and somebody
            who waits for a restore has indexes that were built from these rows a moment ago: the drill does it.

    Raises:
        Failed: it found a corruption.
    """
    words = [
        "pg_amcheck", "--install-missing", *(["--heapallindexed"] if rows else []), "--jobs=2", "--no-password",
        "--host", settings.server, "--username", settings.user, "--database", database,
    ]  # fmt: skip
    process.run(words, limit=3600)
    with Session(settings, database) as session:
        session.ask("drop extension if exists amcheck")
    return f"tables and indexes are sound{', all rows are in the indexes' if rows else ''}"


def ident(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"
