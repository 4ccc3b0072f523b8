"""One certificate for all names or one for each: what is ordered, served, put back and left behind; and the change."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
from certificate_issuer import NAMES, NOW
from certificate_scene import CA, TARGET, Scene, settings

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.certificates import in_use, left_over, lineages
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, NotPutBack, PreflightFailed, PutBack, Unhealthy
from flotteq_tasks.model.events import Note, Warned
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import dns, probe, status, x509

ONE, EACH = settings(), settings(layout="each")
API, SHOP = NAMES
OLD = "rel-20270101T000000Z"
OWN = {f"names/{name}/current": TARGET for name in NAMES}


class Site(Scene):
    """Here certbot issues what is ordered, and the edge serves what was rendered once it reloads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chosen: Settings, **links: str) -> None:
        super().__init__(monkeypatch, live=False)
        self.chosen = chosen
        self.failing = self.stubborn = ""
        self.host.script = {
            "* certbot certonly *": self._issue,
            "*kill -HUP*": self._reload,
            **{key: one for key, one in self.host.script.items() if "certonly" not in key and "HUP" not in key},
        }

    def _issue(self, command: Command, _: bytes) -> str | int:
        words = command.argv()
        name = words[words.index("--cert-name") + 1]
        if name == self.failing:
            return 1
        if f"/srv/fleet/certbot/conf/live/{name}/fullchain.pem" not in self.host.files:
            self.issue(name, [word for before, word in pairwise(words) if before == "--domain"])
        return ""

    def _reload(self, _: Command, __: bytes) -> int:
        if self.reloads and self.reloads.pop(0):
            return 10
        for name, use in in_use(self.chosen, self.rendered[-1]).items():
            target = self.rendered[-1].get(use.lineage.link, "placeholder")
            path = f"/srv/fleet/certs/{use.lineage.place}/{target}/fullchain.pem".replace("//", "/")
            if name != self.stubborn and path in self.host.files:
                self.served[name] = self.host.file(path).content
        return 0

    def _point(self, place: str, target: str) -> str:
        for name in ("fullchain.pem", "privkey.pem"):
            path = f"{place}/{target}/{name}"
            self.host.files[f"{place}/current/{name}"] = self.host.file(path) if path in self.host.files else b""
        return super()._point(place, target)

    def issue(self, certificate: str, names: list[str]) -> bytes:
        """certbot has a new one."""
        chain, key = CA.issue(names)
        self.put(f"certbot/conf/live/{certificate}", chain, key)
        return chain

    def used(self, chosen: Settings) -> None:
        """This layout is the one that is served, since January."""
        for lineage in lineages(chosen):
            chain, key = CA.issue(list(lineage.names))
            for place in (f"certbot/conf/live/{lineage.certificate}", f"certs/{lineage.place}/{OLD}"):
                self.put(place.replace("//", "/"), chain, key)
            self._point(f"/srv/fleet/certs/{lineage.place}".rstrip("/"), OLD)
            self.served |= dict.fromkeys(lineage.names, chain)

    def serial(self, name: str) -> str:
        """What a name shows."""
        return x509.read_pem(self.served[name]).serial

    def ordered(self) -> list[str]:
        """The certificates that certbot was asked for."""
        return [entry.split("--cert-name ")[1].split()[0] for entry in self.said("certbot certonly")]


@pytest.mark.parametrize(
    ("chosen", "links", "expected"),
    [
        (ONE, {}, [("current", False), ("current", False)]),
        (ONE, {"current": "placeholder"}, [("current", False), ("current", False)]),
        (ONE, {"current": OLD}, [("current", True), ("current", True)]),
        (ONE, OWN, [(f"names/{API}/current", True), (f"names/{SHOP}/current", True)]),
        (ONE, {"current": OLD, **OWN}, [("current", True), ("current", True)]),
        (EACH, {"current": "placeholder"}, [("current", False), ("current", False)]),
        (EACH, {"current": OLD}, [("current", True), ("current", True)]),
        (EACH, {"current": OLD, **OWN}, [(f"names/{API}/current", True), (f"names/{SHOP}/current", True)]),
        (
            EACH,
            {"current": "placeholder", f"names/{API}/current": OLD},
            [(f"names/{API}/current", True), ("current", False)],
        ),
    ],
)
def test_a_name_is_served_with_its_own_layouts_certificate_else_the_other_ones_else_the_placeholder(
    chosen: Settings, links: dict[str, str], expected: list[tuple[str, bool]]
) -> None:
    assert [(use.lineage.link, use.issued) for use in in_use(chosen, links).values()] == expected


def test_what_no_name_is_served_with_is_left_over() -> None:
    gone = {"names/gone.fleet.example/current": OLD}
    assert left_over(EACH, {"current": OLD, **OWN, **gone}) == ["current", *gone]
    assert left_over(EACH, {"current": OLD, f"names/{API}/current": OLD}) == []
    assert left_over(EACH, {"current": "placeholder", **OWN}) == []
    assert left_over(ONE, {"current": OLD, **OWN}) == list(OWN)


