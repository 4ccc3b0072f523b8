"""The whole way of a certificate: certbot and a real ACME server (Pebble), the edge answering the challenges."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from edge_bench import API, APP, OTHER, Edge, docker, put

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import CommandFailed, FlotteqError
from flotteq_tasks.model.events import Event, Note, Report, Warned
from flotteq_tasks.model.stack import Acme, Service, Settings
from flotteq_tasks.operations.certificates import Certificates, status
from flotteq_tasks.operations.edge import reload_edge
from flotteq_tasks.operations.sandbox.images import Images
from flotteq_tasks.operations.wait import wait_until
from flotteq_tasks.rendering.nginx import generation, render_edge

pytestmark = pytest.mark.host
ACME = "acme.flotteq-sandbox"


def start(network: str, *words: str) -> str:
    return docker("run", "--detach", "--network", network, *words).splitlines()[-1]


def address(container: str) -> str:
    return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)


@dataclass
class Stand:
    """An edge with an ACME server and certbot beside it."""

    edge: Edge
    settings: Settings
    certbot: str
    acme: str
    events: list[Event]

    def certificates(self, settings: Settings | None = None) -> Certificates:
        chosen = settings or self.settings
        compose = replace(self.edge.compose, certbot=self.certbot)

        def render(issued: bool) -> str:
            files = render_edge(replace(chosen, edge=self.edge.settings.edge), self.edge.upstreams, issued=issued)
            put(self.edge.files, files)
            return generation(files)

        return Certificates(LocalHost(), chosen, compose, Report(self.events.append), render)


@pytest.fixture
def stand(own_edge: Edge, edge_network: str, sandbox_images: Images) -> Iterator[Stand]:
    services = sandbox_images.services
    image = next(here for there, here in sandbox_images.served.items() if there.startswith("certbot/"))
    conf, www = (own_edge.directory / "certbot" / name for name in ("conf", "www"))
    conf.mkdir()
    started = [start(edge_network, services, "dns", address(own_edge.container))]
    try:
        started.append(start(edge_network, "--network-alias", ACME, services, "acme", f"{address(started[0])}:53"))
        question = ("curl", "-fsS", "--cacert", "/var/lib/acme/ca.pem", "https://localhost:15000/roots/0")
        root = wait_until(lambda: docker("exec", started[1], *question) if _answers(started[1], question) else None,
                          timeout=30, what="Pebble to answer", interval=0.2)  # fmt: skip
        ca = docker("exec", started[1], "cat", "/var/lib/acme/ca.pem")
        put(own_edge.directory, {"root.pem": f"{root}\n".encode(), "ca.pem": f"{ca}\n".encode()})
        started.append(start(
            edge_network, "--env", "REQUESTS_CA_BUNDLE=/etc/letsencrypt/acme-ca.pem",
            "--volume", f"{conf}:/etc/letsencrypt", "--volume", f"{www}:/var/www/acme",
            "--entrypoint", "sleep", image, "600",
        ))  # fmt: skip
        acme = Acme(
            directory=f"https://{ACME}:14000/dir",
            ca_file=str(own_edge.directory / "ca.pem"),
            root_file=str(own_edge.directory / "root.pem"),
        )
        settings = replace(own_edge.reach, acme=acme, root=Path("/"))
        yield Stand(own_edge, settings, started[2], started[1], [])
    finally:
        docker("rm", "--force", "--volumes", *started)


def _answers(container: str, question: tuple[str, ...]) -> bool:
    return "BEGIN CERTIFICATE" in docker("exec", container, *question, check=False)


def test_from_the_placeholder_to_a_trusted_certificate_and_on(stand: Stand) -> None:
    host = LocalHost()
    assert stand.certificates().init() is True
    first = status(host, stand.settings)
    assert [(one.name, one.problem, one.trusted) for one in first] == [(n, "", True) for n in (API, APP, OTHER)]
    assert len({one.serial for one in first}) == 1
    assert stand.edge.ask(APP, "/").header("Strict-Transport-Security")

    assert stand.certificates().init() is False
    assert Note("the certificate is not yet due; nothing changed") in stand.events
    assert stand.certificates().renew() is False
    assert stand.certificates().renew(dry_run=True) is False
    assert status(host, stand.settings) == first

    more = replace(
        stand.settings,
        services={**stand.settings.services, "shop": Service(kind="rolling", image="shop", port=1, subdomain="shop")},
    )
    # The edge must answer for a name before the server asks for it: that is what a deploy does.
    early = stand.certificates(more)
    reload_edge(host, stand.edge.compose, generation=early.render(True), drain=5)
    assert early.init() is True
    assert [one.problem for one in status(host, more)] == [""] * 4
    assert not [event for event in stand.events if isinstance(event, Warned)]


def test_a_server_that_is_down_changes_nothing(stand: Stand) -> None:
    docker("stop", "--time", "0", stand.acme)
    before = status(LocalHost(), stand.settings)
    with pytest.raises(CommandFailed) as caught:
        stand.certificates().init()
    assert ACME in caught.value.details
    with pytest.raises(FlotteqError, match="no certificate to renew"):
        stand.certificates().renew()
    assert status(LocalHost(), stand.settings) == before
