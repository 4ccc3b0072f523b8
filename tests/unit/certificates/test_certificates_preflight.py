"""What an order needs is looked at before it: names, addresses, CAA records, the file of the webroot, clocks."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from certificate_issuer import NOW
from unit_support import fleet

from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.stack import Acme, Settings
from flotteq_tasks.operations.certificates import dns, preflight, probe
from flotteq_tasks.operations.certificates.preflight import Preflight

NAME = "api.fleet.example"
HERE, HERE_6, ELSEWHERE, ELSEWHERE_6 = "192.0.2.10", "2001:db8::10", "198.51.100.7", "2001:db8:ffff::7"
ONE, OTHER = "1.1.1.1", "9.9.9.9"


class Outside:
    """DNS and the web as this machine sees them. A record is one server's, or every server's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records: dict[tuple[str, str], list[str]] = {("A", NAME): [HERE]}
        self.own: dict[tuple[str, str, str], list[str]] = {}
        self.errors: dict[str, Exception] = {}
        # Address → what is wrong there, and whether it could be tried.
        self.answers: dict[str, tuple[str, bool]] = {}
        self.skew = 0
        monkeypatch.setattr(dns, "ask", self._ask)
        monkeypatch.setattr(probe, "fetch", lambda s, name, address, token: self.answers.get(address, ("", True)))
        self.host = FakeHost({
            "*date +%s*": lambda command, stdin: f"{NOW.timestamp() + self.skew:.0f}\n{HERE}\n{HERE_6}\n",
            "rm -f *": "",
        })  # fmt: skip

    def _ask(self, server: str, name: str, kind: str) -> list[str]:
        if server in self.errors:
            raise self.errors[server]
        return self.own.get((server, kind, name), self.records.get((kind, name), []))

    def check(self, settings: Settings | None = None) -> Preflight:
        chosen = settings or fleet(edge=EdgeSettings())
        return preflight.check(self.host, chosen, [NAME], lambda: NOW)

    def told(self, settings: Settings | None = None) -> str:
        """What is found, and what to do."""
        return "\n".join(f"{one.name}: {one.found} -> {one.fix}" for one in self.check(settings).problems)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    return Outside(monkeypatch)


def both_families(outside: Outside) -> None:
    outside.records["AAAA", NAME] = [HERE_6]


def v6_that_cannot_be_tried_from_here(outside: Outside) -> None:
    outside.records["AAAA", NAME] = [HERE_6]
    outside.answers[HERE_6] = ("no route", False)


def a_load_balancer_that_leads_here(outside: Outside) -> None:
    outside.records["A", NAME] = [ELSEWHERE]


def one_server_that_is_silent(outside: Outside) -> None:
    outside.errors[ONE] = dns.Silent(f"DNS server {ONE} does not answer")


def caa_that_lets_it_issue(outside: Outside) -> None:
    outside.records["CAA", "fleet.example"] = ["0 issue letsencrypt.org", "0 issue other.example"]


@pytest.mark.parametrize(
    "good",
    [
        lambda outside: None, both_families, v6_that_cannot_be_tried_from_here, a_load_balancer_that_leads_here,
        one_server_that_is_silent, caa_that_lets_it_issue,
    ],
)  # fmt: skip
def test_a_name_that_leads_here_is_ready(outside: Outside, good: Callable[[Outside], None]) -> None:
    good(outside)
    found = outside.check()
    assert (found.problems, found.ready([NAME])) == ((), [NAME])


def test_what_could_not_be_tried_is_told(outside: Outside) -> None:
    v6_that_cannot_be_tried_from_here(outside)
    one_server_that_is_silent(outside)
    assert outside.check().unseen == (f"DNS server {ONE} does not answer", f"{NAME} at {HERE_6}: no route")


def no_dns(outside: Outside) -> None:
    outside.records.clear()


def unknown_to_one_server(outside: Outside) -> None:
    outside.own[OTHER, "A", NAME] = []


def v6_elsewhere(outside: Outside) -> None:
    outside.records["AAAA", NAME] = [ELSEWHERE_6]
    outside.answers[ELSEWHERE_6] = ("no route", False)


def v4_elsewhere(outside: Outside) -> None:
    outside.own[OTHER, "A", NAME] = [ELSEWHERE]
    outside.answers[ELSEWHERE] = ("somebody else answers there", True)


def port_closed(outside: Outside) -> None:
    outside.answers[HERE] = ("port 80 does not answer: refused", True)


def zone_broken(outside: Outside) -> None:
    outside.errors[ONE] = dns.Broken(f"DNS server {ONE} answers SERVFAIL for A")


