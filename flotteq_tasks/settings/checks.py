"""What no type can say: rules across keys of flotteq.toml."""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from flotteq_tasks.model.stack import Acme, CopySettings, Service, Settings
from flotteq_tasks.settings import schema
from flotteq_tasks.settings.composefile import check_compose
from flotteq_tasks.settings.edge_checks import check_edge
from flotteq_tasks.settings.server_checks import check_server

__all__ = ["Finding", "check", "check_compose"]

Finding = tuple[schema.Path, str]

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
JUMP = re.compile(r"([^@\s]+@)?(\[[0-9A-Fa-f:.]+(%\w+)?\](:\d{1,5})?|[\w.-]+(:\d{1,5})?|[0-9A-Fa-f:]+:[0-9A-Fa-f:.]*)")
SHALLOW = frozenset(
    {"/home", "/usr/local", "/usr/bin", "/usr/lib", "/usr/share", "/var/lib", "/var/log", "/var/backups"}
)
# The first certbot that does what RFC 9773 says.
ASKS_WHEN = (4, 1)
# Ways to a repository that lies elsewhere, as restic names them.
COPY_KINDS = ("sftp", "rest", "s3", "b2", "azure", "gs", "swift")
AT_LEAST = {
    "health_timeout": 1,
    "drain": 0,
    "stop_grace": 1,
    "pull_timeout": 1,
    "monitor": 0,
    "retain": 1,
    "hook_timeout": 1,
    "lease": 8,
    "settle": 0,
}
LEAST_PIDS = 16
_BACKUP_AT_LEAST_1 = ("keep_last", "db_hours", "uploads_hours", "certs_hours", "min_bytes", "stall", "timeout", "jobs")
_PITR_AT_LEAST_1 = ("pitr_minutes", "pitr_slot_mb", "base_hours", "keep_bases")


def check(settings: Settings) -> list[Finding]:
    """Return a key path and a message for each rule that is broken."""
    parts = (
        _project,
        _host,
        _sources,
        _numbers,
        _edge,
        _domains,
        _services,
        _secrets,
        _references,
        check_edge,
        check_server,
    )
    return [finding for part in parts for finding in part(settings)]


def _project(settings: Settings) -> Iterator[Finding]:
    project = settings.project
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", project.name):
        yield ("project", "name"), f'"{project.name}" is no Compose project name: use a-z, 0-9, _ and -'
    if not _is_host_name(project.domain):
        yield ("project", "domain"), f'"{project.domain}" is no domain name: write it as in flotteq.com'
    for key in ("directory", "backups", "logs"):
        path = getattr(project, key)
        reason = _unsafe(path, allow=SHALLOW if key != "directory" else frozenset())
        if reason:
            yield ("project", key), f'"{path}" {reason}'
    if project.directory in {project.backups, project.logs}:
        yield ("project", "directory"), "is also the directory of backups or logs: give each its own"
    file = PurePosixPath(project.compose_file)
    if file.is_absolute() or ".." in file.parts or not file.name:
        yield ("project", "compose_file"), "must be a path inside the project"


def _unsafe(path: str, allow: frozenset[str]) -> str:
    """Say why files must not be written to a directory; empty when they may."""
    pure = PurePosixPath(path)
    if not pure.is_absolute():
        return "is not absolute: begin it with /"
    if ".." in pure.parts or "//" in path:
        return "must not contain .. or //"
    if not re.fullmatch(r"[A-Za-z0-9_./+@-]+", path):
        return "may have letters, digits and _ . / + @ - only"
    if len(pure.parts) < 3 or (str(pure) in SHALLOW and str(pure) not in allow):
        return "belongs to the system: use a directory of its own, like /opt/flotteq"
    return ""


def _host(settings: Settings) -> Iterator[Finding]:
    if not settings.host.address:
        yield ("host", "address"), 'is empty: write a name or an address, or "local" for this machine'
    if settings.host.jump and not JUMP.fullmatch(settings.host.jump):
        yield ("host", "jump"), f'"{settings.host.jump}" is no way through: write user@host:port, user@[IPv6]:port'
    for path, port in (
        (("host", "port"), settings.host.port),
        (("edge", "http_port"), settings.edge.http_port),
        (("edge", "https_port"), settings.edge.https_port),
    ):
        if not 1 <= port <= 65535:
            yield path, f"{port} is no port: 1 to 65535"
    if settings.edge.http_port == settings.edge.https_port:
        yield ("edge", "https_port"), f"{settings.edge.https_port} is also edge.http_port: give each its own"


