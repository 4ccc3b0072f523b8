"""The maintenance page: who sees the site, when the edge is reloaded, what is written down."""

import pytest
from unit_support import Events, fleet, instance

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.engines.compose.facts import parse_facts
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import FlotteqError, UsageError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import assets, maintenance
from flotteq_tasks.operations.context import Site

ALLOW = "/srv/fleet/nginx/state/maintenance.allow"


def site(monkeypatch: pytest.MonkeyPatch, facts: Facts, allow: str | None = "") -> tuple[Site, FakeHost]:
    """A site whose edge is as the facts say."""
    settings = fleet()
    files: dict[str, object] = {} if allow is None else {ALLOW: allow}
    host = FakeHost({"*lock*": _conversation, "*": ""}, files=files)  # type: ignore[arg-type]
    monkeypatch.setattr(ComposeEngine, "facts", lambda self: facts)
    return Site(settings, host, ComposeEngine(host, settings), Events().report), host


def _conversation(command: object, line: bytes) -> str:
    text = line.decode().strip()
    if not text or text == "release":
        return "released\n" if text else ""
    return "written\n" if '"event"' in text else f"{text}\n" if text in ("beat", "room") else "held\n"


RUNS = Facts(instances=(instance("front"),))


def done(host: FakeHost) -> list[str]:
    """What was run, in words."""
    names = {
        "maintenance.allow.next": "list",
        "kill -HUP": "reload",
        ': >"$1/nginx/state/maintenance.on"': "flag",
        "rm -f /srv/fleet/nginx/state/maintenance.on": "no flag",
    }
    return [
        next(name for mark, name in names.items() if mark in entry)
        for entry in host.transcript
        if any(mark in entry for mark in names)
    ]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], ()),
        (["203.0.113.7"], ("203.0.113.7",)),
        (["203.0.113.7/32", "203.0.113.7"], ("203.0.113.7",)),
        (["10.1.2.3/8"], ("10.0.0.0/8",)),
        (["2001:DB8::1", "2001:db8::/32"], ("2001:db8::1", "2001:db8::/32")),
        ([" 10.0.0.1, 10.0.0.2 "], ("10.0.0.1", "10.0.0.2")),
    ],
)
def test_addresses_and_networks(texts: list[str], found: tuple[str, ...]) -> None:
    assert maintenance.networks(texts) == found


@pytest.mark.parametrize("text", ["", "10.0.0", "999.1.1.1", "10.0.0.0/33", "example.com", "1;}", "fe80::1%eth0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither an IPv4 or IPv6 address nor a network") as caught:
        maintenance.networks([text])
    assert caught.value.hint.startswith("for example --allow")


def test_without_a_list_nothing_is_reloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    found, host = site(monkeypatch, RUNS)
    assert maintenance.turn_on(found, [], {}) == "2 domains answer 503; inv maintenance.off ends it"
    assert done(host) == ["flag"]


@pytest.mark.parametrize(("allow", "before"), [(["10.0.0.1"], ""), ([], "10.0.0.1 yes;\n")])
def test_a_list_is_read_before_anybody_sees_the_page(
    monkeypatch: pytest.MonkeyPatch, allow: list[str], before: str
) -> None:
    found, host = site(monkeypatch, RUNS, before)
    said = maintenance.turn_on(found, allow, {})
    assert done(host) == ["list", "reload", "flag"]
    assert ("but not to 10.0.0.1" in said) == bool(allow)


def test_an_edge_that_knows_no_list_yet_gets_todays_files_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found, host = site(monkeypatch, RUNS, None)
    maintenance.turn_on(found, ["10.0.0.1"], {})
    assert any(entry.endswith("nginx/http/maintenance.conf") for entry in host.transcript)
    assert done(host)[-3:] == ["list", "reload", "flag"]


def test_without_an_edge_there_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    found, host = site(monkeypatch, Facts())
    with pytest.raises(FlotteqError, match="the edge does not run"):
        maintenance.turn_on(found, [], {})
    assert done(host) == []


@pytest.mark.parametrize(
    ("on", "said"), [(True, "2 domains answer as before"), (False, "the maintenance page was not on")]
)
def test_off_takes_the_flag_away_and_reloads_nothing(monkeypatch: pytest.MonkeyPatch, on: bool, said: str) -> None:
    found, host = site(monkeypatch, Facts(maintenance=on))
    assert maintenance.turn_off(found, {}) == said
    assert done(host) == ["no flag"]


def test_the_facts_say_whether_it_is_on_and_for_whom_not() -> None:
    found = parse_facts("\n@@ maintenance\non\n10.0.0.1 yes;\n2001:db8::/32 yes;\n\n@@ scale\n")
    assert (found.maintenance, found.maintenance_allowed) == (True, ("10.0.0.1", "2001:db8::/32"))
    assert not parse_facts("\n@@ maintenance\n\n@@ scale\n").maintenance


def test_files_are_kept_of_services_that_serve_and_have_some(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = site(monkeypatch, Facts())
    found.settings.services["web-app"].__dict__["assets"] = "/html/assets"
    facts = Facts(
        instances=(instance("core"), instance("web-app", 3)),
        active={"core": ("fleet-core-1",), "web-app": ("fleet-web-app-2", "fleet-web-app-3")},
    )
    assert assets.sources(found, facts, ["core", "web-app"]) == [("web-app", "fleet-web-app-3", "/html/assets")]
    assert assets.sources(found, Facts(), ["core", "web-app"]) == []
    assert assets.keep(found, facts, ["core"]) == []
    assert len(assets.keep(found, facts, ["core", "web-app"])) == 1, "one command for all of them"
