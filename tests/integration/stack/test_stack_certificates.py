"""Wrong certificates: said before the authority or nginx gets to see them, and mended by the usual tasks."""

import json
from collections.abc import Iterator

import pytest
from support.stack import API, DOMAINS, Stack, without_failure

pytestmark = pytest.mark.stack

CERTS, LIVE = "/opt/flotteq/certs/current", "/opt/flotteq/certbot/conf/live/flotteq"
ADMIN = DOMAINS["frontend-internal"]


EACH = {"FLOTTEQ__ACME__LAYOUT": "each"}


def serials(stack: Stack) -> set[str]:
    """Serial numbers of what all names serve."""
    return {one["serial"] for one in json.loads(stack.inv("ssl.status", "--json").out)["names"]}


def served(stack: Stack) -> dict[str, str]:
    """The serial number that each name serves, where each has its own and nothing is wrong with it."""
    found = json.loads(stack.inv("ssl.status", "--json", variables=EACH).ok().out)["names"]
    assert [one["certificate"] for one in found] == list(DOMAINS.values())
    return {one["name"]: one["serial"] for one in found}


@pytest.fixture
def without_dns(stack: Stack) -> Iterator[None]:
    """One domain of which DNS servers know nothing good."""
    stack.say_in_dns("set-servfail", host=ADMIN)
    yield
    stack.say_in_dns("clear-servfail", host=ADMIN)


def test_a_domain_without_dns_is_refused_by_name_and_nothing_is_ordered(stack: Stack, without_dns: None) -> None:
    before = stack.snapshot()
    assert f"{ADMIN}: DNS server " in stack.inv("ssl.init", "--dry-run").ended(1).err
    foreseen = stack.inv("ssl.init", "--dry-run", "--allow-partial").ok().out
    assert "nothing would be ordered: the certificate of 4 names is good" in foreseen
    assert stack.snapshot() == before
    done = stack.inv("ssl.init").ended(1)
    assert "1 of 5 names are not ready, the ACME server was not asked" in done.err
    assert f"{ADMIN}: DNS server " in done.err and f"dig {ADMIN} @" in done.err and "--allow-partial" in done.err
    assert stack.snapshot() == before
    last = json.loads(stack.inv("ssl.status", "--json").ok().out)["last_renewal"]
    assert (last["what"], last["code"]) == ("ssl.init", 1)


def test_the_right_authority_must_be_allowed_by_the_zone(stack: Stack) -> None:
    policy = [{"tag": "issue", "value": "other.example"}]
    stack.say_in_dns("add-caa", host="flotteq.localhost", policies=policy)
    try:
        done = stack.inv("ssl.init").ended(1)
        assert 'CAA records of flotteq.localhost ("0 issue other.example") do not let letsencrypt.org' in done.err
        audit = json.loads(stack.inv("audit.edge", "--json").ended(5).out)
        told = {one["found"] for one in audit["checks"] if one["id"] == "caa" and not one["ok"]}
        assert told == {'flotteq.localhost has "0 issue other.example"'}
        stack.inv("ssl.init", variables={"FLOTTEQ__ACME__ISSUER": "other.example"}).ok()
    finally:
        stack.say_in_dns("clear-caa", host="flotteq.localhost")


def test_a_damaged_file_is_seen_and_replaced_and_nginx_starts(stack: Stack) -> None:
    before = serials(stack)
    stack.host(f"echo garbage >{CERTS}/fullchain.pem")
    assert "a restart would fail" in stack.inv("ssl.status").ended(5).out
    stack.inv("ssl.renew").ok()
    stack.inv("ssl.status").ok()
    stack.inv("restart", "--service", "nginx", "--yes").ok()
    assert serials(stack) == before and stack.get(API, "/api/health")[0] == 200


def test_a_key_that_others_may_read_is_refused(stack: Stack) -> None:
    before = serials(stack)
    stack.host(f"echo garbage >{CERTS}/fullchain.pem; chmod 644 {LIVE}/privkey.pem")
    done = stack.inv("ssl.renew").ended(1)
    assert f"{LIVE}/privkey.pem may be read by others (mode 644)" in done.err and "chmod 600" in done.err
    stack.inv("schedule.install").ok()
    assert "privkey.pem may be read by others" in stack.inv("schedule.run-now", "renew").ended(1).err
    assert serials(stack) == before
    stack.host(f"chmod 600 {LIVE}/privkey.pem")
    stack.inv("schedule.run-now", "renew").ok()
    stack.inv("ssl.status").ok()


def test_each_name_gets_its_own_certificate_and_gives_it_back_while_requests_run(stack: Stack) -> None:
    (shared,) = serials(stack)
    stack.inv("schedule.install").ok()
    with without_failure(stack.load()):
        told = json.loads(stack.inv("ssl.status", "--json", variables=EACH).ended(5).out)["names"]
        assert {one["problem"] for one in told if "still flotteq: inv ssl.init" not in one["problem"]} == set()
        assert "certificates of 5 names are in use" in stack.inv("ssl.init", variables=EACH).ok().out
        first = served(stack)
        assert len({*first.values(), shared}) == 6
        assert stack.host("readlink /opt/flotteq/certs/current").out.strip() == "placeholder"
        stack.want_renewal(ADMIN)
        # The job was installed before: it looks at what is in use.
        stack.inv("schedule.run-now", "renew").ok()
        second = served(stack)
        assert [name for name in first if first[name] != second[name]] == [ADMIN]
        stack.inv("ssl.init").ok()
    assert serials(stack) == {shared}
    assert stack.host("ls /opt/flotteq/certs/names").out == ""
