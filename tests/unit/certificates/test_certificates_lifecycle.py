"""What is decided when: no real host, no real server; only what travels between them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from certificate_issuer import NAMES, NOW
from certificate_scene import CA, CHAIN, KEY, LIVE, STAGING, TARGET, Scene, settings

from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.model.errors import (
    CommandFailed,
    CommandTimedOut,
    FlotteqError,
    NotPutBack,
    PreflightFailed,
    PutBack,
    SettingsError,
)
from flotteq_tasks.model.events import Note, Warned
from flotteq_tasks.model.stack import Acme, Service
from flotteq_tasks.operations.certificates import (
    dns,
    ensure_placeholder,
    overview,
    probe,
    x509,
)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_the_first_certificate_is_checked_copied_linked_and_reloaded_in_this_order(scene: Scene) -> None:
    assert scene.certificates().init() is True
    words = ("acme-challenge/flotteq-", "certbot certonly", f"write /srv/fleet/certs/{TARGET}/", "ln -sfn", "-HUP")
    order = [next(i for i, entry in enumerate(scene.host.transcript) if word in entry) for word in words]
    assert order == sorted(order)
    assert scene.current == TARGET and scene.rendered == [{"current": TARGET}]
    assert scene.host.file(f"/srv/fleet/certs/{TARGET}/privkey.pem").mode == 0o640
    assert not scene.said("--dry-run")


def test_a_certificate_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, current=TARGET)
    scene.use(TARGET, CHAIN)
    assert scene.certificates().init() is False
    assert scene.certificates().renew() is False
    assert not scene.said("kill -HUP") and not scene.said("write /srv/fleet/certs/")
    assert scene.events.count(Note("the certificate is not yet due; nothing changed")) == 2


def test_a_certificate_in_use_that_is_not_served_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, current=TARGET)
    scene.use(TARGET, CHAIN)
    scene.serve(CA.issue(NAMES)[0])
    with pytest.raises(FlotteqError, match=r"is not served everywhere: api\.fleet\.example serves"):
        scene.certificates().renew()


def test_what_was_renewed_earlier_but_never_installed_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, current="rel-20270101T000000Z")
    scene.use("rel-20270101T000000Z", CA.issue(NAMES)[0])
    assert scene.certificates().renew() is True
    assert scene.current == TARGET


def test_the_staging_server_is_asked_first_where_failures_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, live=False)
    le = settings(directory="https://acme-v02.api.letsencrypt.org/directory")
    scene.host.script = {
        **scene.host.script,
        "* certbot certonly *": lambda command, stdin: _issue(scene, str(command)),
    }
    assert scene.certificates(le).init() is True
    assert ["--dry-run" in entry for entry in scene.said("certbot certonly")] == [True, False]
    scene.certificates(le).init()
    assert not [entry for entry in scene.said("certbot certonly")[2:] if "--dry-run" in entry]
    more = replace(le, services={**le.services, "new": Service(kind="rolling", image="n", port=1, subdomain="new")})
    with pytest.raises(FlotteqError, match=r"not valid for new\.fleet\.example"):
        scene.certificates(more).init()
    assert ["--dry-run" in entry for entry in scene.said("certbot certonly")[3:]] == [True, False]


def _issue(scene: Scene, command: str) -> str:
    if "--dry-run" not in command:
        scene.host.files.update({f"{LIVE}/fullchain.pem": CHAIN, f"{LIVE}/privkey.pem": KEY})
    return ""


def test_no_server_is_asked_when_a_name_leads_elsewhere(scene: Scene) -> None:
    scene.wrong = {"shop.fleet.example": "somebody else answers there"}
    with pytest.raises(PreflightFailed, match=r"1 of 2 names are not ready.*somebody else") as caught:
        scene.certificates().init()
    assert not scene.said("certbot certonly") and "--allow-partial" in caught.value.hint
    assert scene.said("rm -f /srv/fleet/certbot/www/.well-known/acme-challenge/flotteq-")


def test_a_part_is_obtained_where_that_is_allowed_and_kept_at_the_next_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, live=False)
    part, key = CA.issue(NAMES[:1])
    issued = {f"{LIVE}/fullchain.pem": part, f"{LIVE}/privkey.pem": key}
    scene.host.script = {
        **scene.host.script,
        "* certbot certonly *": lambda command, stdin: scene.host.files.update(issued) or "",
    }
    scene.wrong = {NAMES[1]: "somebody else answers there"}
    scene.serve(part)
    assert scene.certificates().init(allow_partial=True) is True
    (order,) = scene.said("certbot certonly")
    assert order.endswith(f"--domain {NAMES[0]}")
    assert [one for one in scene.events if isinstance(one, Warned) and "shop.fleet.example is not ready" in one.text]
    again, key = CA.issue(NAMES[:1])
    scene.host.files.update({f"{LIVE}/fullchain.pem": again, f"{LIVE}/privkey.pem": key})
    scene.links["current"] = "rel-20270101T000000Z"
    scene.serve(again)
    scene.use(scene.current, part)
    assert scene.certificates().renew() is True


@pytest.mark.parametrize(("age", "orders"), [(30, 0), (70, 1)])
def test_a_name_that_is_away_for_a_while_is_not_taken_from_a_certificate_that_lasts(
    monkeypatch: pytest.MonkeyPatch, age: int, orders: int
) -> None:
    scene = Scene(monkeypatch, current=TARGET)
    chain, key = CA.issue(NAMES, start=NOW - timedelta(days=age))
    scene.serve(chain)
    scene.use(TARGET, chain)
    pair = {"fullchain.pem": chain, "privkey.pem": key}
    scene.host.files.update(
        {f"{place}/{name}": pair[name] for name in pair for place in (LIVE, f"/srv/fleet/certs/{TARGET}")}
    )
    scene.wrong = {NAMES[1]: "somebody else answers there"}
    assert scene.certificates().init(allow_partial=True) is False
    assert len(scene.said("certbot certonly")) == orders


def test_a_renewal_that_lost_a_name_is_not_put_into_use(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, current="rel-20270101T000000Z")
    scene.use(scene.current, CHAIN)
    less, key = CA.issue(NAMES[:1])
    scene.host.files.update({f"{LIVE}/fullchain.pem": less, f"{LIVE}/privkey.pem": key})
    with pytest.raises(FlotteqError, match=r"not fit: it is not valid for shop\.fleet\.example"):
        scene.certificates().renew()
    assert scene.current == "rel-20270101T000000Z"


@pytest.mark.parametrize("place", ["fullchain.pem", "privkey.pem"])
def test_a_file_in_use_that_was_damaged_is_replaced(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    scene = Scene(monkeypatch, current="rel-20270101T000000Z")
    scene.use(scene.current, CHAIN)
    scene.host.files[f"/srv/fleet/certs/{scene.current}/{place}"] = b"garbage"
    assert scene.certificates().renew() is True
    assert scene.current == TARGET


def test_a_key_that_others_may_read_is_refused(scene: Scene) -> None:
    scene.mode = "644"
    with pytest.raises(FlotteqError, match=rf"{LIVE}/privkey\.pem may be read by others \(mode 644\)") as caught:
        scene.certificates().install()
    assert "chmod 600" in caught.value.hint and not scene.said("write ")


def test_a_server_that_refuses_changes_nothing(scene: Scene) -> None:
    scene.host.script = {**scene.host.script, "* certbot certonly *": 1}
    with pytest.raises(CommandFailed):
        scene.certificates().init()
    assert scene.current == "placeholder" and not scene.rendered


def test_an_unfit_certificate_is_not_even_uploaded(scene: Scene) -> None:
    scene.host.files[f"{LIVE}/privkey.pem"] = CA.issue(NAMES)[1]
    with pytest.raises(FlotteqError, match="the key does not belong"):
        scene.certificates().install()
    assert not scene.said("write ") and scene.current == "placeholder"


@pytest.mark.parametrize("previous", ["placeholder", "rel-20270101T000000Z"])
def test_a_reload_that_fails_links_the_previous_one_again(monkeypatch: pytest.MonkeyPatch, previous: str) -> None:
    scene = Scene(monkeypatch, current=previous)
    scene.use(previous, CA.issue(NAMES)[0])
    scene.reloads = [10]
    with pytest.raises(PutBack, match="previous one is served again: fake: nginx refuses"):
        scene.certificates().install()
    assert scene.current == previous
    assert scene.rendered == [{"current": TARGET}, {"current": previous}]
    assert len(scene.said("kill -HUP")) == 2 and scene.said("rm -rf --")


def test_another_certificate_on_a_name_links_the_previous_one_again(scene: Scene) -> None:
    scene.serve(CA.issue(NAMES)[0])
    with pytest.raises(PutBack, match="not served everywhere"):
        scene.certificates().install()
    assert scene.current == "placeholder"


def test_when_neither_works_a_person_is_called(scene: Scene) -> None:
    scene.reloads = [11, 11]
    with pytest.raises(NotPutBack, match="and neither could the previous one"):
        scene.certificates().install()


def test_there_is_nothing_to_renew_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, live=False)
    with pytest.raises(FlotteqError, match="no certificate to renew") as caught:
        scene.certificates().renew()
    assert caught.value.hint == "inv ssl.init"


def test_a_rehearsal_asks_the_configured_server_and_installs_nothing(scene: Scene) -> None:
    assert scene.certificates().renew(dry_run=True) is False
    assert scene.said("certbot renew")[0].endswith(f"--cert-name fleet --dry-run --server {STAGING}")
    assert scene.current == "placeholder" and not scene.rendered


def test_the_ca_of_a_private_server_is_given_to_certbot(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    scene.certificates(replace(settings(ca_file="ca.pem"), root=tmp_path)).init()
    assert scene.host.file("/srv/fleet/certbot/conf/acme-ca.pem").content == CA.pem
    with pytest.raises(SettingsError, match=r"\[acme\] ca_file: .*missing.pem"):
        scene.certificates(replace(settings(ca_file="missing.pem"), root=tmp_path)).init()


def test_distrust_is_a_warning(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [probe.Shown(name, x509.read_pem(CHAIN), distrust="unable to get local issuer") for name in NAMES]
    monkeypatch.setattr(probe, "show", lambda s, names: shown)
    assert scene.certificates().install() is True
    warned = [event for event in scene.events if isinstance(event, Warned)]
    assert warned == [Warned("the certificate is served but not trusted here: unable to get local issuer")]


@pytest.mark.parametrize(
    ("answer", "window"),
    [
        (
            '{"certificate": "fleet", "start": "2027-04-01T00:00:00Z", "end": "2027-04-03T00:00:00Z"}',
            "2027-04-01T00:00:00Z",
        ),
        ("", ""),
        (1, ""),
        (CommandTimedOut("no answer within 20 s"), ""),
    ],
    ids=["window", "no ARI", "no answer", "too slow"],
)
def test_status_is_told_whatever_the_acme_server_says_of_it(
    monkeypatch: pytest.MonkeyPatch, answer: str | int | Exception, window: str
) -> None:
    scene = Scene(monkeypatch, current=TARGET)
    scene.host.files["/srv/fleet/certs/current/fullchain.pem"] = CHAIN
    noted = '{"at": "2027-03-01T02:00:00Z", "what": "schedule renew", "code": 3}'
    scene.host.script = {**scene.host.script, "cat */state/certificate.json": noted, "*renewalInfo*": answer}
    found = overview(scene.host, settings(), Compose("fleet", "/srv/fleet"))
    assert {one.renew_from for one in found.names} == {window}
    assert found.document()["last_renewal"] == {"at": "2027-03-01T02:00:00Z", "what": "schedule renew", "code": 3}


def test_a_placeholder_is_made_where_nothing_usable_is(scene: Scene) -> None:
    scene.links = {}
    assert ensure_placeholder(scene.host, settings(), now=NOW) is True
    assert scene.current == "placeholder"
    content = scene.host.file("/srv/fleet/certs/placeholder/fullchain.pem").content
    assert x509.read_pem(content).placeholder
    assert ensure_placeholder(scene.host, settings(), now=NOW) is False


NONE = ([], 90)


@pytest.mark.parametrize(
    ("there", "directory", "reason", "orders"),
    [
        (NONE, STAGING, "there is none yet", ["certonly"]),
        (NONE, Acme().directory, "there is none yet", ["--dry-run", "certonly"]),
        ((NAMES, 90), STAGING, "", []),
        ((NAMES[:1], 90), STAGING, "it gains shop.fleet.example", ["certonly"]),
        (([*NAMES, "old.fleet.example"], 90), STAGING, "it loses old.fleet.example", ["certonly"]),
        ((NAMES, 1.2), STAGING, "less than a third of its life is left", ["certonly"]),
    ],
)
def test_an_order_is_foreseen_and_nothing_is_done(
    scene: Scene, there: tuple[list[str], float], directory: str, reason: str, orders: list[str]
) -> None:
    names, days = there
    scene.host.files = {f"{LIVE}/fullchain.pem": CA.issue(names, days=days)[0]} if names else {}
    before = dict(scene.host.files)
    (found,) = scene.certificates(settings(directory=directory)).foresee().certificates
    assert (found.names, found.reason) == (tuple(NAMES), reason)
    assert [word in str(one) for word, one in zip(orders, found.orders, strict=True)] == [True] * len(orders)
    assert scene.host.files == before and not scene.said("certbot certonly") and not scene.said("acme-challenge")


def test_what_is_not_ready_is_foreseen_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"api.fleet.example": "192.0.2.10", "shop.fleet.example": ""}
    monkeypatch.setattr(dns, "ask", lambda _, name, kind: [there[name]] if kind == "A" and there.get(name) else [])
    with pytest.raises(PreflightFailed, match="1 of 2 names are not ready"):
        scene.certificates().foresee()
    found = scene.certificates(settings()).foresee(allow_partial=True)
    assert found.certificates[0].names == ("api.fleet.example",) and "shop.fleet.example is not ready" in found.notes[0]


def test_an_address_that_only_the_file_would_prove_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "ask", lambda _, name, kind: ["198.51.100.7"] if kind == "A" else [])
    assert "leads to 198.51.100.7, which is none of the host's" in scene.certificates().foresee().notes[0]
