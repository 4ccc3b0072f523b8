"""The stack as data: what flotteq.toml says, as frozen values with defaults.

The loader builds these with pydantic; nothing here imports more than the standard library. The docstring of each class
is the reference of its table in flotteq.toml.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from flotteq_tasks.model.edge import FORBID_UNKNOWN, EdgeSettings, Limits, PublicSettings
from flotteq_tasks.model.security import AuditSettings
from flotteq_tasks.model.server import ServerSettings

Kind = Literal["rolling", "stateful", "edge", "tool", "job"]
Vhost = Literal["api", "web"]
Layout = Literal["one", "each"]

# The service that receives the write-ahead log; there is one while `backup.pitr` is on.
RECEIVER = "wal-receiver"
# How the name of the container ends that stores what was received: it runs beside whatever holds the host's lock.
STORES_WAL = "-wal-store"
# The same of the container that is asked for the migrations' status without the lock: by plans, `migrate --status`.
PLANS = "-migrate-plan"


@dataclass(frozen=True)
class Project:
    """``[project]``: names and places that never change once data exists."""

    __pydantic_config__ = FORBID_UNKNOWN

    name: str
    domain: str
    directory: str = "/opt/flotteq"
    backups: str = "/var/backups/flotteq"
    logs: str = "/var/log/flotteq"
    compose_file: str = "compose/docker-compose.production.yml"
    engine: Literal["compose"] = "compose"


@dataclass(frozen=True)
class HostSettings:
    """``[environments.NAME.host]``: where the stack runs. ``address = "local"`` is this machine."""

    __pydantic_config__ = FORBID_UNKNOWN

    address: str
    port: int = 22
    user: str = "root"
    key_file: str = ""
    key_variable: str = "FLOTTEQ_SSH_KEY"
    known_hosts: str = "known_hosts"
    agent: bool = True
    jump: str = ""
    sudo: bool = True


@dataclass(frozen=True)
class Registry:
    """``[registry]``: where images of built services are.

    ``push_server`` is the same registry as this machine sees it.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    server: str
    namespace: str = ""
    push_server: str = ""
    username: str = ""
    password_variable: str = "FLOTTEQ_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable
    insecure: bool = False


@dataclass(frozen=True)
class Acme:
    """``[acme]``: the certificate authority.

    ``ca_file`` is the CA of its own https end point, ``root_file`` the root it issues from.

    Args:
        layout: one certificate with all names, or one for each name.
        profile: the kind of certificate that is asked for; empty: the server's default.
        issuer: how CAA records call the authority; empty: they are not looked at.
        resolvers: DNS servers that must know the names before the authority is asked; none: this machine's own.
        addresses: where the names may lead; empty: to the addresses that the host has.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    email: str = ""
    ca_file: str = ""
    root_file: str = ""
    layout: Layout = "one"
    profile: str = ""
    issuer: str = "letsencrypt.org"
    resolvers: tuple[str, ...] = ("1.1.1.1", "9.9.9.9")
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildSettings:
    """``[build]``: arguments for every image.

    ``ca_bundle`` is passed as a build secret and never copied into an image.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    args: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str = ""
    platform: str = ""


@dataclass(frozen=True)
class ServiceBuild:
    """``[services.NAME.build]``: how the image is made."""

    __pydantic_config__ = FORBID_UNKNOWN

    context: str
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """``[services.NAME.health]``: a path that must answer 200 and the JSON fields it must hold.

    FlotteQ's API answers 200 with the database gone, so the status code alone proves nothing.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    path: str = "/"
    expect: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """``[services.NAME]``: one service of the Compose file.

    ``kind``: ``rolling`` services are replaced side by side, ``stateful`` ones only with ``--allow-stateful``, the
    ``edge`` is reloaded, a ``tool`` is replaced in place, a ``job`` runs only while it is called. ``assets`` is the
    directory in the image whose files stay available below ``/assets/`` after the next release. ``user`` is a name of
    the image or ``UID:GID``; ``pids`` bounds processes and threads of one container.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    kind: Kind
    image: str
    build: ServiceBuild | None = None
    port: int = 0
    subdomain: str | None = None
    vhost: Vhost = "web"
    replicas: int = 1
    memory: str = "256m"
    cpus: str = "1.0"
    pids: int = 256
    user: str = ""
    health: Health = field(default_factory=Health)
    assets: str = ""
    public: PublicSettings = field(default_factory=PublicSettings)


