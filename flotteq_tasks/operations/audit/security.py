"""What the host, its containers and the outside show of the stack's security. Nothing is changed."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flotteq_tasks.commands import security
from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.security import USUAL_PORTS, Risk
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.audit import security_docker, security_files, security_ports
from flotteq_tasks.operations.audit.checks import Check
from flotteq_tasks.operations.audit.edge import audit_edge
from flotteq_tasks.operations.context import Site

LIMIT = 120


def audit_security(site: Site, *, ports: Iterable[int] = (), now: datetime | None = None) -> list[Risk]:
    """Look at everything.

    Args:
        ports: tried from this machine; those of flotteq.toml, else the usual ones, when none is given.

    Raises:
        UsageError: flotteq.toml accepts a check that does not exist.
        FlotteqError: the host cannot be reached.
    """
    settings = site.settings
    command = security.look(
        settings.project.name, settings.of_kind("edge")[0], str(settings.directory), settings.project.backups
    )
    part = sections(site.host.run(command, timeout=LIMIT).out)
    found = list(_on_host(settings, part, now or datetime.now(UTC)))
    found += local(settings)
    interruption.check()
    found.append(security_ports.scan(settings, ports or settings.audit.ports or USUAL_PORTS))
    found += _outside(audit_edge(settings))
    return accepted(settings.audit.accept, found)


def _on_host(settings: Settings, part: Mapping[str, str], now: datetime) -> Iterable[Risk]:
    inspected = _documents(part.get("containers", ""))
    yield Risk("RUNS", "the stack runs", f"{len(inspected)} containers", bool(inspected), "error", "inv status")
    yield from security_docker.containers(inspected, public=frozenset({80, 443}))
    info = _documents(part.get("info", ""))
    daemon = json.loads(part.get("daemon", "").strip() or "{}")
    yield from security_docker.engine(info[0] if info else {}, daemon, part.get("sshd", "").split())
    owners = frozenset(one.user.partition(":")[0] for one in settings.services.values() if one.kind == "tool")
    yield from security_files.modes(part.get("files", "").strip().splitlines(), owners)
    yield security_files.group(part.get("group", ""))
    yield from security_files.nginx(part.get("nginx", ""))
    yield security_files.images(_documents(part.get("images", "")), days=settings.audit.image_days, now=now)


def local(settings: Settings) -> list[Risk]:
    """The store of secrets on this machine."""
    store = settings.root / ".secrets" / settings.environment
    files = sorted(path for path in store.rglob("*") if path.is_file()) if store.is_dir() else []
    wrong = [path for path in files if path.stat().st_mode & 0o077]
    names = tuple(str(path.relative_to(settings.root)) for path in wrong)
    return [
        Risk("FILES-local", "nobody else reads the secrets on this machine", ", ".join(names) or f"{len(files)} files",
             not wrong, "error", f"chmod -R go= {_shown(store, settings.root)}", names)
    ]  # fmt: skip


def accepted(reasons: Mapping[str, str], found: Iterable[Risk]) -> list[Risk]:
    """Mark what flotteq.toml accepts.

    Raises:
        UsageError: it names a check that does not exist.
    """
    risks = list(found)
    unknown = sorted(set(reasons) - {one.id for one in risks})
    if unknown:
        raise UsageError(
            f"audit.accept names {', '.join(unknown)}, which audit.security does not check",
            hint="remove it from flotteq.toml: inv audit.security --json lists all ids",
        )
    return [replace(one, accepted=reasons[one.id]) if not one.ok and one.id in reasons else one for one in risks]


def _outside(checks: Iterable[Check]) -> Iterable[Risk]:
    """What ``audit.edge`` sees, one line for each of its checks."""
    by_id: dict[str, list[Check]] = {}
    for one in checks:
        if one.id != "ports":
            by_id.setdefault(one.id, []).append(one)
    for name, same in by_id.items():
        wrong = [one for one in same if not one.ok]
        said = "; ".join(f"{one.domain}: {one.found}" if one.domain else one.found for one in wrong)
        yield Risk(
            f"EDGE-{name}", f"audit.edge: {name}", said or f"{len(same)} looked at", not wrong, "warning",
            wrong[0].fix if wrong else "", tuple(one.domain for one in wrong if one.domain),
        )  # fmt: skip


def sections(text: str) -> dict[str, str]:
    """The script's output by section."""
    pieces = re.split(r"^@@ (\w+)\n", text, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root))
