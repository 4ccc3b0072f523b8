"""A host with certificates for unit tests: no real server, only what travels between it and this machine."""

from collections.abc import Iterable, Mapping

import pytest
from certificate_issuer import NAMES, NOW, Authority

from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.events import Event, Report
from flotteq_tasks.model.stack import Acme, HostSettings, Project, Registry, Service, Settings
from flotteq_tasks.operations.certificates import Certificates, dns, probe, x509

CA = Authority()
CHAIN, KEY = CA.issue(NAMES)
LIVE = "/srv/fleet/certbot/conf/live/fleet"
TARGET = "rel-20270301T120000Z"
STAGING = "https://acme.example/dir"


def settings(**acme: str) -> Settings:
    return Settings(
        project=Project(name="fleet", domain="fleet.example", directory="/srv/fleet"),
        host=HostSettings(address="fleet.example"),
        registry=Registry(server="r"),
        services={
            "core": Service(kind="rolling", image="core", port=3000, subdomain="api", vhost="api"),
            "shop": Service(kind="rolling", image="shop", port=80, subdomain="shop"),
            "front": Service(kind="edge", image="nginx:1.30"),
        },
        acme=Acme(**{"directory": STAGING, **acme}),
    )


class Scene:
    """A host with its certificates, and what the edge shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, current: str = "placeholder", live: bool = True) -> None:
        self.links = {"current": current} if current else {}
        self.served = dict.fromkeys(NAMES, CHAIN)
        self.reloads: list[int] = []
        self.rendered: list[dict[str, str]] = []
        self.events: list[Event] = []
        self.wrong: dict[str, str] = {}
        self.mode = "600"
        self.clock = NOW
        self.host = FakeHost({
            "*ln -sfn*": lambda command, stdin: self._point(*command.argv()[-3:-1]),
            "*rm -rf --*": lambda command, stdin: self._leave(str(command)),
            "*certs/names/*": lambda command, stdin: "".join(f"{link} {one}\n" for link, one in self.links.items()),
            "*readlink current*": lambda command, stdin: self.current,
            "*kill -HUP*": lambda command, stdin: self.reloads.pop(0) if self.reloads else 0,
            "* nginx -e stderr -t *": "",
            "* certbot certonly *": "Certificate not yet due for renewal",
            "* certbot renew *": "",
            "rm -f *": "",
            "*stat -L*": lambda command, stdin: f"{self.mode}\n",
            "*date +%s*": lambda command, stdin: f"{self.clock.timestamp():.0f}\n192.0.2.10\n",
        })  # fmt: skip
        if live:
            self.host.files.update({f"{LIVE}/fullchain.pem": CHAIN, f"{LIVE}/privkey.pem": KEY})
        monkeypatch.setattr(probe, "show", self._show)
        monkeypatch.setattr(probe, "fetch", lambda s, name, address, token: (self.wrong.get(name, ""), True))
        monkeypatch.setattr(dns, "ask", lambda server, name, kind: ["192.0.2.10"] if kind == "A" else [])

    @property
    def current(self) -> str:
        """What the link to the certificate of all names leads to."""
        return self.links.get("current", "")

    def _point(self, place: str, target: str) -> str:
        self.links[f"{place}/current".removeprefix("/srv/fleet/certs/")] = target
        return ""

    def _leave(self, command: str) -> str:
        if command.startswith("rm"):
            self.links.pop(f"{command.rpartition('/srv/fleet/certs/')[2]}/current", None)
        return ""

    def _show(self, s: Settings, names: Iterable[str], *, verify: bool = True) -> list[probe.Shown]:
        return [probe.Shown(name, x509.read_pem(self.served[name])) for name in names]

    def serve(self, chain: bytes) -> None:
        """All names show this one."""
        self.served = dict.fromkeys(NAMES, chain)

    def render(self, links: Mapping[str, str]) -> str:
        self.rendered.append(dict(links))
        return "g"

    def use(self, target: str, chain: bytes, key: bytes = KEY) -> None:
        """What lies in a directory of certs/."""
        self.put(f"certs/{target}", chain, key)

    def put(self, place: str, chain: bytes, key: bytes) -> None:
        """What lies in a directory."""
        self.host.files.update({f"/srv/fleet/{place}/fullchain.pem": chain, f"/srv/fleet/{place}/privkey.pem": key})

    def certificates(self, chosen: Settings | None = None) -> Certificates:
        compose = Compose("fleet", "/srv/fleet")
        return Certificates(
            self.host, chosen or settings(), compose, Report(self.events.append), self.render, lambda: NOW
        )

    def said(self, word: str) -> list[str]:
        return [entry for entry in self.host.transcript if word in entry]
