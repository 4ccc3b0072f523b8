"""The whole way of a certificate: certbot and a real ACME server (Pebble), the edge answering the challenges."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from edge_bench import API, APP, OTHER, Edge, docker, put

from flotteq_tasks.commands import certbot, nginx, renewal
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, PreflightFailed, Unhealthy
from flotteq_tasks.model.events import Event, Note, Report, Warned
from flotteq_tasks.model.stack import Acme, Service, Settings
from flotteq_tasks.operations.certificates import Certificates, overview, status, x509
from flotteq_tasks.operations.edge import TAKEN, reload_edge
from flotteq_tasks.operations.sandbox.images import Images
from flotteq_tasks.operations.wait import wait_until
from flotteq_tasks.rendering.nginx import generation, render_edge

pytestmark = pytest.mark.host
ACME = "acme.flotteq-sandbox"
SHOP = "shop.fleet.localhost"
NAMES = [API, APP, OTHER]
# Seconds for all that can happen to a certificate: 30 on two cores that have nothing else to do, here with neighbours.
ALL_LIMIT = 60
# A second profile: certificates of six days, as Let's Encrypt issues them.
SIX_DAYS = 160 * 3600


def start(network: str, *words: str) -> str:
    return docker("run", "--detach", "--network", network, *words).splitlines()[-1]


def address(container: str) -> str:
    return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)


@dataclass
class Stand:
    """An edge with an ACME server, its DNS and certbot beside it."""

    edge: Edge
    acme_settings: Acme
    certbot: str
    acme: str
    dns: str
    events: list[Event]

    @property
    def settings(self) -> Settings:
        """The three names of the edge."""
        return replace(self.edge.reach, acme=self.acme_settings, root=Path("/"))

    @property
    def more(self) -> Settings:
        """One name more."""
        shop = Service(kind="rolling", image="shop", port=1, subdomain="shop")
        return replace(self.settings, services={**self.settings.services, "shop": shop})

    @property
    def conf(self) -> Path:
        """certbot's directory."""
        return self.edge.directory / "certbot/conf"

    def certificates(self, settings: Settings | None = None) -> Certificates:
        chosen = settings or self.settings
        compose = replace(self.edge.compose, certbot=self.certbot)

        def render(links: Mapping[str, str]) -> str:
            files = render_edge(replace(chosen, edge=self.edge.settings.edge), self.edge.upstreams, certificates=links)
            put(self.edge.files, files)
            for server in (self.edge.files / "servers").glob("*.conf"):
                if f"servers/{server.name}" not in files:
                    server.unlink()
            return generation(files)

        return Certificates(LocalHost(), chosen, compose, Report(self.events.append), render)

    def answer_for(self, settings: Settings) -> None:
        """Let the edge answer for the names: that is what a deploy does before a certificate is ordered."""
        certificates = self.certificates(settings)
        generation = certificates.render(certificates.place.links())
        reload_edge(LocalHost(), self.edge.compose, generation=generation, drain=5)

    @property
    def each(self) -> Settings:
        """Each of the three names with a certificate of its own."""
        return replace(self.settings, acme=replace(self.acme_settings, layout="each"))

    def timer(self) -> Done:
        """What a timer runs on the host, twice a day."""
        compose = replace(self.edge.compose, certbot=self.certbot)
        (self.edge.directory / "state").mkdir(exist_ok=True)
        job = renewal.job(
            str(self.edge.directory), shared="fleet", names=self.settings.public.values(),
            renew=certbot.renew(compose, profile=self.acme_settings.profile),
            reload=nginx.reload(compose, generation="", taken=TAKEN), stack="fleet-test", port=self.edge.https_port,
        )  # fmt: skip
        return LocalHost().run(job, timeout=120, check=False)

    def served(self, settings: Settings | None = None) -> str:
        """The serial number that every name serves, trusted and the same as the file's."""
        (serial,) = set(self.serials(settings or self.settings).values())
        return serial

    def serials(self, settings: Settings) -> dict[str, str]:
        """The serial number that each name serves, trusted and the same as the file's."""
        found = status(LocalHost(), settings)
        assert [(one.name, one.problem) for one in found] == [(one.name, "") for one in found]
        return {one.name: one.serial for one in found}

    def want_renewal(self, certificate: str = "fleet") -> None:
        """Let the ACME server say that the certificate should have been renewed an hour ago (ARI)."""
        chain = (self.conf / f"live/{certificate}/fullchain.pem").read_text()
        end = "-----END CERTIFICATE-----\n"
        now = x509.utc_now()
        window = {"start": now - timedelta(hours=2), "end": now - timedelta(hours=1)}
        answer = {"suggestedWindow": {key: f"{one:%Y-%m-%dT%H:%M:%SZ}" for key, one in window.items()}}
        body = {"Certificate": chain.partition(end)[0] + end, "ARIResponse": json.dumps(answer)}
        place = "https://localhost:15000/set-renewal-info/"
        docker("exec", self.acme, "curl", "-fsS", "--cacert", "/var/lib/acme/ca.pem", "-d", json.dumps(body), place)
        # certbot asks again only after the server's own pause, six hours; here they have passed.
        self.edit("/^ari_retry_after/d", certificate)

    def make_due(self) -> None:
        """Let certbot take the certificate for due, whatever the server says."""
        self.edit("1i renew_before_expiry = 3650 days")

    def edit(self, expression: str, certificate: str = "fleet") -> None:
        """Change what certbot keeps of the certificate."""
        docker("exec", self.certbot, "sed", "-i", expression, f"/etc/letsencrypt/renewal/{certificate}.conf")

    def say_in_dns(self, what: str, **body: object) -> None:
        """Let the DNS server answer differently."""
        docker("exec", self.dns, "curl", "-fsS", "-d", json.dumps(body), f"http://127.0.0.1:8055/{what}")


