"""What stands around the VPS: a registry, an ACME server and its DNS."""

from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations.sandbox import containers
from flotteq_tasks.operations.sandbox.containers import Definition
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.images import Images
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.sandbox.network import Network, free_registry_port
from flotteq_tasks.operations.sandbox.report import Report
from flotteq_tasks.operations.wait import wait_until

REGISTRY_SERVER = "registry.flotteq-sandbox:5000"
ACME_NAME = "acme.flotteq-sandbox"
ACME_DIRECTORY = f"https://{ACME_NAME}:14000/dir"
_REGISTRY_PORT = 5000
_REPOSITORIES = "/var/lib/registry/docker/registry/v2/repositories"
_CA = "/var/lib/acme/ca.pem"
_START_LIMIT = 30
_PUSH_LIMIT = 300


def ensure_services(docker: Docker, names: Names, network: Network, images: Images, report: Report) -> str:
    """Start the three services; return where this machine reaches the registry (``127.0.0.1:5555``)."""
    registry = Definition(
        names.registry,
        images.services,
        [
            *_attached(network, network.registry, REGISTRY_SERVER.partition(":")[0]),
            f"--volume={names.registry_volume}:/var/lib/registry",
        ],
        ["registry"],
    )
    dns = Definition(names.dns, images.services, _attached(network, network.dns), ["dns", network.host])
    acme = Definition(
        names.acme, images.services, _attached(network, network.acme, ACME_NAME), ["acme", f"{network.dns}:53"]
    )
    _ensure(docker, registry, report, port=_REGISTRY_PORT)
    _ensure(docker, dns, report)
    _ensure(docker, acme, report)
    return push_server(docker, names)


def push_server(docker: Docker, names: Names) -> str:
    """Return where this machine reaches the registry, or an empty string when there is none."""
    address, port = containers.published(docker, names.registry).get(_REGISTRY_PORT, ("", 0))
    return f"{address}:{port}" if address else ""


def _attached(network: Network, address: str, alias: str = "") -> list[str]:
    aliases = [f"--network-alias={alias}"] if alias else []
    return [f"--network={network.name}", f"--ip={address}", *aliases]


def _ensure(docker: Docker, definition: Definition, report: Report, port: int | None = None) -> None:
    if containers.is_current(docker, definition):
        if containers.state(docker, definition.name) != "running":
            report(f"starting {definition.name}")
            containers.start(docker, definition.name)
        return
    report(f"making {definition.name}")
    containers.remove(docker, definition.name)
    publish = [f"127.0.0.1:{free_registry_port()}:{port}"] if port else []
    containers.create(docker, definition, publish)


def serve_images(docker: Docker, names: Names, server: str, images: Images, report: Report) -> None:
    """Push the images that the VPS pulls as if from Docker Hub; what the registry has is not pushed again."""
    _wait_for_registry(docker, names.registry)
    for reference, image in images.served.items():
        repository, _, tag = reference.rpartition(":")
        image_id = str(docker.image_id(image)).removeprefix("sha256:")
        marker = f"sandbox-{image_id[:12]}"
        # The same content as both: an older image may have its marker there while the tag is a newer one's.
        links = (f"{_REPOSITORIES}/{repository}/_manifests/tags/{name}/current/link" for name in (tag, marker))
        if docker.exec(names.registry, "cmp", "-s", *links, check=False).ok:
            continue
        report(f"pushing {reference} to the sandbox's registry")
        # The marker comes last: it says that the tag is complete.
        for name in (tag, marker):
            target = f"{server}/{repository}:{name}"
            docker.run("tag", image, target)
            docker.run("push", "--quiet", target, timeout=_PUSH_LIMIT)
            docker.run("image", "rm", target)


def _wait_for_registry(docker: Docker, name: str) -> None:
    question = ("curl", "-fsS", "--max-time", "5", "-o", "/dev/null", f"http://localhost:{_REGISTRY_PORT}/v2/")
    wait_until(
        lambda: docker.exec(name, *question, check=False).ok or None,
        timeout=_START_LIMIT,
        what="the sandbox's registry to answer",
        hint=f"look at: docker logs {name}",
    )


def acme_certificates(docker: Docker, names: Names) -> tuple[str, str]:
    """Return two PEM texts: the CA of the ACME server's own HTTPS, and the root of what it issues."""
    question = ("curl", "-fsS", "--max-time", "5", "--cacert", _CA, "https://localhost:15000/roots/0")

    def root() -> str | None:
        try:
            return docker.exec(names.acme, *question).out
        except FlotteqError:
            return None

    issued_by = wait_until(
        root,
        timeout=_START_LIMIT,
        what="the sandbox's ACME server to answer",
        hint=f"look at: docker logs {names.acme}",
    )
    return docker.exec(names.acme, "cat", _CA).out, issued_by
