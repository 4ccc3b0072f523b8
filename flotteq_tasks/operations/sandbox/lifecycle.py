"""Up, down, status, reboot of a sandbox."""

from dataclasses import dataclass
from pathlib import Path

from flotteq_tasks.host.base import Done
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.operations.sandbox import containers, files, machine, recipes
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.engine import ensure_engine
from flotteq_tasks.operations.sandbox.files import Sandbox
from flotteq_tasks.operations.sandbox.images import Images, ensure_image, ensure_images, remove_images
from flotteq_tasks.operations.sandbox.machine import Published
from flotteq_tasks.operations.sandbox.names import DEFAULT_INSTANCE, Names
from flotteq_tasks.operations.sandbox.network import ensure_network
from flotteq_tasks.operations.sandbox.report import Progress, Report
from flotteq_tasks.operations.sandbox.services import (
    REGISTRY_SERVER,
    acme_certificates,
    ensure_services,
    push_server,
    serve_images,
)


@dataclass(frozen=True)
class SandboxStatus:
    """What there is of a sandbox.

    Args:
        instance: its name.
        containers: name → running, exited, … or absent.
        published: where it is reached; None when it was never made.
    """

    instance: str
    containers: dict[str, str]
    published: Published | None

    @property
    def up(self) -> bool:
        """Whether all of it runs."""
        return all(state == "running" for state in self.containers.values())


def up(root: Path, report: Report, *, instance: str = DEFAULT_INSTANCE) -> Sandbox:
    """Make a sandbox, or bring one back; what is there and current stays as it is.

    Args:
        root: the repository; nothing outside of it is written.
        report: takes progress lines.
        instance: prefix of all names, for a second one beside the first.

    Raises:
        UsageError: the directory is no checkout of flotteq-tasks.
        PreflightFailed: this machine lacks something that cannot be installed.
        FlotteqError: something did not build or did not answer in time.
    """
    require_checkout(root)
    names = Names(instance)
    progress = Progress(report)
    with files.alone(root):
        docker, images = _prepare(root, progress)
        network = ensure_network(docker, names.network)
        server = ensure_services(docker, names, network, images, progress)
        where = machine.ensure_machine(docker, names, network, images.host, progress)
        serve_images(docker, names, server, images, progress)
        sandbox = Sandbox(
            instance=instance,
            state=names.state(root),
            ssh_address=where.ssh_address,
            ssh_port=where.ssh_port,
            edge=where.edge,
            push_server=server,
            dns=network.dns if network.reachable else "",
            build_args={
                "NODE_IMAGE": images.node,
                "NGINX_IMAGE": images.frontend,
                "POSTGRES_IMAGE": images.postgres,
                "RESTIC_IMAGE": images.debian,
            },
        )
        machine.authorize(docker, names, files.ensure_identity(sandbox.key_file))
        files.write_known_hosts(sandbox, machine.host_keys(docker, names))
        files.write_certificates(sandbox, *acme_certificates(docker, names))
        files.write_environment(root, sandbox)
        machine.wait_for_machine(docker, names)
    progress(f"the sandbox is up: ssh {where.ssh_address}:{where.ssh_port}, https {where.edge.address}")
    return sandbox


def up_bare(root: Path, report: Report, *, instance: str = DEFAULT_INSTANCE) -> Sandbox:
    """Make a host with systemd and sshd and nothing else, beside a sandbox that is up; one that is there is replaced.

    It has the sandbox's registry, and the key of the returned sandbox for root. Errors as ``up``.
    """
    names, progress = Names(instance), Progress(report)
    bare = names.bare
    with files.alone(root):
        docker = ensure_engine(LocalHost(cwd=root), root / ".sandbox", progress)
        image = ensure_image(docker, root, root / ".sandbox", recipes.BARE, progress)
        network = ensure_network(docker, names.network)
        machine.remove_machine(docker, bare)
        where = machine.ensure_machine(docker, bare, network, image, progress, address=network.bare)
        sandbox = Sandbox(
            instance=bare.instance,
            state=bare.state(root),
            ssh_address=where.ssh_address,
            ssh_port=where.ssh_port,
            edge=where.edge,
            push_server=push_server(docker, names),
            dns=network.dns if network.reachable else "",
            build_args={},
        )
        machine.authorize(docker, bare, files.ensure_identity(sandbox.key_file), users=["root"])
        files.write_known_hosts(sandbox, machine.host_keys(docker, bare))
        files.write_certificates(sandbox, *acme_certificates(docker, names))
        files.write_environment(root, sandbox)
        machine.wait_for_login(docker, bare)
    return sandbox


def prepare(root: Path, report: Report) -> Images:
    """Install and start Docker where it is missing and build the images; no sandbox is started.

    Raises:
        PreflightFailed, FlotteqError: as ``up``.
    """
    require_checkout(root)
    with files.alone(root):
        return _prepare(root, Progress(report))[1]


def require_checkout(root: Path) -> None:
    """The sandbox's images are built from files that only the repository has.

    Raises:
        UsageError: they are not there.
    """
    if not (root / "sandbox" / "host" / "Dockerfile").is_file():
        raise UsageError(
            f"the sandbox needs a checkout of flotteq-tasks, {root} is none",
            hint="run inv sandbox.up in a clone of the repository; a project of your own needs a host: inv doctor",
        )


def _prepare(root: Path, progress: Progress) -> tuple[Docker, Images]:
    docker = ensure_engine(LocalHost(cwd=root), root / ".sandbox", progress)
    return docker, ensure_images(docker, root, root / ".sandbox", progress)


def down(root: Path, report: Report, *, instance: str = DEFAULT_INSTANCE, purge: bool = False) -> None:
    """Remove a sandbox's containers, volumes, network and files.

    Args:
        purge: also remove the images of all sandboxes, and those that were tagged for their registry.
    """
    names = Names(instance)
    docker = Docker(LocalHost(cwd=root))
    if not docker.run("version", timeout=20, check=False).ok:
        report("no Docker engine runs: nothing to remove")
        return
    with files.alone(root):
        report(f"removing {instance}")
        registries = [server for server in (REGISTRY_SERVER, push_server(docker, names)) if server]
        machine.remove_machine(docker, names.bare)
        machine.remove_machine(docker, names)
        containers.remove(docker, *names.containers)
        docker.run("volume", "rm", "--force", names.registry_volume, timeout=120, check=False)
        if docker.inspect("network", names.network):
            docker.run("network", "rm", names.network)
        if purge:
            remove_images(docker, registries, report)
        files.remove(names.bare.state(root))
        files.remove(names.state(root))


def status(root: Path, *, instance: str = DEFAULT_INSTANCE) -> SandboxStatus:
    """Return what there is of a sandbox; nothing is changed."""
    names = Names(instance)
    docker = Docker(LocalHost(cwd=root))
    states = {name: containers.state(docker, name) for name in names.containers}
    return SandboxStatus(instance, states, machine.published(docker, names))


def reboot(*, instance: str = DEFAULT_INSTANCE) -> None:
    """Reboot the VPS and wait until its sshd and its Docker engine answer again."""
    machine.reboot_machine(Docker(LocalHost()), Names(instance))


def exec_on_host(
    *words: str, instance: str = DEFAULT_INSTANCE, timeout: float = 60, check: bool = True, stdin: bytes = b""
) -> Done:
    """Run a command as root inside the VPS, past its sshd: for tests."""
    return Docker(LocalHost()).exec(Names(instance).host, *words, timeout=timeout, check=check, stdin=stdin)
