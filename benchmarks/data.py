"""Backups of a large database and of many files beside the old way, pg_dump alone and restic alone.

    .venv/bin/python benchmarks/data.py --gigabytes 3     # needs the sandbox: README.md here

Fills the sandbox's database and uploads, measures, and removes what it filled in. All ways run on the same cores of
the sandbox host, one after the other; the store's time is the container's own, as its steps say it.
"""

import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from ground import RAISED, Call, Ground, arguments, ground, say, table
from outside import Pace

from flotteq_tasks.commands import postgres
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.operations.context import Site

LIMIT = 3600
RATE, IDLE = 50, 60
# The measurements compare ways on the same cores; what a backup may take of a real host is a setting.
SAME_CORES = {
    "FLOTTEQ__SERVICES__BACKUP__CPUS": "2",
    "FLOTTEQ__SERVICES__BACKUP__MEMORY": "1g",
    "FLOTTEQ__BACKUP__WORKERS": "2",
    "FLOTTEQ__BACKUP__DUTY": "1",
}
PLACE = "bench"
# What the container does for a restore.
PARTS = ("restore beside", "compare with the manifest", "check the indexes")
MEBIBYTE = 1 << 20

# About a third of a gigabyte a unit: rows that compress well, rows like an application's, bytes that do not compress.
_FILL = """
create schema bench;
create table bench.accounts as
  select i as aid, i % 100 as bid, 0 as balance, repeat(' ', 84) as filler from generate_series(1, {units} * 1500000) i;
create table bench.events as
  select i as id, now() - i * interval '1 second' as at,
    jsonb_build_object('vehicle', i % 5000, 'speed', (random() * 130)::int, 'lat', 48 + random(), 'lon', 2 + random(),
      'driver', md5((i % 700)::text), 'state', (array['moving', 'idle', 'off'])[1 + i % 3]) as body
  from generate_series(1, {units} * 500000) i;
create table bench.documents as
  select i as id, decode(string_agg(md5(random()::text), ''), 'hex') as content
  from generate_series(1, {units} * 1250) i, generate_series(1, 1400) g group by i;
alter table bench.accounts add primary key (aid);
alter table bench.events add primary key (id);
alter table bench.documents add primary key (id);
analyze;
checkpoint;
"""
_CHANGE = """
insert into bench.events select (select max(id) from bench.events) + g, now(),
  jsonb_build_object('vehicle', g, 'speed', (random() * 130)::int, 'driver', md5(random()::text))
  from generate_series(1, 50000) g;
update bench.events set body = body || '{"seen": true}' where id in (select (random() * 100000)::int from
  generate_series(1, 1000));
checkpoint;
"""

_TIMED = """
now() { date +%s%3N; }
began=$(now)
$WORK
echo "seconds $(($(now) - began))"
"""

# Sizes of photographs, documents and thumbnails, in the numbers of a fleet's uploads.
_UPLOADS = """
root=$1 files=$2
mkdir -p "$root"
cd "$root"
i=0
while [ "$i" -lt "$files" ]; do
  d=$((i / 500)); mkdir -p "$d"
  case $((i % 10)) in 0) kib=560 ;; *) kib=16 ;; esac
  head -c "${kib}k" /dev/urandom >"$d/$i.bin"
  i=$((i + 1))
done
"""


def timed(site: Site, work: str, *words: str) -> float:
    """Seconds of a piece of shell on the host, as its own clock says."""
    return _clocked(site, script(_TIMED.replace("$WORK", work), *words))


def _clocked(site: Site, command: Command) -> float:
    [line] = [one for one in site.host.run(command, timeout=LIMIT).out.splitlines() if one.startswith("seconds ")]
    return int(line.split()[1]) / 1000


def inside(site: Site, work: str) -> float:
    """The same in the backup's container: its mounts, its secrets, its programs."""
    text = (
        'export PGPASSWORD="$(cat /run/secrets/db_password)" RESTIC_PASSWORD_FILE=/run/secrets/restic_password\n'
        f"export RESTIC_REPOSITORY=/backups/{PLACE}/raw RESTIC_CACHE_DIR=/backups/{PLACE}/cache\n"
        + _TIMED.replace("$WORK", work)
    )
    return _clocked(site, site.engine.containers.run("backup", ["-euc", text], name="bench-backup", entrypoint="sh"))


def sql(site: Site, text: str) -> None:
    """Statements in the sandbox's database."""
    site.host.run(postgres.psql(site.engine.containers, site.settings.database), stdin=text.encode(), timeout=LIMIT)