@dataclass(frozen=True)
class SecretSpec:
    """``[secrets.NAME]``: generated by the tool or supplied by a person; ``rotate`` names what a new value needs."""

    __pydantic_config__ = FORBID_UNKNOWN

    source: Literal["generated", "supplied"]
    rotate: Literal["restart", "postgres", "redis"] = "restart"


@dataclass(frozen=True)
class Database:
    """``[database]``: the service, role and database that dumps, ``psql`` and rotation use."""

    __pydantic_config__ = FORBID_UNKNOWN

    service: str = "postgres"
    user: str = "postgres"
    name: str = "postgres"
    cache: str = "redis"


@dataclass(frozen=True)
class CopySettings:
    """``[backup.copies.NAME]``: another repository that every verified set is copied to.

    Args:
        repository: as restic writes it: ``sftp:…``, ``rest:…``, ``s3:…``.
        password: the secret that encrypts it.
        ssh_key: the secret with the private key for ``sftp:``, its file as one line of base64.
        host_key: the public key of the ``sftp:`` server.
        credentials: restic's variables, each with the name of the secret that it gets.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    repository: str
    password: str = "restic_password"  # noqa: S105 - a name
    ssh_key: str = ""
    host_key: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that it needs."""
        return tuple(dict.fromkeys(name for name in (self.password, self.ssh_key, *self.credentials.values()) if name))


@dataclass(frozen=True)
class BackupSettings:
    """``[backup]``: the job that takes and restores sets, how old they may become, and its limits.

    ``stall`` and ``timeout`` are seconds, ``min_bytes`` is the smallest dump that counts as one.

    Args:
        duty: share of the time in which a backup works that nobody waits for.
        pitr: receive the write-ahead log, so that the database can be restored as it was at any moment.
        pitr_minutes: how often the received log goes to the repositories.
        pitr_slot_mb: how much of it the server keeps at most for a receiver that is away.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    service: str = "backup"
    db_hours: int = 26
    uploads_hours: int = 192
    certs_hours: int = 192
    keep_last: int = 3
    keep_daily: int = 7
    keep_weekly: int = 5
    keep_monthly: int = 12
    keep_yearly: int = 2
    keep_pre_deploy_days: int = 14
    min_bytes: int = 512
    stall: int = 120
    timeout: int = 14_400
    jobs: int = 1
    workers: int = 0
    duty: float = 0.25
    pitr: bool = False
    pitr_minutes: int = 15
    pitr_slot_mb: int = 4096
    base_hours: int = 192
    keep_bases: int = 3
    escrow: bool = True
    recipients: tuple[str, ...] = ()
    metrics: str = ""
    copies: Mapping[str, CopySettings] = field(default_factory=dict)

    @property
    def keep(self) -> tuple[int, ...]:
        """How many last, daily, weekly, monthly and yearly sets stay, and how many base backups where there are any."""
        numbers = (self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)
        return (*numbers, self.keep_bases) if self.pitr else numbers


@dataclass(frozen=True)
class ScheduleSettings:
    """``[schedule]``: when the host's timers run, as systemd's OnCalendar writes it.

    ``jitter`` and ``renew_jitter`` spread them and ``wait`` is how long they wait for the lock, all in minutes.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    renew: str = "*-*-* 01,13:47:00"
    rehearse: str = "Wed *-*-* 09:27:00"
    backup: str = "*-*-* 02:17:00"
    full: str = "Sun *-*-* 03:17:00"
    verify: str = "*-*-* 04:17:00"
    drill: str = "Sun *-*-* 05:17:00"
    prune: str = "*-*-* 06:17:00"
    base: str = "Sun *-*-* 00:47:00"
    jitter: int = 20
    renew_jitter: int = 120
    wait: int = 60


