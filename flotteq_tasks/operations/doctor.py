"""What must be true on this machine and on the host, each with its fix."""

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flotteq_tasks.commands import docker
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations import certificates, edge_files, hooks, preflight, repair, secret_store
from flotteq_tasks.operations.certificates.x509 import utc_now
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.edge import test_config
from flotteq_tasks.rendering import resources
from flotteq_tasks.settings.loader import lint_env


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
    findings += _project(loaded)
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
        if service.build
        and not (resources.context(settings.root, service.build.context) / service.build.dockerfile).is_file()
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
            yield Finding(
                name, f"has no address: {error.strerror}", ok=False, fix="add a DNS record that leads to the host"
            )
        else:
            yield Finding(name, ", ".join(found))


def _project(settings: Settings) -> Iterator[Finding]:
    lying = [f"hooks/{name}" for name in hooks.NAMES if (path := settings.root / "hooks" / name).is_file()
             and not os.access(path, os.X_OK)]  # fmt: skip
    if lying:
        yield Finding("hooks", f"not executable: {', '.join(lying)}", ok=False, fix=f"chmod +x {' '.join(lying)}")
    wrong = [one for one in lint_env(settings.root, settings.environment) if one.severity == "error"]
    if wrong:
        yield Finding("env file", f"{len(wrong)} lines mean different things to different readers", ok=False,
                      fix=f"inv env.lint --env {settings.environment}")  # fmt: skip


def _host(settings: Settings, site: Callable[[], Site]) -> Iterator[Finding]:
    try:
        here = site()
        facts = here.engine.facts()
    except FlotteqError as error:
        yield Finding("host", error.message, ok=False, fix=error.hint)
        return
    rights = f" as {settings.host.user}, with root rights" if here.host.name != "local" else ""
    yield Finding("host", f"{here.host.name} answers{rights}")
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
    yield Finding("clock on host", f"{facts.clock - time.time():+.0f} s beside this machine's")
    try:
        secret_store.settle(settings, facts.secrets)
    except FlotteqError as error:
        yield Finding("secrets", error.message, ok=False, fix=error.hint)
    else:
        yield Finding("secrets", f"{len(settings.secrets)} known, {len(facts.secrets)} on the host")
    yield from _stack(here, facts)


def _stack(site: Site, facts: Facts) -> Iterator[Finding]:
    if facts.engine_version:
        yield from _registry(site, facts)
    yield from _edge(site, facts)
    if facts.locked:
        yield Finding("operation", "one is at work: inv deploy.status")
    elif repair.needs_repair(site.settings, facts):
        yield Finding("operation", "one did not end: something is half-done", ok=False,
                      fix=repair.remedy(site.settings, facts))  # fmt: skip
    yield Finding("live", facts.release.version if facts.release else "nothing deployed yet")


def _registry(site: Site, facts: Facts) -> Iterator[Finding]:
    """Whether the host can fetch: an image that is not there is an answer, too."""
    settings = site.settings
    built = next((name for name, service in settings.services.items() if service.build), "")
    if not built:
        return
    version = facts.release.version if facts.release else "v0"
    reference = settings.reference(built, version)
    done = site.host.run(docker.manifest(reference), check=False, timeout=30)
    said = (done.err.strip() or done.out.strip()).rpartition("\n")[2]
    if done.ok or re.search(r"manifest unknown|no such manifest|not found", said):
        yield Finding("registry", f"{settings.registry.server} answers the host")
    else:
        fix = f"docker login {settings.registry.server}, on the host; or registry.username and its password variable"
        yield Finding("registry", f"{settings.registry.server} refuses the host: {said[:120]}", ok=False, fix=fix)


def _edge(site: Site, facts: Facts) -> Iterator[Finding]:
    if not any(one.running for name in site.settings.of_kind("edge") for one in facts.of(name)):
        if facts.installed:
            yield Finding("edge", "does not run: no domain answers", ok=False, fix="inv logs --service nginx")
        return
    try:
        test_config(site.host, site.engine.containers, service=site.settings.of_kind("edge")[0])
    except FlotteqError as error:
        said = (error.details.splitlines() or [error.message])[0]
        yield Finding("edge files", f"the next start of nginx would fail: {said[:160]}", ok=False,
                      fix="correct nginx/, then inv nginx.reload")  # fmt: skip
    else:
        yield Finding("edge files", "nginx accepts them")
    issued = edge_files.issued(site.settings, facts)
    first = certificates.ends_first(site.settings) if issued else None
    bare = [name for name in site.settings.public.values() if name not in issued]
    if issued and bare:
        yield Finding("certificate", f"none on {', '.join(bare)}", ok=False, fix="inv ssl.init")
    if first is not None:
        now = utc_now()
        left = f"{first.days_left(now):.0f} days left"
        yield Finding("certificate", left, ok=not first.stale(now) and not first.staging, fix="inv ssl.status")
    elif issued:
        yield Finding("certificate", "a name does not serve it", ok=False, fix="inv ssl.status")
    else:
        yield Finding("certificate", "a placeholder: none has been issued", ok=not facts.installed, fix="inv ssl.init")