def no_server_answers(outside: Outside) -> None:
    outside.errors = {ONE: dns.Silent("silent"), OTHER: dns.Silent("silent")}


def caa_of_another(outside: Outside) -> None:
    outside.records["CAA", "fleet.example"] = ["0 issue other.example"]


@pytest.mark.parametrize(
    ("wrong", "found", "fix"),
    [
        (no_dns, f"{ONE} knows neither an A nor an AAAA record", f"{NAME} A {HERE}"),
        (unknown_to_one_server, f"{OTHER} knows neither", "wait"),
        (v6_elsewhere, f"its AAAA record {ELSEWHERE_6} ({ONE}, {OTHER}) is none of the host's", f"AAAA at {HERE_6}"),
        (v4_elsewhere, f"at {ELSEWHERE} somebody else answers there", f"its A record at the host ({HERE}"),
        (port_closed, f"at {HERE} port 80 does not answer", "let port 80 through"),
        (zone_broken, f"{ONE} answers SERVFAIL", f"dig {NAME} @{ONE}"),
        (no_server_answers, f"no DNS server answers from here: {ONE}, {OTHER}", "acme.resolvers"),
        (caa_of_another, 'fleet.example ("0 issue other.example") do not let letsencrypt.org', "fleet.example CAA 0"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)  # fmt: skip
def test_a_refusal_says_name_what_was_found_and_what_to_do(
    outside: Outside, wrong: Callable[[Outside], None], found: str, fix: str
) -> None:
    wrong(outside)
    told = outside.told()
    assert told.startswith(f"{NAME}: ") and found in told and fix in told
    assert outside.host.transcript[-1].startswith("rm -f /srv/fleet/certbot/www/.well-known/acme-challenge/flotteq-")


def test_a_clock_that_is_wrong_stops_every_name(outside: Outside) -> None:
    outside.skew = -300
    found = outside.check()
    assert found.ready([NAME]) == []
    said = found.refusal([NAME])
    assert "clock of fake is 300 s behind this machine's" in said.message and "timedatectl" in said.hint


def test_a_given_address_is_tried_and_dns_is_still_compared(outside: Outside) -> None:
    settings = fleet(edge=EdgeSettings(address="127.0.0.1"))
    assert outside.told(settings) == ""
    outside.records["A", NAME] = [ELSEWHERE]
    assert f"its A record {ELSEWHERE}" in outside.told(settings)
    assert outside.told(replace(settings, acme=Acme(addresses=(ELSEWHERE,)))) == ""


def test_without_dns_servers_this_machine_is_asked_where_names_lead(outside: Outside) -> None:
    outside.records.clear()
    settings = fleet(edge=EdgeSettings(address=ELSEWHERE), acme=Acme(resolvers=()))
    assert outside.told(settings) == ""
    outside.answers[ELSEWHERE] = ("somebody else answers there", True)
    assert f"at {ELSEWHERE} somebody else answers there" in outside.told(settings)


def test_part_of_the_names_is_enough_where_that_is_allowed(outside: Outside) -> None:
    names = [NAME, "new.fleet.example"]
    found = preflight.check(outside.host, fleet(edge=EdgeSettings()), names, lambda: NOW + timedelta(seconds=5))
    assert found.ready(names) == [NAME]
    said = found.refusal(names)
    assert "1 of 2 names are not ready, the ACME server was not asked: new.fleet.example: " in said.message
    assert "obtain one for the other 1 now: inv ssl.init --allow-partial" in said.hint
    said = found.refusal(names, ordered=True)
    assert "was not asked for them: new.fleet.example: " in said.message and "--allow-partial" not in said.hint


def test_caa_records_of_the_nearest_name_count(outside: Outside) -> None:
    outside.records["CAA", "example"] = ["0 issue other.example"]
    outside.records["CAA", NAME] = ["0 issue letsencrypt.org"]
    assert dns.policy(ONE, NAME) == (NAME, ["0 issue letsencrypt.org"])
    assert dns.policy(ONE, "shop.fleet.example") == ("example", ["0 issue other.example"])


@pytest.mark.parametrize(
    ("records", "permitted"),
    [
        ([], True),
        (["0 iodef mailto:security@fleet.example"], True),
        (["0 issue letsencrypt.org"], True),
        (["0 ISSUE LetsEncrypt.org; validationmethods=dns-01,http-01"], True),
        (["0 issue letsencrypt.org;validationmethods=dns-01"], False),
        (["0 issue ;"], False),
        (["0 issuewild letsencrypt.org", "0 issue other.example"], False),
    ],
)
def test_what_caa_records_permit(records: list[str], permitted: bool) -> None:
    assert dns.permits(records, "letsencrypt.org") is permitted
