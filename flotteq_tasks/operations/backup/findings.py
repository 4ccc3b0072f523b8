"""What stands between this host and a restore, each with its fix."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

from flotteq_tasks.commands import backup as scripts
from flotteq_tasks.commands.pitr import SLOT
from flotteq_tasks.model.backup import PARTS, BackupSet
from flotteq_tasks.model.stack import RECEIVER
from flotteq_tasks.operations import schedule
from flotteq_tasks.operations.backup import escrow, pitr, sets
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.doctor import Finding

LEAST_FREE = 0.1
# A set beside the median of so many before it.
MEDIAN_OF, FEWEST, LEAST, MOST = 7, 4, 0.5, 3.0
_TAKE = "inv backup.all"


def findings(site: Site) -> list[Finding]:
    """Look at the job, its image, its place, its disk and the age of the sets; nothing is changed."""
    facts = site.engine.facts()
    seen = site.host.run(scripts.look(site.settings.project.backups)).out
    return [
        *_job(site, facts.secrets, facts.release.images if facts.release else {}),
        *_place(site, seen),
        _copies(site),
        _schedule(site),
        _escrow(site, facts.secrets),
        *_ages(site),
        *sizes(sets.sets(site)),
        *_log(site),
    ]


def _job(site: Site, secrets: Mapping[str, str], images: Mapping[str, str]) -> Iterator[Finding]:
    service = site.settings.backup.service
    there = service in site.settings.services
    yield Finding("job", f"services.{service}" if there else "none", ok=there, fix="docs/SETTINGS.md, [backup]")
    key = "restic_password" in secrets
    yield Finding(
        "key", "restic_password is on the host" if key else "restic_password is not on the host", ok=key,
        fix="inv secrets.generate && inv secrets.push",
    )  # fmt: skip
    image = service in images
    yield Finding(
        "image", "of the live release" if image else "the live release has none", ok=image,
        fix="inv build --version v1.0.0 && inv push --version v1.0.0 && inv deploy --version v1.0.0",
    )  # fmt: skip


def _place(site: Site, seen: str) -> Iterator[Finding]:
    words = [line.split() for line in seen.splitlines()]
    total, free = next(((int(one[1]), int(one[2])) for one in words if one[0] == "disk"), (0, 0))
    flags = {one[0] for one in words}
    place = site.settings.project.backups
    yield Finding(
        "repository", place if "repository" in flags else f"none in {place} yet",
        ok="repository" in flags, fix="inv backup.all",
    )  # fmt: skip
    enough = total > 0 and free / total >= LEAST_FREE
    yield Finding("space", f"{free >> 30} of {total >> 30} GiB free", ok=enough, fix="more disk, or a disk of its own")
    apart, copies = "own-disk" in flags, bool(site.settings.backup.copies)
    yield Finding(
        "disk", "apart from the data" if apart else "the same as that of the data",
        ok=apart or copies, fix=f"a copy elsewhere, or another disk at {place}: a broken disk takes both otherwise",
    )  # fmt: skip
    private = "private" in flags or "repository" not in flags
    yield Finding("access", "root alone" if private else f"others can look into {place}", ok=private,
                  fix=f"chmod 700 {place}")  # fmt: skip
    clock = "clock" in flags
    yield Finding("clock", "synchronized" if clock else "not known to be synchronized", ok=clock,
                  fix="timedatectl set-ntp true")  # fmt: skip


def _copies(site: Site) -> Finding:
    names = ", ".join(site.settings.backup.copies)
    return Finding(
        "copies", names or "none: a lost host takes its backups along", ok=bool(names),
        fix="[backup.copies.NAME] in flotteq.toml: docs/BACKUPS.md, Off-site copies",
    )  # fmt: skip


def _escrow(site: Site, on_host: Mapping[str, str]) -> Finding:
    found = escrow.recorded(site)
    if found is None or found.without:
        decided = f"none, as {found.who} decided on {found.at[:10]}" if found else "none was ever written"
        return Finding("escrow kit", decided, ok=not site.settings.backup.escrow, fix="inv backup.escrow")
    known = {name: mark for name, mark in on_host.items() if name in site.settings.secrets}
    stale = sorted(name for name, mark in known.items() if found.secrets.get(name) != mark)
    what = f"of {found.at[:10]} for {len(found.recipients)} recipients"
    return Finding(
        "escrow kit", f"{what}; older than: {', '.join(stale)}" if stale else what, ok=not stale,
        fix="inv backup.escrow",
    )  # fmt: skip


def _schedule(site: Site) -> Finding:
    """The timers, as the host's own scheduler tells of them: their environment is not that of a person."""
    jobs = schedule.listed(site)
    missing = [one.name for one in jobs if not one.installed]
    failed = [f"{one.name}: {one.result}" for one in jobs if one.installed and not one.ok]
    what = "not installed" if len(missing) == len(jobs) else f"not installed: {', '.join(missing)}" if missing else ""
    again = failed[0].partition(":")[0] if failed else ""
    return Finding(
        "schedule", what or "; ".join(failed) or f"{len(jobs)} jobs, none failed", ok=not missing and not failed,
        fix="inv schedule.install" if missing else f"inv schedule.run-now {again}",
    )  # fmt: skip


def sizes(rows: Sequence[BackupSet]) -> Iterator[Finding]:
    """A part that is suddenly much smaller or larger than it used to be: nothing failed, and yet something is wrong."""
    for part in PARTS:
        having = [one.parts[part] for one in rows if one.verified and part in one.parts]
        if len(having) < FEWEST:
            continue
        newest, usual = having[-1], int(median(having[-1 - MEDIAN_OF : -1]))
        yield Finding(
            f"size of {part}", f"{newest >> 10} KiB, usually {usual >> 10}", ok=usual * LEAST <= newest <= usual * MOST,
            fix=f"look at what is in {part}: a set may be whole, and its source half empty",
        )  # fmt: skip


def _log(site: Site) -> Iterator[Finding]:
    """Of point-in-time recovery; a slot that nobody reads is found where it is off, too."""
    found = pitr.log(site)
    if not site.settings.backup.pitr:
        if found.status:
            yield Finding(
                "slot", "point-in-time recovery is off, its slot is there: it keeps WAL that nobody reads", ok=False,
                fix=f"""inv psql --command "select pg_drop_replication_slot('{SLOT}')\"""",
            )  # fmt: skip
        return
    problem = found.problem(sets.sets(site), datetime.now(UTC))
    fix = (
        "inv backup.base"
        if found.status in ("", "lost") or "base" in problem
        else f"inv logs --service {RECEIVER}, inv schedule.list"
    )
    yield Finding("log", problem or f"received and stored, {found.lag >> 10} KiB behind", ok=not problem, fix=fix)


def _ages(site: Site) -> Iterator[Finding]:
    for one in sets.status(site):
        age = "never" if one.age is None else f"{one.age:.0f} h ago, set {one.set}"
        what, fix = (f"{one.part} in {one.where}", "inv backup.copy") if one.where else (f"{one.part} verified", _TAKE)
        yield Finding(what, f"{age}; promised: {one.hours} h", ok=one.kept, fix=fix)
    damaged = [one for one in sets.sets(site) if not one.verified]
    if damaged:
        yield Finding(
            "damaged sets", "; ".join(f"{one.id}: {one.problem}" for one in damaged[-3:]), ok=False,
            fix=f"inv backup.verify --set {damaged[-1].id}",
        )  # fmt: skip