@pytest.fixture
def stand(own_edge: Edge, edge_network: str, sandbox_images: Images) -> Iterator[Stand]:
    services = sandbox_images.services
    image = next(here for there, here in sandbox_images.served.items() if there.startswith("certbot/"))
    conf, www = (own_edge.directory / "certbot" / name for name in ("conf", "www"))
    conf.mkdir()
    started = [start(edge_network, services, "dns", address(own_edge.container))]
    try:
        started.append(_start_acme(own_edge, edge_network, services, f"{address(started[0])}:53"))
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
            profile="default",
            resolvers=(address(started[0]),),
            addresses=(address(own_edge.container),),
        )
        yield Stand(own_edge, acme, started[2], started[1], started[0], [])
    finally:
        docker("rm", "--force", "--volumes", *started)


def _start_acme(edge: Edge, network: str, image: str, dns: str) -> str:
    """Pebble with a second profile: without a wish it would choose one of them at random."""
    settings = json.loads(docker("run", "--rm", "--entrypoint", "cat", image, "/etc/sandbox/pebble.json"))
    settings["pebble"]["profiles"]["shortlived"] = {"description": "six days", "validityPeriod": SIX_DAYS}
    put(edge.directory, {"pebble.json": json.dumps(settings).encode()})
    mounted = f"{edge.directory}/pebble.json:/etc/sandbox/pebble.json:ro"
    return start(network, "--network-alias", ACME, "--volume", mounted, image, "acme", dns)


def _answers(container: str, question: tuple[str, ...]) -> bool:
    return "BEGIN CERTIFICATE" in docker("exec", container, *question, check=False)


