"""What runs: version, replicas, health, uptime, certificate, disk."""

from dataclasses import dataclass, field

from flotteq_tasks.engines.compose.facts import uptime_seconds
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.repair import needs_repair, remedy
from flotteq_tasks.operations.verification import Answer, verify_domains


@dataclass(frozen=True)
class ServiceStatus:
    """One service. ``uptime`` is that of its youngest container, in seconds."""

    service: str
    version: str
    replicas: int
    wanted: int
    healthy: int
    uptime: float
    restarts: int
    domain: str = ""
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything of it is as it must be."""
        return not self.problem


@dataclass(frozen=True)
class Status:
    """The whole stack. Sizes are bytes; ``certificate_days`` is None while none is served.

    Args:
        busy: an operation is at work.
        half_done: an operation did not end, and none is at work; ``remedy`` says what to do.
    """

    environment: str
    host: str
    version: str
    release: str
    services: tuple[ServiceStatus, ...]
    certificate_issued: bool
    certificate_days: float | None
    disk_free: int
    disk_total: int
    domains: tuple[Answer, ...] = field(default=())
    maintenance: bool = False
    maintenance_allowed: tuple[str, ...] = ()
    busy: bool = False
    half_done: bool = False
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether all services and domains are as they must be, and nothing is half-done."""
        answers = not any(one.problem for one in self.domains)
        return all(one.ok for one in self.services) and answers and not self.half_done


def status(site: Site) -> Status:
    """Read the host once and ask every domain from outside."""
    facts = site.engine.facts()
    issued = edge_files.issued(site.settings, facts)
    answers = verify_domains(site.settings, verify=issued, maintenance=facts.maintenance) if facts.release else []
    half_done = not facts.locked and needs_repair(site.settings, facts)
    return Status(
        environment=site.settings.environment,
        host=site.host.name,
        version=facts.release.version if facts.release else "",
        release=facts.release.id if facts.release else "",
        services=tuple(service_status(site.settings, facts, name, answers) for name in _standing(site.settings)),
        certificate_issued=bool(issued),
        certificate_days=certificate_days(site.settings) if issued else None,
        disk_free=facts.disk_free,
        disk_total=facts.disk_total,
        domains=tuple(answers),
        maintenance=facts.maintenance,
        maintenance_allowed=facts.maintenance_allowed,
        busy=facts.locked,
        half_done=half_done,
        remedy=remedy(site.settings, facts) if half_done else "",
    )


def _standing(settings: Settings) -> list[str]:
    return [name for name, spec in settings.services.items() if spec.kind != "job"]


def certificate_days(settings: Settings) -> float | None:
    """Days until the served certificate that ends first."""
    from flotteq_tasks.operations.certificates import served_days

    return served_days(settings)


def service_status(settings: Settings, facts: Facts, name: str, answers: list[Answer]) -> ServiceStatus:
    """One service's line. Pure."""
    spec = settings.services[name]
    instances = facts.of(name)
    running = [one for one in instances if one.running]
    wanted = facts.scale.get(name, spec.replicas) if spec.kind == "rolling" else 1
    outside = next((one.problem for one in answers if one.service == name), "")
    return ServiceStatus(
        service=name,
        version=_versions(running, facts.release),
        replicas=len(running),
        wanted=wanted,
        healthy=sum(1 for one in running if one.healthy),
        uptime=min((uptime_seconds(one.started, facts.clock) for one in running), default=0.0),
        restarts=sum(one.restarts for one in instances),
        domain=settings.domain(name) if spec.subdomain else "",
        problem=_problem(instances, wanted) or outside,
    )


def _problem(instances: list[Instance], wanted: int) -> str:
    running = [one for one in instances if one.running]
    if not instances:
        return "not deployed"
    if not running:
        return f"{instances[0].state} (exit code {instances[0].exit_code})"
    if len(running) < wanted:
        return f"{len(running)} of {wanted} running"
    sick = [one for one in running if not one.healthy]
    return f"{sick[0].name} is {sick[0].health}" if sick else ""


def _versions(running: list[Instance], release: Release | None) -> str:
    found = []
    for one in running:
        tag = one.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        if release and one.image in release.images.values() and one.version:
            tag = tag or release.version
        found.append(tag or one.version or one.image[:19])
    return ", ".join(dict.fromkeys(found)) or "-"