def _sources(settings: Settings) -> Iterator[Finding]:
    for key in ("server", "push_server"):
        server = getattr(settings.registry, key)
        if "/" in server or (key == "server" and not server):
            yield ("registry", key), f'"{server}" is no registry: write host or host:port, without https:// and path'
    parts = urlsplit(settings.acme.directory)
    if parts.scheme != "https" or not parts.hostname:
        yield ("acme", "directory"), f'"{settings.acme.directory}" is no https URL'
    yield from _acme(settings.acme)


def _acme(acme: Acme) -> Iterator[Finding]:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", acme.profile):
        yield ("acme", "profile"), f'"{acme.profile}" is no name of a profile, such as tlsserver or shortlived'
    if acme.issuer and not _is_host_name(acme.issuer):
        yield (
            ("acme", "issuer"),
            f'"{acme.issuer}" is no domain name: write it as CAA records do, as in letsencrypt.org',
        )
    for key in ("resolvers", "addresses"):
        for value in getattr(acme, key):
            if not _is_address(value):
                yield ("acme", key), f'"{value}" is no IP address'


def _numbers(settings: Settings) -> Iterator[Finding]:
    for key, least in AT_LEAST.items():
        value = getattr(settings.deploy, key)
        if value < least:
            yield ("deploy", key), f"{value} is less than {least}"
    if not 0 <= settings.deploy.max_failure_ratio <= 1:
        yield ("deploy", "max_failure_ratio"), f"{settings.deploy.max_failure_ratio} is no share: 0.05 is 5 %"


def _edge(settings: Settings) -> Iterator[Finding]:
    edges = settings.of_kind("edge")
    if not edges:
        yield ("services",), 'none has kind = "edge": one must receive the requests of all domains'
    for name in edges[1:]:
        yield ("services", name, "kind"), f'services.{edges[0]} is the "edge" already: there is exactly one'


def _domains(settings: Settings) -> Iterator[Finding]:
    taken: dict[str, str] = {}
    for name, service in settings.services.items():
        subdomain = service.subdomain
        if subdomain is None:
            continue
        path = ("services", name, "subdomain")
        if subdomain != "@" and not re.fullmatch(LABEL, subdomain):
            yield path, f'"{subdomain}" is no DNS label: use a-z, 0-9 and -, or "@" for the domain itself'
            continue
        if service.kind in {"stateful", "edge"}:
            yield path, f"a service of kind {service.kind} has no public name: remove it"
        elif not service.port:
            yield (
                ("services", name, "port"),
                f'required key is missing: requests for subdomain "{subdomain}" go there',
            )
        if subdomain in taken:
            yield path, f"{settings.domain(name)} is already the domain of services.{taken[subdomain]}"
        taken.setdefault(subdomain, name)
        if service.assets and (service.vhost != "web" or not service.assets.startswith("/")):
            yield (
                ("services", name, "assets"),
                f'"{service.assets}" must be an absolute path in the image of a service with vhost = "web"',
            )


def _services(settings: Settings) -> Iterator[Finding]:
    for name, service in settings.services.items():
        if not re.fullmatch(LABEL, name):
            yield ("services", name), "is no service name: use a-z, 0-9 and -"
        for key, message in _service(service):
            yield ("services", name, *key), message
        release = re.search(r"/certbot:v?([0-9]+)(?:\.([0-9]+))?", service.image)
        if release and (int(release[1]), int(release[2] or 9)) < ASKS_WHEN:
            yield (
                ("services", name, "image"),
                f'"{service.image}" does not ask the authority when to renew: 4.1 or later',
            )


def _service(service: Service) -> Iterator[Finding]:
    tagged = ":" in service.image.rpartition("/")[2] or "@" in service.image
    if service.build is None and not tagged:
        yield (
            ("image",),
            f'"{service.image}" has no tag and no build: write image = "{service.image}:VERSION"',
        )
    if service.build is not None and tagged:
        yield ("image",), f'"{service.image}" has a tag, but it is built: the version of a deploy is its tag'
    if service.replicas < 1:
        yield ("replicas",), f"{service.replicas} is less than 1: `inv stop` stops a service"
    elif service.kind != "rolling" and service.replicas != 1:
        yield ("replicas",), f"{service.replicas} of a service of kind {service.kind}: it runs exactly once"
    if not 0 <= service.port <= 65535:
        yield ("port",), f"{service.port} is no port: 1 to 65535"
    if not re.fullmatch(r"[1-9][0-9]*[kmg]", service.memory):
        yield ("memory",), f'"{service.memory}" is no amount of memory: write it like "512m" or "1g"'
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", service.cpus) or float(service.cpus) == 0:
        yield ("cpus",), f'"{service.cpus}" is no number of CPUs: write it like "0.5" or "2"'
    if service.pids < LEAST_PIDS:
        yield ("pids",), f"{service.pids} is less than {LEAST_PIDS}: a check of its health alone needs some"
    if service.user and not re.fullmatch(r"[a-z_][a-z0-9_-]*|[0-9]+(?::[0-9]+)?", service.user):
        yield ("user",), f'"{service.user}" is no user: write a name of the image, or UID:GID like "1000:1000"'
    if not re.fullmatch(r"/[^\s'\"\\]*", service.health.path):
        yield ("health", "path"), f'"{service.health.path}" is no path: begin it with / and leave out spaces and quotes'