def test_every_name_gets_its_own_certificate_in_one_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    assert site.certificates(EACH).init() is True
    assert site.ordered() == NAMES and len(site.said("kill -HUP")) == 1
    assert site.links == {"current": "placeholder", **OWN} and site.rendered == [site.links]
    assert site.serial(API) != site.serial(SHOP)
    assert [(one.certificate, one.problem) for one in status(site.host, EACH, now=NOW)] == [
        (name, "") for name in NAMES
    ]
    assert site.certificates(EACH).init() is False
    assert len(site.said("kill -HUP")) == 1 and not site.said("rm -rf -- /srv/fleet/certs/names")


@pytest.mark.parametrize("allow_partial", [True, False])
def test_a_name_that_is_not_ready_holds_no_other_back(monkeypatch: pytest.MonkeyPatch, allow_partial: bool) -> None:
    site = Site(monkeypatch, EACH)
    site.wrong = {SHOP: "somebody else answers there"}
    if allow_partial:
        assert site.certificates(EACH).init(allow_partial=True) is True
        assert [one for one in site.events if isinstance(one, Warned) and f"{SHOP} is not ready" in one.text]
    else:
        with pytest.raises(Unhealthy, match=rf"other certificates are in use, but 1 of 2 names .* for them: {SHOP}"):
            site.certificates(EACH).init()
    assert site.ordered() == [API]
    assert site.links == {"current": "placeholder", f"names/{API}/current": TARGET}
    site.wrong = {}
    assert site.certificates(EACH).init() is True
    assert site.links == {"current": "placeholder", **OWN}


def test_when_nothing_changed_a_name_that_is_not_ready_is_an_error_like_in_the_other_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch, EACH)
    site.used(EACH)
    site.wrong = {SHOP: "somebody else answers there"}
    with pytest.raises(PreflightFailed, match="not asked for them"):
        site.certificates(EACH).init()
    assert site.certificates(EACH).init(allow_partial=True) is False
    assert not site.said("kill -HUP")