def test_all_that_happens_to_a_certificate_and_the_right_one_is_served_each_time(
    stand: Stand, say: Callable[[str], None]
) -> None:
    began = last = time.monotonic()
    took: list[str] = []

    def lap(what: str) -> None:
        nonlocal last
        took.append(f"{what} {time.monotonic() - last:.1f}")
        last = time.monotonic()

    stand.answer_for(stand.settings)
    assert stand.edge.ask(APP, "/").header("Strict-Transport-Security") is None
    assert stand.certificates().init() is True
    assert stand.edge.ask(APP, "/").header("Strict-Transport-Security")
    serials = [stand.served()]
    lap("first")

    stand.want_renewal()
    done = stand.timer()
    assert done.ok and "is in use" in done.out, done
    serials.append(stand.served())
    lap("renewal that the server wants")

    stand.answer_for(stand.more)
    assert stand.certificates(stand.more).init() is True
    serials.append(stand.served(stand.more))
    lap("name added")

    assert stand.certificates().init() is True
    serials.append(stand.served())
    # The edge has no certificate to show for it, and shows none.
    assert "unrecognized name" in status(LocalHost(), stand.more)[-1].problem.lower()
    assert len(set(serials)) == 4
    lap("name lost")

    docker("stop", "--time", "0", stand.acme)
    stand.make_due()
    done = stand.timer()
    assert (done.code, "certbot did not renew" in done.err) == (1, True)
    assert stand.served() == serials[-1]
    lap("server down")

    # The file that nginx reads: the running one does not notice, its next start would fail.
    current = stand.edge.directory / "certs/current/fullchain.pem"
    current.write_text("garbage")
    assert {one.problem for one in status(LocalHost(), stand.settings)} == {
        "the file on the host cannot be read, a restart would fail: inv ssl.renew"
    }
    assert "is in use" in stand.timer().out
    # certbot's own file.
    (stand.conf / "live/fleet/privkey.pem").resolve().write_text("garbage")
    done = stand.timer()
    assert (done.code, "privkey.pem is none" in done.err) == (1, True)
    stand.edge.restart()
    assert stand.served() == serials[-1]
    lap("damaged files")

    seconds = time.monotonic() - began
    say(f"a certificate's life: {seconds:.1f} s ({', '.join(took)})")
    assert seconds < ALL_LIMIT


