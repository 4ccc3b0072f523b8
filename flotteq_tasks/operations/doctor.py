"""What must be true on this machine and on the host, each with its fix."""

import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations import preflight, secret_store
from flotteq_tasks.operations.context import Site


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``fix`` is a command or a sentence, shown when it is not right."""

    what: str
    found: str
    ok: bool = True
    fix: str = ""


def examine(settings: Callable[[], Settings], site: Callable[[], Site], variables: Mapping[str, str]) -> list[Finding]:
    """Look at everything; what cannot be looked at because something else is wrong is left out."""
    findings = list(_machine())
    try:
        loaded = settings()
    except FlotteqError as error:
        return [*findings, Finding("settings", error.message, ok=False, fix=error.hint)]
    count = len(loaded.services)
    findings.append(
        Finding("settings", f"environment {loaded.environment}, {count} services, {len(loaded.public)} domains")
    )
    findings += _contexts(loaded)
    findings += _names(loaded)
    return [*findings, *_host(loaded, site)]


def _machine() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", version, ok=sys.version_info >= (3, 11), fix="install Python 3.11 or newer")
    if shutil.which("docker") is None:
        yield Finding("docker here", "not installed; needed for `inv build` and the sandbox only", ok=True)
        return
    local = LocalHost()
    done = local.run(Command("docker", "version", "--format", "{{.Server.Version}}"), check=False, timeout=20)
    found = done.out.strip() if done.ok else "the engine does not answer; needed for `inv build` and the sandbox only"
    yield Finding("docker here", found)
    buildx = local.run(Command("docker", "buildx", "version"), check=False, timeout=20)
    if done.ok:
        yield Finding("buildx here", (buildx.out or buildx.err).strip().splitlines()[0] if buildx.ok else "missing",
                      ok=buildx.ok, fix="install the package docker-buildx-plugin (Debian: docker-buildx)")  # fmt: skip


def _contexts(settings: Settings) -> Iterator[Finding]:
    missing = [
        f"services.{name}.build.context = {service.build.context}"
        for name, service in settings.services.items()
        if service.build and not (settings.root / service.build.context / service.build.dockerfile).is_file()
    ]
    if missing:
        yield Finding("build contexts", f"not here: {', '.join(missing)}; `inv build` needs them, a deploy does not")


def _names(settings: Settings) -> Iterator[Finding]:
    if settings.edge.address:
        yield Finding("domains", f"{len(settings.public)} names are asked at {settings.edge.address}")
        return
    for name in settings.public.values():
        try:
            found = sorted({str(answer[4][0]) for answer in socket.getaddrinfo(name, 443, proto=socket.IPPROTO_TCP)})
        except OSError as error:
            yield Finding(name, f"has no address: {error}", ok=False, fix="add a DNS record that leads to the host")
        else:
            yield Finding(name, ", ".join(found))


def _host(settings: Settings, site: Callable[[], Site]) -> Iterator[Finding]:
    try:
        here = site()
        facts = here.engine.facts()
    except FlotteqError as error:
        yield Finding("host", error.message, ok=False, fix=error.hint)
        return
    yield Finding("host", f"{here.host.name} answers")
    problems = preflight.check_host(settings, facts)
    yield from (Finding("host", one.what, ok=False, fix=one.fix) for one in problems)
    if facts.engine_version:
        yield Finding("engine on host", facts.engine_version)
    if facts.compose_version:
        yield Finding("compose on host", facts.compose_version)
    free, total = facts.disk_free / (1 << 30), facts.disk_total / (1 << 30)
    yield Finding("disk on host", f"{free:.1f} GiB free of {total:.1f}")
    memory, whole = facts.memory_free / (1 << 30), facts.memory_total / (1 << 30)
    yield Finding("memory on host", f"{memory:.1f} GiB free of {whole:.1f}")
    try:
        secret_store.settle(settings, facts.secrets)
    except FlotteqError as error:
        yield Finding("secrets", error.message, ok=False, fix=error.hint)
    else:
        yield Finding("secrets", f"{len(settings.secrets)} known, {len(facts.secrets)} on the host")
    version = facts.release.version if facts.release else "nothing deployed yet"
    yield Finding("live", version)
