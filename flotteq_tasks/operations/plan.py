"""What a deploy would do, and why. Images are fetched (the deploy is faster for it); nothing that serves is touched."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.engines.base import Change
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import database, edge_files, releases
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.preparation import Preparation, rehearsed
from flotteq_tasks.operations.deploy.request import DeployRequest
from flotteq_tasks.operations.lock import who_holds
from flotteq_tasks.operations.preflight import FREE_DISK
from flotteq_tasks.operations.repair import needs_repair


@dataclass(frozen=True)
class Plan:
    """What a deploy would do.

    Args:
        containers: services whose containers are replaced, with the reason.
        images: service → (runs now, would run).
        secrets: name → (fingerprint now, fingerprint then).
        files: path → new, changed or gone.
        download: bytes that were fetched for it, so that the deploy need not; None where the engine cannot tell.
        disk: bytes that a deploy wants free.
        memory: bytes that old and new containers need on top while both run.
        pending: migrations that would run.
    """

    version: str
    live: str
    containers: tuple[Change, ...]
    images: Mapping[str, tuple[str, str]]
    secrets: Mapping[str, tuple[str, str]]
    files: Mapping[str, str]
    download: int | None
    disk: int
    disk_free: int
    memory: int
    memory_free: int
    pending: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether a deploy would change anything."""
        return bool(self.containers or self.files or self.secrets or self.pending or self.version != self.live)


def make_plan(site: Site, request: DeployRequest, variables: Mapping[str, str]) -> Plan:
    """Compare a version with what runs.

    Raises:
        FlotteqError: as the first steps of a deploy.
    """
    request.check(site.settings)
    facts = site.engine.facts()
    warnings = []
    lock = who_holds(site.host, site.state)
    if "is locked by" in lock:
        warnings.append(f"{lock}: what runs now will soon be different")
    elif needs_repair(site.settings, facts):
        warnings.append("an earlier operation did not end: the deploy repairs that first")
    with rehearsed(site, request, "plan", facts, variables) as prepared:
        pending = _pending(prepared)
        files = _files(prepared)
        warnings += [*prepared.warnings, *_crossings(site, facts, request)]
    if prepared.surge == "one":
        warnings.append("old and new containers do not fit into memory together: one service after the other")
    return Plan(
        version=str(request.version),
        live=facts.release.version if facts.release else "",
        containers=tuple(prepared.changed),
        images=_differences(facts.release.images if facts.release else {}, prepared.release.images),
        secrets=_differences(facts.release.secrets if facts.release else {}, prepared.release.secrets),
        files=files,
        download=prepared.transferred,
        disk=FREE_DISK,
        disk_free=facts.disk_free,
        memory=prepared.overlap,
        memory_free=facts.memory_free,
        pending=pending,
        warnings=tuple(warnings),
    )


def _crossings(site: Site, facts: Facts, request: DeployRequest) -> list[str]:
    """An earlier version runs on the schema of the later one: its release tells which migrations it did not know."""
    known = releases.all_releases(site)
    same = [one.release for one in known if one.release.version == str(request.version) and not one.live]
    crossed = releases.crossed(facts.release, same[0]) if same else []
    return [f"migration {name} stays applied: {request.version} runs on the newer schema" for name in crossed]


def _differences(now: Mapping[str, str], then: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (now.get(name, ""), value) for name, value in then.items() if now.get(name) != value}


def _pending(prepared: Preparation) -> tuple[str, ...]:
    """Asked in the new image with the staged files: only it knows its migrations."""
    migrations, site = prepared.site.settings.migrations, prepared.site
    running = any(one.running for one in prepared.facts.of(site.settings.database.service))
    if migrations is None or not migrations.status or not running or not prepared.facts.installed:
        return ()
    if site.settings.database.service in prepared.moves.lacking:
        prepared.warn("pending migrations cannot be listed: the new image will reach the database when that has joined")
        return ()
    return database.migration_status(site, migrations, release=prepared.release.id)[1]


def _files(prepared: Preparation) -> dict[str, str]:
    now = prepared.facts.release
    # .env holds the references and fingerprints that are listed already, and the limits of what is replaced for them.
    same = now is not None and now.version == prepared.release.version and not prepared.changed
    files = edge_files.compared(now.files if now else {}, prepared.release.files, ignore=() if same else (".env",))
    return {**files, **prepared.edge}
