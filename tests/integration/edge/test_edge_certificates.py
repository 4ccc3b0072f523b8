"""A certificate is put into use, replaced, refused and put back on a running nginx."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from edge_bench import API, APP, OTHER, Edge, put
from edge_issuer import Issuer

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import FlotteqError, PutBack
from flotteq_tasks.model.events import Event, Report, Warned
from flotteq_tasks.model.stack import Acme
from flotteq_tasks.operations.certificates import Certificates, ensure_placeholder, preflight, status, x509
from flotteq_tasks.rendering.nginx import generation, render_edge

pytestmark = pytest.mark.host
NAMES = [API, APP, OTHER]


class Bench:
    """The certificates of a running edge; certbot's directory is filled by hand."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.issuer = Issuer()
        self.events: list[Event] = []
        self.later = timedelta()
        root = edge.directory / "root.pem"
        root.write_bytes(self.issuer.root)
        # Names below .localhost lead to this machine without any DNS server.
        acme = Acme(root_file=str(root), resolvers=())
        self.settings = replace(edge.reach, acme=acme, root=Path("/"))
        self.certificates = Certificates(
            LocalHost(), self.settings, edge.compose, Report(self.events.append), self.render, self.clock
        )

    def clock(self) -> datetime:
        """The present; a second later at each look, for directories are named after it."""
        self.later += timedelta(seconds=1)
        return x509.utc_now() + self.later

    def render(self, links: Mapping[str, str]) -> str:
        files = render_edge(self.edge.settings, self.edge.upstreams, certificates=links)
        put(self.edge.files, files)
        return generation(files)

    def issue(self, names: list[str], *, key: bytes | None = None) -> bytes:
        chain, own = self.issuer.issue(names)
        put(self.edge.directory, {
            "certbot/conf/live/fleet/fullchain.pem": chain,
            "certbot/conf/live/fleet/privkey.pem": key or own,
        })  # fmt: skip
        (self.edge.directory / "certbot/conf/live/fleet/privkey.pem").chmod(0o600)
        return chain

    def current(self) -> str:
        return (self.edge.directory / "certs/current").readlink().name


@pytest.fixture
def bench(own_edge: Edge) -> Bench:
    return Bench(own_edge)


def test_a_new_certificate_is_served_on_every_name_and_browsers_are_told_to_insist(bench: Bench) -> None:
    bench.render({})
    bench.issue(NAMES)
    assert bench.certificates.install() is True
    assert bench.current().startswith("rel-")
    assert bench.edge.ask(APP, "/").header("Strict-Transport-Security")
    found = status(LocalHost(), bench.settings)
    assert [(one.name, one.problem, one.matches_file, one.trusted) for one in found] == [
        (n, "", True, True) for n in NAMES
    ]
    assert bench.certificates.install() is False
    assert not [event for event in bench.events if isinstance(event, Warned)]


def test_only_three_certificates_are_kept_and_the_one_in_use_is_among_them(bench: Bench) -> None:
    for _ in range(5):
        bench.issue(NAMES)
        bench.certificates.install()
    kept = sorted(path.name for path in (bench.edge.directory / "certs").glob("rel-*"))
    assert len(kept) == 3 and bench.current() == kept[-1]
    assert (bench.edge.directory / "certs" / kept[-1] / "privkey.pem").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("case", ["names", "key", "garbage", "readable"])
def test_an_unfit_certificate_never_reaches_nginx(bench: Bench, case: str) -> None:
    bench.issue(NAMES)
    bench.certificates.install()
    before = bench.current()
    if case == "names":
        bench.issue(NAMES[:1])
    elif case == "key":
        bench.issue(NAMES, key=bench.issuer.issue(NAMES)[1])
    elif case == "readable":
        bench.issue(NAMES)
        (bench.edge.directory / "certbot/conf/live/fleet/privkey.pem").chmod(0o604)
    else:
        put(bench.edge.directory, {"certbot/conf/live/fleet/fullchain.pem": b"garbage"})
    with pytest.raises(FlotteqError, match=r"not fit|privkey\.pem may be read by others"):
        bench.certificates.install()
    assert bench.current() == before
    assert [one.problem for one in status(LocalHost(), bench.settings)] == ["", "", ""]


def test_what_nginx_refuses_is_put_back(bench: Bench) -> None:
    first = bench.issue(NAMES)
    bench.certificates.install()
    before = bench.current()
    bench.issue(NAMES)
    broken = bench.edge.files / "servers/broken.conf"
    render = bench.render

    def once(links: Mapping[str, str]) -> str:
        if broken.exists():
            broken.unlink()
        else:
            broken.write_text("no_such_directive;\n")
        return render(links)

    with pytest.raises(PutBack, match="previous one is served again"):
        replace(bench.certificates, render=once).install()
    assert bench.current() == before
    assert [path.name for path in (bench.edge.directory / "certs").glob("rel-*")] == [before]
    assert status(LocalHost(), bench.settings)[0].serial == x509.read_pem(first).serial


def test_a_placeholder_is_made_once_and_does_not_replace_anything(bench: Bench) -> None:
    host = LocalHost()
    assert ensure_placeholder(host, bench.settings) is False
    (bench.edge.directory / "certs/current").unlink()
    assert ensure_placeholder(host, bench.settings) is True
    assert bench.current() == "placeholder"
    assert {one.problem for one in status(host, bench.settings)} == {"only the placeholder is served: inv ssl.init"}


def test_names_that_lead_elsewhere_are_found_before_the_server_is_asked(bench: Bench) -> None:
    host = LocalHost()
    assert preflight.check(host, bench.settings, NAMES, x509.utc_now).problems == ()
    wrong = replace(bench.settings, edge=replace(bench.settings.edge, http_port=bench.settings.edge.https_port))
    found = preflight.check(host, wrong, NAMES, x509.utc_now)
    said = found.refusal(NAMES).message
    assert "3 of 3 names" in said and "status 400" in said
    assert not list((bench.edge.directory / "certbot/www/.well-known/acme-challenge").glob("flotteq-*"))
