"""The files of a release in the project directory: the Compose file, its entrypoints and .env."""

from pathlib import Path, PurePosixPath

from flotteq_tasks.host.base import Done, File
from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import RECEIVER, Settings, variable
from flotteq_tasks.rendering import resources
from flotteq_tasks.settings import envfile

# The Compose file's key of the edge's network with IPv6: a name of its own, because a network cannot be changed.
EDGE_IPV6 = "edge6"
# Where the certbot container sees the CA of a private ACME server.
ACME_CA = "/etc/letsencrypt/acme-ca.pem"


def compose_name(settings: Settings) -> str:
    """The Compose file's name in the project directory."""
    return PurePosixPath(settings.project.compose_file).name


def compose_source(settings: Settings) -> Path:
    """The Compose file on this machine: the project's own, else the delivered one.

    Raises:
        SettingsError: there is none.
    """
    own = settings.root / settings.project.compose_file
    return own if own.is_file() else resources.find(settings.root, "compose", compose_name(settings))


def secret_path(name: str, fingerprint: str) -> str:
    """A secret version's file, relative to the project directory."""
    return f"./secrets/{name}.{fingerprint}"


def environment(settings: Settings, release: Release) -> dict[str, str]:
    """The variables that the Compose file is filled with. A service without image keeps the file's default."""
    values = dict(settings.env)
    for name, service in settings.services.items():
        if name in release.images:
            values[variable(name, "image")] = release.images[name]
        values[variable(name, "memory")] = service.memory
        values[variable(name, "cpus")] = service.cpus
        values[variable(name, "pids")] = str(service.pids)
        if service.user:
            # Not USER: Postgres's own POSTGRES_USER is a role.
            values[variable(name, "run_as")] = service.user
        if service.kind == "rolling":
            values[variable(name, "replicas")] = str(release.replicas.get(name, service.replicas))
    # A release that was read back has them in another order, and the same settings must give the same file.
    for name, fingerprint in sorted(release.secrets.items()):
        values[variable(name, "file")] = secret_path(name, fingerprint)
    # Compose does not read it; it tells which release's files lie in the project directory.
    values["FLOTTEQ_RELEASE"] = release.id
    values["DB_USER"] = settings.database.user
    values["DB_NAME"] = settings.database.name
    values.update(backup_variables(settings))
    if settings.edge.ipv6_subnet:
        values.update(EDGE_NETWORK=EDGE_IPV6, EDGE_IPV6_SUBNET=settings.edge.ipv6_subnet)
    values["ACME_CA_BUNDLE"] = ACME_CA if settings.acme.ca_file else ""
    return values


def backup_variables(settings: Settings) -> dict[str, str]:
    """What the job that backs up is told, and whether there is a receiver of the write-ahead log."""
    backup = settings.backup
    receiver = {f"{variable(RECEIVER, 'replicas')}": "1", variable(RECEIVER, "slot_mb"): str(backup.pitr_slot_mb)}
    return {
        **(receiver if backup.pitr else {}),
        "BACKUP_NAME": f"{settings.project.name}-{settings.environment}",
        "BACKUP_DIRECTORY": settings.project.backups,
        "BACKUP_FLOOR": str(backup.min_bytes),
        "BACKUP_STALL": str(backup.stall),
        "BACKUP_LIMIT": str(backup.timeout),
        "BACKUP_JOBS": str(backup.jobs),
        "BACKUP_WORKERS": str(backup.workers),
        "BACKUP_DUTY": f"{backup.duty:g}",
        "BACKUP_KEEP": " ".join(str(number) for number in backup.keep),
    }


def release_files(settings: Settings, release: Release) -> dict[str, File]:
    """Path in the project directory and content of each file that Compose reads or mounts."""
    source = compose_source(settings)
    text = envfile.render(environment(settings, release))
    files = {
        compose_name(settings): File(source.read_bytes()),
        # It holds no secret, but configuration is nobody else's business.
        ".env": File(text.encode(), mode=0o640),
    }
    entrypoints = source.parent / "entrypoint"
    for script in sorted(entrypoints.iterdir()) if entrypoints.is_dir() else ():
        files[f"entrypoint/{script.name}"] = File(script.read_bytes(), mode=0o755)
    return files


def unreadable(settings: Settings, done: Done, root: str) -> SettingsError:
    """Why Compose could not read staged files, in words of the files on this machine.

    Args:
        done: the call of Compose that failed.
        root: the directory on the host that they were written to.
    """
    source = compose_source(settings)
    local = str(source.relative_to(settings.root) if source.is_relative_to(settings.root) else source)
    said = (done.err.strip() or done.out.strip()).replace(f"{root}/{compose_name(settings)}", local)
    lines = said.splitlines() or [f"exit code {done.code}"]
    return SettingsError(
        f"{local}: Compose cannot read it: {lines[-1]}",
        hint=f"edit {local}; to check it here: docker compose --file {local} config --no-interpolate --quiet",
        details="\n".join(lines[-20:]) if len(lines) > 1 else "",
    )


def comparable(content: bytes) -> bytes:
    """A file's content without the release's id: two releases with the same settings have the same .env."""
    return b"\n".join(line for line in content.split(b"\n") if not line.startswith(b"FLOTTEQ_RELEASE="))
