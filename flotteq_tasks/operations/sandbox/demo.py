"""The demo: build the sample, make secrets, obtain certificates, deploy to the sandbox host."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.commands import docker
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import Unhealthy
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations import images, secret_tasks, tls
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy import DeployRequest, deploy
from flotteq_tasks.operations.status import Status, status
from flotteq_tasks.settings import secrets as files

VERSION = Version("v1.0.0")


@dataclass(frozen=True)
class Demo:
    """What the demo shows at its end."""

    status: Status
    urls: tuple[str, ...]
    trust: tuple[str, ...]
    next_steps: tuple[tuple[str, str], ...]


def demo(site: Site, variables: Mapping[str, str]) -> Demo:
    """Deploy the sample to the sandbox host. Again: what is done is not done twice.

    Raises:
        Unhealthy: a service or a domain is not as it must be at the end.
    """
    make_images(site, VERSION)
    make_secrets(site.settings)
    tls.init(site, variables)
    deploy(site, DeployRequest(VERSION), variables)
    found = status(site)
    if not found.ok:
        wrong = [f"{one.service}: {one.problem}" for one in found.services if one.problem]
        raise Unhealthy(f"the demo ends with problems: {'; '.join(wrong)}", hint="inv status --env sandbox")
    return Demo(found, _urls(site.settings), _trust(site.settings), _NEXT)


def make_images(site: Site, version: Version) -> None:
    """Build and push a version of the sample where the registry does not have it yet."""
    local = LocalHost()
    absent = [
        name
        for name in images.built_services(site.settings)
        if not local.run(docker.manifest(site.settings.reference(name, str(version), push=True)), check=False).ok
    ]
    if absent:
        images.build(local, site.settings, version, absent, site.report, extra={})
        images.push(local, site.settings, version, absent, site.report)


def make_secrets(settings: Settings) -> None:
    """Generate what can be generated; the sandbox's supplied secrets are placeholders, no service is behind them."""
    secret_tasks.generate(settings)
    for name, spec in settings.secrets.items():
        if spec.source == "supplied" and files.read(settings.root, settings.environment, name) is None:
            files.write(settings.root, settings.environment, name, Secret(f"sandbox-{files.generate().reveal()}"))


def _urls(settings: Settings) -> tuple[str, ...]:
    port = "" if settings.edge.https_port == 443 else f":{settings.edge.https_port}"
    return tuple(
        f"https://{name}{port}{settings.services[service].health.path}" for service, name in settings.public.items()
    )


def _trust(settings: Settings) -> tuple[str, ...]:
    root = settings.acme.root_file
    resolve = "" if settings.edge.address == "127.0.0.1" else f" --connect-to ::{settings.edge.address}:"
    return (
        f"curl --cacert {root}{resolve} {_urls(settings)[0]}",
        f"a browser: import {root} as a certificate authority",
    )


_NEXT = (
    ("source .venv/bin/activate", "inv in this shell"),
    ("export FLOTTEQ_ENV=sandbox", "what follows is for the sandbox"),
    ("inv status", "what runs"),
    ("inv logs --service backend", "its log"),
    ("inv scale --service backend --replicas 3", "more containers, no failed request"),
    ("inv build --version v1.1.0", "the next version,"),
    ("inv push --version v1.1.0", "to the registry,"),
    ("inv deploy --version v1.1.0", "and live"),
    ("./scripts/demo --down", "remove everything"),
)