def steps(call: Call) -> dict[str, float]:
    """Seconds of each step that a call of ``inv`` reported."""
    return {name: float(seconds) for name, seconds in re.findall(r"^✓ (.+?)  ([\d.]+) s", call.err, re.M)}


def parts(call: Call) -> tuple[float, int]:
    """Of ``inv backup.*``: seconds of the store itself, and bytes that it grew by."""
    stored = re.search(r"stored in ([\d.]+) s", call.err)
    added = re.search(r"; ([\d.,]+) ([KMG]i)?B new", call.out)
    if not stored or not added:
        raise SystemExit(f"the answer of {' '.join(call.words)} has changed:\n{call.out}{call.err}")
    factor = {None: 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[added[2]]
    return float(stored[1]), round(float(added[1].replace(",", "")) * factor)


@contextmanager
def filled(site: Site, units: int, files: int) -> Iterator[None]:
    """The database and the uploads with the bench's data, until the end of the block."""
    uploads = f"{_volume(site, 'uploads_data')}/{PLACE}"
    place = f"{site.settings.project.backups}/{PLACE}"
    try:
        sql(site, _FILL.format(units=units))
        site.host.run(script(_UPLOADS, uploads, files), timeout=LIMIT)
        site.host.run(Command("mkdir", "-p", place))
        yield
    finally:
        sql(site, "drop schema if exists bench cascade; drop database if exists bench_plain;")
        site.host.run(Command("rm", "-rf", uploads, place), timeout=LIMIT)


def _volume(site: Site, name: str) -> str:
    full = f"{site.settings.project.name}_{name}"
    return site.host.run(Command("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", full)).out.strip()


def database(stand: Ground, site: Site, found: dict[str, list[float]]) -> None:
    """One round: the old way, pg_dump's own format, restic alone, ours twice and after changes."""
    spec, place = site.settings.database, f"{site.settings.project.backups}/{PLACE}"
    dump = site.engine.containers.exec(spec.service, ["pg_dump", "-U", spec.user, "-d", spec.name])
    custom = site.engine.containers.exec(spec.service, ["pg_dump", "-Fc", "-U", spec.user, "-d", spec.name])
    found["old"].append(timed(site, f'{dump.render()} | gzip >"$1/old.gz"; sync', place))
    found["custom"].append(timed(site, f'{custom.render()} >"$1/custom.dump"; sync', place))
    site.host.run(Command("rm", "-rf", f"{place}/raw", f"{place}/cache"))
    raw = f"pg_dump -h {spec.service} -U {spec.user} -d {spec.name} -Fc -Z0 | restic -q backup --stdin; sync"
    found["raw"].append(inside(site, f"restic -q init\n{raw}"))
    found["raw again"].append(inside(site, raw))
    for name in ("first", "second"):
        call = stand.inv("backup.db", limit=LIMIT)
        found[name].append(parts(call)[0])
        found[f"{name} whole"].append(sum(steps(call).values()))
        found["memory"].append(call.memory / MEBIBYTE)
    sql(site, _CHANGE)
    found["changed added"].append(parts(stand.inv("backup.db", limit=LIMIT))[1])
    found["dump"].append(_size(site, custom))


def _size(site: Site, custom: Command) -> float:
    plain = custom.render().replace("-Fc", "-Fc -Z0")
    return float(site.host.run(script(f"{plain} | wc -c"), timeout=LIMIT).out.strip())


def restores(stand: Ground, site: Site, found: dict[str, list[float]]) -> None:
    """The restore until its swap beside pg_restore alone; the drill."""
    spec = site.settings.database
    sql(site, "drop database if exists bench_plain; create database bench_plain;")
    words = f"pg_restore -h {spec.service} -U {spec.user} -j 2 -d bench_plain /backups/{PLACE}/custom.dump"
    found["pg_restore"].append(inside(site, words))
    sql(site, "drop database bench_plain;")
    said = steps(stand.inv("restore.db", "--yes", "--skip-backup", limit=LIMIT))
    found["restore"].append(said["room"] + said["restore"])
    for name in PARTS:
        found[name].append(said[name])
    found["swap"].append(said["swap"])
    stand.inv("restore.finalize", "--yes", limit=LIMIT)
    found["drill"].append(sum(steps(stand.inv("backup.drill", limit=LIMIT)).values()))


def uploads(stand: Ground, site: Site, found: dict[str, list[float]]) -> None:
    """Files: tar and gzip beside ours, the first time, the second, and with new files."""
    volume, place = _volume(site, "uploads_data"), f"{site.settings.project.backups}/{PLACE}"
    found["tar"].append(timed(site, 'tar -C "$2" -c . | gzip >"$1/old.tar.gz"; sync', place, volume))
    for name in ("files first", "files second"):
        seconds, _ = parts(stand.inv("backup.uploads", limit=LIMIT))
        found[name].append(seconds)
    new = 24 << 20
    site.host.run(script('head -c "$2" /dev/urandom >"$1/new.bin"', f"{volume}/{PLACE}", new))
    found["files added"].append(parts(stand.inv("backup.uploads", limit=LIMIT))[1] / new)


def latency(stand: Ground, found: dict[str, list[float]]) -> None:
    """The application's answers at a steady rate: alone, and during a backup with the limits of flotteq.toml."""
    service = next(name for name in stand.settings.public if stand.settings.services[name].vhost == "api")
    with Pace(stand, service, rate=RATE) as idle:
        time.sleep(IDLE)
    with Pace(stand, service, rate=RATE) as busy:
        found["paced"].append(sum(steps(stand.inv("backup.db", limit=LIMIT)).values()))
    found["p99 idle"].append(idle.slowest(0.99) * 1000)
    found["p99 busy"].append(busy.slowest(0.99) * 1000)


def main() -> None:
    """Fill, measure in rounds, print, take away."""
    parser = arguments(__doc__)
    parser.add_argument("--gigabytes", type=float, default=3, help="about the size of the database")
    parser.add_argument("--files", type=int, default=24_000, help="number of uploads, 70 KiB in the mean")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    usual = ground(options).given(RAISED)
    stand = usual.given(SAME_CORES)
    found: defaultdict[str, list[float]] = defaultdict(list)
    live = ("deploy", "--version", stand.live(), "--skip-backup", "--soak", "0")
    with stand.site() as site, filled(site, max(1, round(options.gigabytes * 3)), options.files):
        for turn in range(1, options.rounds + 1):
            stand.inv(*live)
            for measure in (database, restores, uploads):
                measure(stand, site, found)
            usual.inv(*live)
            latency(usual, found)
            figures = (f"{name} {values[-1]:.1f}" for name, values in found.items())
            say(f"{turn}/{options.rounds}  {', '.join(figures)}")
    of = {name: statistics.median(values) for name, values in found.items()}
    print(table(*rows(of)))


def rows(of: dict[str, float]) -> list[tuple[str, str, str]]:
    """The table: figure, measured, bar."""
    old, tar, gib = of["old"], of["tar"], 1 << 30

    def beside(name: str, base: float) -> str:
        return f"{of[name]:.1f} s: {of[name] / base:.2f} times"

    return [
        ("figure", "measured", "bar"),
        ("dump without compression", f"{of['dump'] / gib:.2f} GiB", ""),
        ("old way, `pg_dump | gzip`", f"{old:.1f} s", ""),
        ("`pg_dump -Fc`", f"{of['custom']:.1f} s", ""),
        ("restic alone, first / again", f"{of['raw']:.1f} s / {of['raw again']:.1f} s", ""),
        ("`inv backup.db`, store, first, beside the old way", beside("first", old), "≤ 0.6"),
        ("… beside restic alone", beside("first", of["raw"]), "≤ 1.1"),
        ("… with manifest and read-back, beside the old way", beside("first whole", old), "≤ 0.9"),
        ("… store, second time, beside the old way", beside("second", old), "≤ 0.4"),
        ("added by 50,000 inserts and 1,000 updates", f"{of['changed added'] / of['dump'] * 100:.1f} %", "≤ 2 %"),
        ("client memory", f"{of['memory']:.0f} MiB", "≤ 200 MB"),
        ("restore until the swap, beside `pg_restore -j 2`", beside("restore", of["pg_restore"]), "≤ 1.5"),
        ("… of it", ", ".join(f"{name} {of[name]:.1f} s" for name in PARTS), ""),
        ("swap", f"{of['swap']:.1f} s", "≤ 5 s"),
        ("drill", f"{of['drill']:.1f} s", "≤ 60 s"),
        ("old way for uploads, `tar | gzip`", f"{tar:.1f} s", ""),
        ("`inv backup.uploads`, first, beside it", beside("files first", tar), "≤ 0.3"),
        ("… second time", beside("files second", tar), "≤ 0.1"),
        ("… bytes added beside bytes that are new", f"{of['files added']:.2f}", "1"),
        (
            f"slowest of 99 % of answers, {RATE} a second: alone, during a backup",
            f"{of['p99 idle']:.1f} ms, {of['p99 busy']:.1f} ms: {of['p99 busy'] / of['p99 idle']:.2f} times",
            "≤ 1.5",
        ),
        ("… that backup, whole, with the pauses of flotteq.toml", f"{of['paced']:.1f} s", ""),
    ]


if __name__ == "__main__":
    main()
