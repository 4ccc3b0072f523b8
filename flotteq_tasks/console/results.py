"""How results look: a table or a line for people, one document with --json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flotteq_tasks.console.console import Console
from flotteq_tasks.console.summary import summarize_result
from flotteq_tasks.console.table import duration, size
from flotteq_tasks.model.facts import Facts

if TYPE_CHECKING:
    from flotteq_tasks.operations.audit import Check
    from flotteq_tasks.operations.certificates import Forecast, Overview
    from flotteq_tasks.operations.control import Volume
    from flotteq_tasks.operations.deploy import Deployed
    from flotteq_tasks.operations.doctor import Finding
    from flotteq_tasks.operations.edge_limits import LimitsReport
    from flotteq_tasks.operations.lock import LockState
    from flotteq_tasks.operations.migrating import Migrated
    from flotteq_tasks.operations.secret_tasks import SecretStatus
    from flotteq_tasks.operations.status import ServiceStatus, Status


def show_deployed(console: Console, done: Deployed) -> None:
    """The last line of a deploy."""
    line = _deployed_line(done)
    summarize_result(line)
    if console.json:
        console.document({"ok": True, **asdict(done)})
    else:
        console.line(line)


def _deployed_line(done: Deployed) -> str:
    if done.already:
        return f"{done.version} is already live and healthy"
    parts = [f"{done.version} live in {duration(done.seconds)}"]
    if done.probes:
        parts.append(f"{done.failed:,} failed of {done.probes:,} probes")
    if done.pulled is not None:
        parts.append(f"{size(done.pulled)} pulled")
    parts.append(f"{len(done.domains)} domains answer" + (" over verified TLS" if done.verified_tls else ""))
    return " · ".join(parts)


def show_commands(console: Console, commands: Sequence[tuple[str, str]]) -> None:
    """What a rehearsal would run and write, step by step; scripts stand with their arguments, indented."""
    if console.json:
        console.document([{"step": step, "command": text} for step, text in commands])
        return
    if not commands:
        console.line("nothing to do")
    before = ""
    for step, text in commands:
        if step != before:
            console.line(f"# {step}")
        before = step
        console.line("\n".join(f"  {line}" for line in text.rstrip().splitlines()))


def show_status(console: Console, status: Status) -> None:
    """The table of services, then certificate and disk."""
    if console.json:
        document = {"ok": status.ok, **asdict(status)}
        document["services"] = [{**asdict(one), "ok": one.ok} for one in status.services]
        console.document(document)
        return
    console.line(f"{status.environment} on {status.host}: {status.version or 'nothing deployed'}\n")
    head = ("SERVICE", "VERSION", "REPLICAS", "UP", "HEALTH", "DOMAIN")
    console.table(head, [_service_row(one) for one in status.services])
    console.line()
    console.line(f"certificate  {_certificate(status)}")
    if status.maintenance:
        seen = f", but not to {', '.join(status.maintenance_allowed)}" if status.maintenance_allowed else ""
        console.line(f"maintenance  on: every domain answers 503{seen}; inv maintenance.off ends it")
    console.line(f"disk         {size(status.disk_free)} free of {size(status.disk_total)}")
    if status.busy:
        console.line("operation    one is at work: inv deploy.status")
    if status.half_done:
        console.line(f"operation    one did not end: {status.remedy}")


def _certificate(status: Status) -> str:
    if status.certificate_days is not None:
        return f"{status.certificate_days:.0f} days left"
    return "not served: inv ssl.status" if status.certificate_issued else "none issued: inv ssl.init"


def _service_row(one: ServiceStatus) -> tuple[str, ...]:
    replicas = str(one.replicas) if one.replicas == one.wanted else f"{one.replicas}/{one.wanted}"
    up = duration(one.uptime) if one.replicas else "-"
    return (one.service, one.version, replicas, up, one.problem or "healthy", one.domain)


def show_containers(console: Console, facts: Facts) -> None:
    """One line for each container."""
    if console.json:
        console.document([asdict(one) for one in facts.instances])
        return
    rows = [
        (one.name, one.id[:12], one.state, one.health or "-", str(one.restarts), _brief(one.image))
        for one in sorted(facts.instances, key=lambda one: one.name)
    ]
    console.table(("CONTAINER", "ID", "STATE", "HEALTH", "RESTARTS", "IMAGE"), rows, right=[4])


def _brief(image: str) -> str:
    """A reference without registry and digest; --json has the whole."""
    return image.partition("@")[0].rpartition("/")[2]


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """What was looked at; below, what is wrong with its fix."""
    if console.json:
        console.document({"ok": all(one.ok for one in findings), "findings": [asdict(one) for one in findings]})
        return
    console.table(("", "WHAT", "FOUND"), [("ok" if one.ok else "!!", one.what, one.found) for one in findings])
    fixes = dict.fromkeys(line for one in findings if not one.ok for line in one.fix.splitlines())
    if fixes:
        console.line("\ntry:")
    for line in fixes:
        console.line(f"  {line}")


def show_checks(console: Console, found: Sequence[Check]) -> None:
    """What was looked at from outside; below, what to do about findings."""
    findings = [one for one in found if not one.ok]
    if console.json:
        document = {"ok": not findings, "checks": [asdict(one) for one in found]}
        console.document(document)
        return
    rows = [("ok" if one.ok else "!!", one.id, one.domain or "-", one.found) for one in found]
    console.table(("", "CHECK", "DOMAIN", "FOUND"), rows)
    console.line(f"\n{len(found)} checks, {len(findings)} findings")
    for line in dict.fromkeys(f"{one.id}: {one.fix}" for one in findings if one.fix):
        console.line(f"  {line}")


def show_secrets(console: Console, rows: Sequence[SecretStatus]) -> None:
    """Fingerprints, here and on the host."""
    if console.json:
        console.document([{**asdict(one), "note": one.note} for one in rows])
        return
    table = [(one.name, one.source, one.here or "-", one.host or "-", one.note) for one in rows]
    console.table(("SECRET", "SOURCE", "HERE", "ON HOST", ""), table)


def show_certificates(console: Console, found: Overview) -> None:
    """What every name serves, when a renewal is wanted, and how the last one ended."""
    if console.json:
        console.document(found.document())
        return
    table = [
        (one.name, f"{one.days_left:.0f}", one.issuer or "-", one.serial[:16] or "-", one.problem or "ok")
        for one in found.names
    ]
    console.table(("NAME", "DAYS", "ISSUER", "SERIAL", ""), table, right=[1])
    windows = {(one.certificate, one.renew_from, one.renew_until) for one in found.names if one.renew_from}
    for name, start, end in sorted(windows):
        whom = f" of {name}" if len(windows) > 1 else ""
        console.line(f"the ACME server wants a renewal{whom} between {start} and {end}")
    if found.last:
        result = "ended well" if found.last.code == 0 else f"failed with exit code {found.last.code}"
        console.line(f"last renewal: {found.last.at}, {found.last.what}, {result}")


def show_order(console: Console, found: Forecast, authority: str) -> None:
    """What an authority would be asked for, and by which commands.

    Args:
        authority: URL of its directory.
    """
    for one in found.certificates:
        whom = one.names[0] if len(one.names) == 1 else f"{len(one.names)} names"
        if one.reason:
            console.line(f"{authority} would be asked for a certificate of {whom}: {one.reason}")
            console.line("\n".join(f"  {name}" for name in one.names))
        else:
            console.line(f"nothing would be ordered: the certificate of {whom} is good")
    for note in found.notes:
        console.line(f"note: {note}")
    for order in (order for one in found.certificates for order in one.orders):
        console.line(f"$ {order}")
    console.line("nothing was asked or changed")


def show_volumes(console: Console, rows: Sequence[Volume]) -> None:
    """Volumes with their sizes."""
    if console.json:
        console.document([asdict(one) for one in rows])
        return
    table = [(one.name, size(one.size), ", ".join(one.used_by) or "-") for one in rows]
    console.table(("VOLUME", "SIZE", "USED BY"), table, right=[1])


def show_files(console: Console, files: Mapping[str, int]) -> None:
    """Names and sizes of rendered files."""
    if console.json:
        console.document(dict(files))
        return
    console.table(("FILE", "BYTES"), [(path, str(count)) for path, count in files.items()], right=[1])


def show_lock(console: Console, lock: LockState) -> None:
    """Who holds the lock."""
    if console.json:
        console.document(asdict(lock))
        return
    console.line(str(lock))


def show_accepted(console: Console, warnings: str) -> None:
    """What nginx said of files that it accepts."""
    if console.json:
        console.document({"ok": True, "warnings": warnings.splitlines()})
        return
    console.line(warnings or "nginx accepts the configuration on the host")


def show_limits(console: Console, found: LimitsReport) -> None:
    """A row for each limit of the edge."""
    if console.json:
        console.document(asdict(found))
        return
    if not found.requests:
        console.line("nobody asked for anything within that time")
        return
    console.line(f"{found.requests:,} requests of {found.clients:,} clients, {found.first} to {found.last}\n")
    head = (
        "LIMIT",
        "VALUE",
        "REQUESTS",
        "CLIENTS",
        "WOULD REFUSE" if found.dry_run else "REFUSED",
        "OF CLIENTS",
        "MOSTLY",
    )
    rows = [
        (one.limit, one.value, f"{one.requests:,}", f"{one.clients:,}", f"{one.refused:,}", f"{one.clients_refused:,}",
         f"{one.worst_client} {one.worst_request}".strip() or "-")
        for one in found.results
    ]  # fmt: skip
    console.table(head, rows, right=[2, 3, 4, 5])
    if found.warning:
        console.line(f"\n{found.warning}")


def show_migrations(console: Console, found: Migrated) -> None:
    """Which migrations are applied and pending; after a run only how many."""
    if console.json:
        console.document(asdict(found))
        return
    if found.ran:
        console.line(f"{len(found.applied)} migrations are applied")
        return
    for name in found.applied:
        console.line(f"applied  {name}")
    for name in found.pending:
        console.line(f"pending  {name}")


def show_problems(console: Console, problems: Sequence[Any]) -> None:
    """What an .env file says differently to different readers."""
    if console.json:
        console.document([asdict(one) for one in problems])
        return
    if not problems:
        console.line("every line means the same to python-dotenv and to Compose")
    for one in problems:
        console.line(f"{one.severity}: line {one.line}: {one.key}: {one.message}")


def show_settings(console: Console, rows: Sequence[tuple[str, object, str]]) -> None:
    """Every setting with its origin; in the table as flotteq.toml would write it, nothing where it is not set."""
    if console.json:
        console.document([{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
        return
    written = [
        (key, "" if value is None else json.dumps(value, ensure_ascii=False), origin) for key, value, origin in rows
    ]
    console.table(("KEY", "VALUE", "FROM"), written)