@dataclass(frozen=True)
class Migrations:
    """``[migrations]``: commands run once per deploy in the new image. ``first_install`` is for an empty database."""

    __pydantic_config__ = FORBID_UNKNOWN

    service: str
    command: tuple[str, ...]
    status: tuple[str, ...] = ()
    first_install: tuple[tuple[str, ...], ...] = ()
    timeout: int = 600


@dataclass(frozen=True)
class DeploySettings:
    """``[deploy]``: limits in seconds and what is kept."""

    __pydantic_config__ = FORBID_UNKNOWN

    health_timeout: int = 180
    drain: int = 60
    stop_grace: int = 30
    pull_timeout: int = 900
    monitor: int = 5
    max_failure_ratio: float = 0.05
    hook_timeout: int = 120
    lease: int = 45
    settle: int = 1
    retain: int = 5
    assets_hours: int = 48


@dataclass(frozen=True)
class Settings:
    """One environment's settings: flotteq.toml, the environment's tables over it, and the variables over both."""

    __pydantic_config__ = FORBID_UNKNOWN

    project: Project
    host: HostSettings
    registry: Registry
    services: Mapping[str, Service]
    edge: EdgeSettings = field(default_factory=EdgeSettings)
    acme: Acme = field(default_factory=Acme)
    limits: Limits = field(default_factory=Limits)
    server: ServerSettings = field(default_factory=ServerSettings)
    build: BuildSettings = field(default_factory=BuildSettings)
    secrets: Mapping[str, SecretSpec] = field(default_factory=dict)
    database: Database = field(default_factory=Database)
    backup: BackupSettings = field(default_factory=BackupSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    migrations: Migrations | None = None
    deploy: DeploySettings = field(default_factory=DeploySettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    environment: str = ""
    root: Path = field(default_factory=Path)
    env: Mapping[str, str] = field(default_factory=dict)
    # The overlay that the environment names and that no program has written: its values may be another machine's.
    absent: str = ""

    @property
    def directory(self) -> PurePosixPath:
        """The project directory on the host."""
        return PurePosixPath(self.project.directory)

    def with_receiver(self) -> "Settings":
        """These settings with the service that receives the write-ahead log, where ``backup.pitr`` wants it.

        It runs the image of the job that backs up; ``[services.wal-receiver]`` in flotteq.toml comes first.
        """
        job = self.services.get(self.backup.service)
        if not self.backup.pitr or job is None or RECEIVER in self.services:
            return self
        receiver = Service("tool", job.image, build=job.build, memory="128m", cpus="0.5", pids=64)
        return replace(self, services={**self.services, RECEIVER: receiver})

    def domain(self, service: str) -> str:
        """The public name of a service: its subdomain below the project's domain, ``@`` is the domain itself."""
        subdomain = self.services[service].subdomain
        if not subdomain:
            raise KeyError(service)
        return self.project.domain if subdomain == "@" else f"{subdomain}.{self.project.domain}"

    @property
    def public(self) -> dict[str, str]:
        """Public name of each service that has one, in the order of flotteq.toml."""
        return {name: self.domain(name) for name, service in self.services.items() if service.subdomain}

    def of_kind(self, kind: Kind) -> list[str]:
        """Names of the services of a kind, in the order of flotteq.toml."""
        return [name for name, service in self.services.items() if service.kind == kind]

    def repository(self, service: str, *, push: bool = False) -> str:
        """The image name of a service without tag; built services lie in the registry's namespace."""
        spec = self.services[service]
        if spec.build is None:
            return spec.image.rpartition(":")[0] if ":" in spec.image.rpartition("/")[2] else spec.image
        server = self.registry.push_server if push and self.registry.push_server else self.registry.server
        return "/".join(part for part in (server, self.registry.namespace, spec.image) if part)

    def reference(self, service: str, version: str, *, push: bool = False) -> str:
        """The image reference of a service: its own tag for third-party images, ``version`` for built ones."""
        spec = self.services[service]
        return spec.image if spec.build is None else f"{self.repository(service, push=push)}:{version}"


def variable(service: str, suffix: str) -> str:
    """A service's variable in the Compose file: ``frontend-client`` and ``image`` give FRONTEND_CLIENT_IMAGE."""
    return f"{service}_{suffix}".upper().replace("-", "_")