def test_an_order_that_fails_holds_no_other_back(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.failing = API
    with pytest.raises(Unhealthy, match="other certificates are in use, but fake: ") as caught:
        site.certificates(EACH).init()
    assert isinstance(caught.value.__cause__, CommandFailed)
    assert site.links == {"current": "placeholder", f"names/{SHOP}/current": TARGET}


def test_what_one_name_does_not_serve_is_put_back_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.used(EACH)
    before = site.serial(SHOP)
    for name in NAMES:
        site.issue(name, [name])
    site.stubborn = SHOP
    with pytest.raises(Unhealthy, match=r"the previous one is served again: .* shop\.fleet\.example serves") as caught:
        site.certificates(EACH).renew()
    assert isinstance(caught.value.__cause__, PutBack)
    assert site.links == {
        "current": "placeholder", f"names/{API}/current": TARGET, f"names/{SHOP}/current": OLD,
    }  # fmt: skip
    assert site.rendered[-1] == site.links and site.serial(SHOP) == before
    assert site.said("rm -rf -- ")[-1].count(f"certs/names/{SHOP}") == 1


def test_a_first_certificate_that_is_refused_leaves_the_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.reloads = [1]
    with pytest.raises(PutBack):
        site.certificates(EACH).init()
    assert site.links == {"current": "placeholder"} and site.rendered[-1] == site.links
    site.reloads = [1, 1]
    with pytest.raises(NotPutBack):
        site.certificates(EACH).init()


def test_only_what_was_renewed_is_put_into_use(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.used(EACH)
    before = site.serial(SHOP)
    site.issue(API, [API])
    assert site.certificates(EACH).renew() is True
    assert [entry.split("--cert-name ")[1] for entry in site.said("certbot renew")] == NAMES
    assert site.links == {
        "current": "placeholder", f"names/{API}/current": TARGET, f"names/{SHOP}/current": OLD,
    }  # fmt: skip
    assert site.serial(SHOP) == before and len(site.said("kill -HUP")) == 1


@pytest.mark.parametrize(("before", "after"), [(ONE, EACH), (EACH, ONE)], ids=["to each", "to one"])
def test_a_change_of_layout_leaves_nothing_behind_once_the_new_ones_are_served(
    monkeypatch: pytest.MonkeyPatch, before: Settings, after: Settings
) -> None:
    site = Site(monkeypatch, after)
    site.used(before)
    serials = {site.serial(name) for name in NAMES}
    told = {one.problem for one in status(site.host, after, now=NOW)}
    assert all("acme.layout wants the certificate" in one and one.endswith("inv ssl.init") for one in told)
    assert site.certificates(after).init() is True
    assert {one.link: OLD for one in lineages(before)}.items() <= site.rendered[0].items()
    assert not serials.intersection(site.serial(name) for name in NAMES)
    wanted = {"current": "placeholder", **OWN} if after is EACH else {"current": TARGET}
    assert site.links == wanted
    assert {one.problem for one in status(site.host, after, now=NOW)} == {""}
    assert [one for one in site.events if isinstance(one, Note) and "renews it no more" in one.text]


def test_the_former_certificate_serves_on_where_the_new_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.used(ONE)
    before = site.serial(SHOP)
    site.failing = SHOP
    with pytest.raises(Unhealthy):
        site.certificates(EACH).init()
    assert site.links == {"current": OLD, f"names/{API}/current": TARGET} and site.serial(SHOP) == before
    # It is renewed as long as somebody needs it.
    site.issue("fleet", NAMES)
    assert site.certificates(EACH).renew() is True
    assert site.links["current"] == TARGET and site.serial(SHOP) != before


def test_a_part_never_takes_a_name_from_its_own_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, ONE)
    site.used(EACH)
    site.wrong = {SHOP: "somebody else answers there"}
    with pytest.raises(PreflightFailed, match="1 of 2 names are not ready") as caught:
        site.certificates(ONE).init(allow_partial=True)
    assert "--allow-partial" not in caught.value.hint and not site.ordered()


@pytest.mark.parametrize("failing", ["", API])
def test_the_certificate_of_a_name_that_went_is_removed_even_if_another_fails(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    site = Site(monkeypatch, EACH)
    site.used(EACH)
    less = replace(EACH, services={"core": EACH.services["core"]})
    site.chosen, site.failing = less, failing
    with pytest.raises(CommandFailed) if failing else nullcontext():
        site.certificates(less).init()
    assert site.links == {"current": "placeholder", f"names/{API}/current": OLD}


def test_a_restored_store_of_the_other_layout_is_put_into_use(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.issue("fleet", NAMES)
    assert site.certificates(EACH).install() is True
    assert site.links == {"current": TARGET}
    site.issue(API, [API])
    assert site.certificates(EACH).install() is True
    assert site.links == {"current": TARGET, f"names/{API}/current": TARGET}


@pytest.mark.parametrize("chosen", [ONE, EACH], ids=["one", "each"])
def test_an_empty_store_is_told_by_its_path(monkeypatch: pytest.MonkeyPatch, chosen: Settings) -> None:
    site = Site(monkeypatch, chosen)
    with pytest.raises(FlotteqError, match=rf"certbot left no certificate in .*/{lineages(chosen)[0].certificate}"):
        site.certificates(chosen).install()


def test_every_renewal_is_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.used(EACH)
    assert site.certificates(EACH).renew(dry_run=True) is False
    assert [entry.split("--cert-name ")[1].split()[:2] for entry in site.said("certbot renew")] == [
        [name, "--dry-run"] for name in NAMES
    ]


def test_a_name_without_a_certificate_shows_the_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.links[f"names/{API}/current"] = OLD
    chain, key = CA.issue([API])
    site.put(f"certs/names/{API}/current", chain, key)
    blank, secret = x509.make_placeholder(NOW)
    site.put("certs/current", blank, secret)
    shown = {API: probe.Shown(API, x509.read_pem(chain)), SHOP: probe.Shown(SHOP, x509.read_pem(blank))}
    monkeypatch.setattr(probe, "show", lambda s, names: [shown[name] for name in names])
    found = status(site.host, EACH, now=NOW)
    assert [(one.certificate, one.placeholder, one.problem) for one in found] == [
        (API, False, ""), (SHOP, True, "only the placeholder is served: inv ssl.init"),
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"garbage"], ids=["empty", "garbage"])
def test_a_damaged_file_of_one_name_is_told_and_replaced_and_never_becomes_the_placeholder(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    site = Site(monkeypatch, EACH)
    site.used(EACH)
    before = site.serial(API)
    for place in (OLD, "current"):
        site.host.files[f"/srv/fleet/certs/names/{API}/{place}/fullchain.pem"] = content
    told = [one.problem for one in status(site.host, EACH, now=NOW)]
    assert told == ["the file on the host cannot be read, a restart would fail: inv ssl.renew", ""]
    assert site.certificates(EACH).renew() is True
    assert site.links[f"names/{API}/current"] == TARGET and site.serial(API) == before
    assert {links[f"names/{API}/current"] for links in site.rendered} == {TARGET}


def test_only_what_would_be_ordered_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, EACH)
    site.issue(API, [API])
    found = site.certificates(EACH).foresee().certificates
    assert [(one.names, one.reason) for one in found] == [((API,), ""), ((SHOP,), "there is none yet")]
    assert [str(order).split("--cert-name ")[1].split()[0] for one in found for order in one.orders] == [SHOP]
    monkeypatch.setattr(dns, "ask", lambda server, name, kind: ["192.0.2.10"] if name == API and kind == "A" else [])
    with pytest.raises(PreflightFailed, match=f"not asked for them: {SHOP}"):
        site.certificates(EACH).foresee()
    assert [one.names for one in site.certificates(EACH).foresee(allow_partial=True).certificates] == [(API,)]
    assert not site.said("certbot certonly")