def _secrets(settings: Settings) -> Iterator[Finding]:
    for name in settings.secrets:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            yield ("secrets", name), "is no secret name: use a-z, 0-9 and _"


def _references(settings: Settings) -> Iterator[Finding]:
    database = settings.database
    yield from _refers(settings, ("database", "service"), database.service, "stateful")
    if database.cache:
        yield from _refers(settings, ("database", "cache"), database.cache, "stateful")
    yield from _backup(settings)
    if settings.migrations is not None:
        yield from _refers(settings, ("migrations", "service"), settings.migrations.service, "rolling")
        if not settings.migrations.command:
            yield ("migrations", "command"), "is empty: write the command and its arguments as an array"
        if not all(settings.migrations.first_install):
            yield ("migrations", "first_install"), "has an empty command"
        if settings.migrations.timeout < 1:
            yield ("migrations", "timeout"), f"{settings.migrations.timeout} is less than 1"


def _backup(settings: Settings) -> Iterator[Finding]:
    backup = settings.backup
    if backup.service in settings.services and not backup.pitr:
        yield from _refers(settings, ("backup", "service"), backup.service, "job")
    for key in ("jitter", "renew_jitter", "wait"):
        if getattr(settings.schedule, key) < 0:
            yield ("schedule", key), f"{getattr(settings.schedule, key)} is less than 0"
    for key in ("keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_pre_deploy_days", "workers"):
        if getattr(backup, key) < 0:
            yield ("backup", key), f"{getattr(backup, key)} is less than 0"
    least = {"duty": 0.01, **dict.fromkeys((*_BACKUP_AT_LEAST_1, *_PITR_AT_LEAST_1), 1)}
    for key, number in least.items():
        value = getattr(backup, key)
        if value < number:
            yield ("backup", key), f"{value} is less than {number}"
    if backup.pitr:
        yield from _refers(settings, ("backup", "service"), backup.service, "job")
    reason = _unsafe(backup.metrics, allow=frozenset()) if backup.metrics else ""
    if reason:
        yield ("backup", "metrics"), f'"{backup.metrics}" {reason}'
    yield from _at_most(settings)
    for name, copy in backup.copies.items():
        for key, message in _copy(settings, name, copy):
            yield ("backup", "copies", name, key), message


def _at_most(settings: Settings) -> Iterator[Finding]:
    for key, most in {"pitr_minutes": 59, "duty": 1}.items():
        value = getattr(settings.backup, key)
        if value > most:
            yield ("backup", key), f"{value} is more than {most}"


def _copy(settings: Settings, name: str, copy: CopySettings) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        yield "repository", f'"{name}" is no name of a copy: use a-z, 0-9 and -'
    kind, _, rest = copy.repository.partition(":")
    if kind not in COPY_KINDS or not rest:
        yield "repository", f'"{copy.repository}" is none of {", ".join(f"{one}:…" for one in COPY_KINDS)}'
    elif urlsplit(rest if "://" in rest else f"//{rest}").password:
        yield "repository", "has a password in it: put it into a secret and name that in credentials"
    if kind == "sftp":
        if not copy.ssh_key:
            yield "ssh_key", "is missing: the secret that holds the private key"
        if not re.fullmatch(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+", copy.host_key):
            yield "host_key", "must be the server's public key, such as ssh-ed25519 AAAA…: ssh-keyscan -t ed25519 HOST"
    for secret in copy.secrets:
        if secret not in settings.secrets:
            key = next((one for one in ("password", "ssh_key") if getattr(copy, one) == secret), "credentials")
            yield key, f'no secret "{secret}": add it to [secrets]'


def _refers(settings: Settings, path: schema.Path, name: str, kind: str) -> Iterator[Finding]:
    service = settings.services.get(name)
    if service is None:
        near = schema.nearest(name, settings.services)
        advice = f', did you mean "{near}"?' if near else f"; there are: {', '.join(settings.services)}"
        yield path, f'no service "{name}"{advice}'
    elif service.kind != kind:
        yield path, f'services.{name} is of kind "{service.kind}", it must be "{kind}"'


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(name: str) -> bool:
    return len(name) <= 253 and "." in name and all(re.fullmatch(LABEL, label) for label in name.split("."))