def test_a_certificate_for_each_name_and_the_right_one_is_served_each_time(
    stand: Stand, say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    stand.answer_for(stand.settings)
    assert stand.certificates().init() is True
    shared = stand.served()

    # To one for each: the shared one serves until they do, and then lies around nowhere.
    stand.say_in_dns("set-servfail", host=OTHER)
    with pytest.raises(Unhealthy, match=f"other certificates are in use, but 1 of 3 names .* {OTHER}"):
        stand.certificates(stand.each).init()
    found = {one.name: one for one in status(LocalHost(), stand.each)}
    assert (found[OTHER].serial, found[API].problem, found[APP].problem) == (shared, "", "")
    assert f"acme.layout wants the certificate {OTHER}" in found[OTHER].problem
    stand.say_in_dns("clear-servfail", host=OTHER)
    assert stand.certificates(stand.each).init() is True
    first = stand.serials(stand.each)
    assert len({*first.values(), shared}) == 4
    certs = stand.edge.directory / "certs"
    assert (certs / "current").readlink().name == "placeholder" and not list(certs.glob("rel-*"))

    # One is renewed; a damaged store of another one does not keep it from that.
    stand.want_renewal(APP)
    key = (stand.conf / f"live/{API}/privkey.pem").resolve()
    whole = key.read_bytes()
    key.write_text("garbage")
    done = stand.timer()
    assert (done.code, "privkey.pem is none" in done.err, f"{APP} of rel-" in done.out) == (1, True, True), done
    second = stand.serials(stand.each)
    assert [name for name in NAMES if first[name] != second[name]] == [APP]
    key.write_bytes(whole)

    # A name that went takes its certificate along, the others keep theirs; nginx starts with what is there.
    services = {name: one for name, one in stand.each.services.items() if name != "frontend-internal"}
    less = replace(stand.each, services=services)
    stand.answer_for(less)
    assert stand.certificates(less).init() is False
    stand.edge.restart()
    assert stand.serials(replace(less, edge=stand.edge.reach.edge)) == {name: second[name] for name in (API, APP)}
    assert not (certs / "names" / OTHER).exists()

    # Back to one: certbot still has it, nothing is ordered.
    stand.answer_for(stand.settings)
    assert stand.certificates().init() is True
    assert stand.served() == shared
    assert not list((certs / "names").glob("*"))
    say(f"certificates of their own: {time.monotonic() - began:.1f} s")


def test_nothing_changes_while_nothing_is_due_and_a_rehearsal_leaves_no_trace(stand: Stand) -> None:
    assert stand.certificates().init() is True
    first = status(LocalHost(), stand.settings)
    assert [(one.name, one.problem, one.trusted) for one in first] == [(name, "", True) for name in NAMES]
    kept = sorted(stand.conf.glob("**/*.pem")) + sorted(stand.conf.glob("renewal/*"))
    assert stand.certificates().init() is False
    assert Note("the certificate is not yet due; nothing changed") in stand.events
    assert stand.certificates().renew() is False
    assert stand.certificates().renew(dry_run=True) is False
    assert sorted(stand.conf.glob("**/*.pem")) + sorted(stand.conf.glob("renewal/*")) == kept
    assert status(LocalHost(), stand.settings) == first
    assert not [event for event in stand.events if isinstance(event, Warned)]


def test_status_knows_when_the_server_wants_a_renewal_and_how_the_last_one_ended(stand: Stand) -> None:
    certificates = stand.certificates()
    certificates.init()
    before = overview(LocalHost(), stand.settings, certificates.containers)
    assert before.ok and before.last is None
    end = before.names[0].not_after
    assert end is not None and before.names[0].renew_from[:10] < f"{end:%Y-%m-%d}"
    stand.timer()
    found = overview(LocalHost(), stand.settings, certificates.containers)
    assert found.last is not None and (found.last.what, found.last.code) == ("schedule renew", 0)
    docker("stop", "--time", "0", stand.acme)
    found = overview(LocalHost(), stand.settings, certificates.containers)
    assert (found.ok, {one.renew_from for one in found.names}) == (True, {""})


def test_certificates_of_six_days_are_asked_for_and_judged_by_their_own_life(stand: Stand) -> None:
    short = replace(stand.settings, acme=replace(stand.acme_settings, profile="shortlived"))
    stand.certificates(short).init()
    (one, *_) = status(LocalHost(), short)
    assert one.problem == "" and 6 < one.days_left < 7 and one.life_left > 0.9
    late = x509.utc_now() + timedelta(hours=125)
    assert "a quarter of its life" in status(LocalHost(), short, now=late)[0].problem


def test_what_dns_says_is_compared_before_the_server_is_asked(stand: Stand) -> None:
    stand.answer_for(stand.more)
    asked = stand.certificates(stand.more)
    wrong = {
        "set-servfail": ({"host": SHOP}, "answers SERVFAIL"),
        "add-caa": ({"host": SHOP, "policies": [{"tag": "issue", "value": "other.example"}]}, "do not let"),
        "add-aaaa": ({"host": SHOP, "addresses": ["2001:db8::7"]}, "its AAAA record 2001:db8::7"),
    }
    undo = {"set-servfail": "clear-servfail", "add-caa": "clear-caa"}
    for what, (body, found) in wrong.items():
        stand.say_in_dns(what, **body)
        with pytest.raises(PreflightFailed, match="1 of 4 names are not ready") as caught:
            asked.init()
        assert f"{SHOP}: " in caught.value.message and found in caught.value.message
        if what in undo:
            stand.say_in_dns(undo[what], host=SHOP)
    assert not (stand.conf / "live").exists()

    assert asked.init(allow_partial=True) is True
    stand.served()
    assert [event for event in stand.events if isinstance(event, Warned) and f"{SHOP} is not ready" in event.text]
    assert asked.init(allow_partial=True) is False
    stand.say_in_dns("clear-aaaa", host=SHOP)
    assert asked.init() is True
    stand.served(stand.more)

    stand.say_in_dns("set-servfail", host=SHOP)
    assert asked.init(allow_partial=True) is False
    stand.served(stand.more)


def test_a_server_that_is_down_changes_nothing(stand: Stand) -> None:
    docker("stop", "--time", "0", stand.acme)
    before = status(LocalHost(), stand.settings)
    with pytest.raises(CommandFailed) as caught:
        stand.certificates().init()
    assert ACME in caught.value.details
    with pytest.raises(FlotteqError, match="no certificate to renew"):
        stand.certificates().renew()
    assert status(LocalHost(), stand.settings) == before
