"""A real nginx with the rendered set, started for the tests."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from edge_bench import GENEROUS, ISSUED, Apps, Edge, Listener, docker, put, small_settings

from flotteq_tasks.model.edge import EdgeSettings, Limits
from flotteq_tasks.operations.certificates import x509
from flotteq_tasks.operations.sandbox.images import Images
from flotteq_tasks.operations.wait import wait_until
from flotteq_tasks.rendering.nginx import render_edge


class Starter(Protocol):
    """Starts an edge."""

    def __call__(self, limits: Limits, edge: EdgeSettings = ...) -> Edge:
        """With limits and settings of its own."""


@pytest.fixture(scope="session")
def edge_image(sandbox_images: Images) -> str:
    """The edge's image as the sandbox has it."""
    return sandbox_images.frontend


@pytest.fixture(scope="session")
def apps() -> Iterator[int]:
    """Port of the apps on all addresses of this machine."""
    server = Listener(("0.0.0.0", 0), Apps)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture(scope="session")
def edge_network() -> Iterator[str]:
    """A network of its own: Docker's DNS, as in the stack."""
    name = f"flotteq-edge-{socket.gethostname()[:8]}-{threading.get_native_id()}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture(scope="session")
def start_edge(
    edge_image: str, edge_network: str, apps: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Starter]:
    """Start an edge with given limits."""
    gateway = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", edge_network)
    started: list[str] = []

    def start(limits: Limits, edge: EdgeSettings = EdgeSettings()) -> Edge:  # noqa: B008 - frozen
        base = tmp_path_factory.mktemp("edge")
        nginx, certs, acme = (base / name for name in ("nginx", "certs", "certbot/www"))
        for folder in (base, nginx, certs / "placeholder", acme / ".well-known/acme-challenge"):
            folder.mkdir(parents=True, exist_ok=True)
        settings = small_settings(apps, limits, base, edge)
        upstreams = {"backend": [gateway], "frontend-client": [gateway], "frontend-internal": ["not-there"]}
        put(nginx, render_edge(settings, upstreams, certificates=ISSUED))
        chain, key = x509.make_placeholder(x509.utc_now())
        put(certs, {"placeholder/fullchain.pem": chain, "placeholder/privkey.pem": key})
        (certs / "current").symlink_to("placeholder")
        put(acme, {".well-known/acme-challenge/token": b"proof"})
        container = docker(
            "run", "--detach", "--network", edge_network, "--publish", "127.0.0.1::80", "--publish", "127.0.0.1::443",
            "--publish", "127.0.0.1::443/udp",
            "--volume", f"{nginx}:/etc/nginx/flotteq:ro", "--volume", f"{certs}:/etc/nginx/certs:ro",
            "--volume", f"{acme}:/var/www/acme:ro", edge_image,
            "nginx", "-c", "/etc/nginx/flotteq/nginx.conf", "-g", "daemon off;",
        )  # fmt: skip
        started.append(container)
        running = Edge(container, base, settings, upstreams)
        wait_until(running.generation, timeout=20, what="nginx to start", interval=0.1)
        running.find_ports()
        return running

    yield start
    for container in started:
        docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="session")
def edge(start_edge: Starter) -> Edge:
    """An edge whose limits do not get in the way."""
    return start_edge(GENEROUS)


@pytest.fixture(scope="session")
def everyday_edge(start_edge: Starter) -> Edge:
    """An edge with the limits that everybody has, but for few open requests; it believes a header who asks."""
    limits = replace(Limits(), api_connections=8)
    return start_edge(limits, EdgeSettings(trusted_proxies=("172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8")))


@pytest.fixture
def own_edge(start_edge: Starter) -> Edge:
    """An edge that one test may break."""
    return start_edge(GENEROUS)
