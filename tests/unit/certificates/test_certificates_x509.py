"""What makes a certificate fit, and what is said about a served one."""

from datetime import timedelta

import pytest
from certificate_issuer import NAMES, NOW, Authority

from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations.certificates import x509
from flotteq_tasks.operations.certificates.probe import Shown
from flotteq_tasks.operations.certificates.status import judge

CA = Authority()
CHAIN, KEY = CA.issue(NAMES)


def test_a_fit_certificate_has_no_faults() -> None:
    assert x509.faults(CHAIN, KEY, NAMES, NOW) == []


@pytest.mark.parametrize(
    ("chain", "key", "names", "fault"),
    [
        (CHAIN, CA.issue(NAMES)[1], NAMES, "the key does not belong"),
        (CHAIN, KEY, [*NAMES, "new.fleet.example"], "not valid for new.fleet.example"),
        (*CA.issue(NAMES, start=NOW - timedelta(days=100)), NAMES, "valid from 2026-11-21 12:00 to 2027-02-19 12:00"),
        (*CA.issue(NAMES, start=NOW + timedelta(days=1)), NAMES, "valid from 2027-03-02"),
        (CHAIN.replace(CA.pem, Authority().pem), KEY, NAMES, "the chain is broken after api.fleet.example"),
        (b"garbage", KEY, NAMES, "cannot be read"),
        (CHAIN, b"garbage", NAMES, "cannot be read"),
    ],
    ids=["key", "names", "expired", "future", "chain", "no-certificate", "no-key"],
)  # fmt: skip
def test_an_unfit_certificate_is_told_by_its_fault(chain: bytes, key: bytes, names: list[str], fault: str) -> None:
    assert fault in "; ".join(x509.faults(chain, key, names, NOW))


def test_the_placeholder_is_recognised_and_valid_for_nothing() -> None:
    chain, key = x509.make_placeholder(NOW)
    parsed = x509.read_pem(chain)
    assert parsed.placeholder and parsed.names == ("placeholder.invalid",)
    assert x509.faults(chain, key, NAMES, NOW) == ["it is not valid for api.fleet.example, shop.fleet.example"]
    assert parsed.days_left(NOW) > 3000


def test_garbage_is_no_certificate() -> None:
    with pytest.raises(FlotteqError, match="no readable certificate"):
        x509.read_pem(b"garbage")
    with pytest.raises(FlotteqError, match="no readable certificate"):
        x509.read_der(b"garbage")


@pytest.mark.parametrize(("day", "stale"), [(0, False), (60, False), (66, False), (67, True), (88, True)])
def test_stale_is_the_last_quarter_of_whatever_life_it_has(day: int, stale: bool) -> None:
    assert x509.read_pem(CHAIN).stale(NOW + timedelta(days=day)) is stale


@pytest.mark.parametrize(("life", "good", "bad"), [(45, 33, 34), (6, 4.4, 4.6)])
def test_the_threshold_follows_certificates_of_45_and_of_6_days(life: int, good: float, bad: float) -> None:
    leaf = x509.read_pem(CA.issue(NAMES, start=NOW, days=life)[0])
    assert [leaf.stale(NOW + timedelta(days=day)) for day in (good, bad)] == [False, True]


def test_a_good_name_has_no_problem() -> None:
    leaf = x509.read_pem(CHAIN)
    found = judge(Shown(NAMES[0], leaf), leaf, NOW, own="fleet", used="fleet")
    assert (found.problem, found.days_left, found.matches_file, found.trusted) == ("", 89.0, True, True)
    assert found.document()["not_after"] == "2027-05-29T12:00:00+00:00"
    assert found.issuer == "Fleet Test CA"


LEAF = x509.read_pem(CHAIN)
OTHER = x509.read_pem(CA.issue(NAMES)[0])
STAND_IN = x509.read_pem(x509.make_placeholder(NOW)[0])
STAGING = x509.read_pem(Authority("(STAGING) Counterfeit Cashew R10").issue(NAMES)[0])
RELOAD = "it is not the one on the host: inv nginx.reload"
UNREADABLE = "the file on the host cannot be read, a restart would fail: inv ssl.renew"


@pytest.mark.parametrize(
    ("shown", "on_disk", "days", "problem"),
    [
        (Shown("a", problem="no TLS on port 443: refused"), None, 0, "no TLS on port 443: refused"),
        (Shown("a", STAND_IN), None, 0, "only the placeholder is served: inv ssl.init"),
        (Shown(NAMES[0], LEAF), LEAF, 90, "it has expired"),
        (
            Shown(NAMES[0], STAGING), STAGING, 0,
            "the staging server issued it, no browser accepts it: set acme.directory, inv ssl.init",
        ),
        (Shown(NAMES[0], LEAF), OTHER, 0, RELOAD),
        (Shown(NAMES[0], LEAF), None, 0, UNREADABLE),
        (Shown(NAMES[0], LEAF), LEAF, 80, "less than a quarter of its life is left: inv ssl.renew"),
        (Shown("new.fleet.example", LEAF, distrust="mismatch"), LEAF, 0, "it is not valid for this name: inv ssl.init"),
        (Shown(NAMES[0], LEAF, distrust="self-signed"), LEAF, 0, "it is not trusted here: self-signed"),
    ],
    ids=["nothing", "placeholder", "expired", "staging", "other", "no-file", "stale", "foreign", "distrust"],
)  # fmt: skip
def test_the_gravest_problem_is_told(shown: Shown, on_disk: x509.Certificate | None, days: int, problem: str) -> None:
    assert judge(shown, on_disk, NOW + timedelta(days=days), own="fleet", used="fleet").problem == problem
