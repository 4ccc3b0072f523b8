"""What is made of the words of graders that others wrote."""

from typing import Any

import pytest

from flotteq_tasks.commands import graders as commands
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.errors import CommandFailed
from flotteq_tasks.operations.audit import graders
from flotteq_tasks.operations.audit.checks import Check

DOMAIN = "app.fleet.example"
SSLYZE = """
 COMPLIANCE AGAINST TLS CONFIGURATION
 ------------------------------------

    Checking results against the configuration.

    app.fleet.example:443: FAILED - Not compliant.
        * tls_versions: TLS versions {'TLSv1.1'} are supported, but should be rejected.
        * ciphers: Cipher suites {'TLS_RSA_WITH_AES_128_CBC_SHA'} are supported, but should be rejected.
    api.fleet.example:443: OK - Compliant.
"""


def test_a_grader_runs_beside_this_machine_and_knows_where_the_names_are() -> None:
    words = commands.testssl(DOMAIN, 443, address="127.0.0.2", roots="/ca.pem")
    command = commands.grader("graders:1", words, limit=60, addresses={DOMAIN: "127.0.0.2"}, roots="/fleet/root.pem")
    assert str(command) == (
        "docker run --rm --init --network=host --add-host=app.fleet.example:127.0.0.2 "
        "--volume=/fleet/root.pem:/ca.pem:ro --env=NODE_EXTRA_CA_CERTS=/ca.pem graders:1 timeout 60 sh -c "
        "'testssl --quiet --color 0 --jsonfile /tmp/found \"$@\" >&2; cat /tmp/found' "
        "testssl --add-ca /ca.pem --ip 127.0.0.2 app.fleet.example:443"
    )


def test_names_that_dns_knows_are_asked_where_dns_says() -> None:
    command = commands.grader("graders:1", commands.sslyze("mozilla-6.0", [f"{DOMAIN}:8443"]), limit=9)
    assert str(command) == (
        "docker run --rm --init --network=host graders:1 timeout 9 "
        "/opt/sslyze/bin/sslyze --custom_tls_config=/mozilla-6.0.json app.fleet.example:8443"
    )
    assert commands.testssl(DOMAIN, 443)[-3:] == ["--ip", "one", "app.fleet.example:443"]
    assert commands.observatory(DOMAIN)[-1] == DOMAIN
    assert commands.csp_evaluator("default-src 'none'")[-1] == "default-src 'none'"


def finding(name: str, severity: str) -> dict[str, str]:
    return {"id": name, "severity": severity, "finding": "words"}


def test_testssl_has_a_grade_and_what_is_severe() -> None:
    found = [
        {"id": "overall_grade", "severity": "LOW", "finding": "B"}, finding("BREACH", "MEDIUM"),
        finding("cert_revocation", "HIGH"), finding("DNS_CAArecord", "LOW"),
    ]  # fmt: skip
    private = list(graders.testssl(DOMAIN, found, private=True))
    assert [(one.id, one.found, one.ok) for one in private] == [
        ("testssl", "grade B", False),
        ("testssl-BREACH", "medium: words", False),
    ]
    assert [one.id for one in graders.testssl(DOMAIN, found, private=False)][-1] == "testssl-cert_revocation"


def test_testssl_without_a_grade_is_a_finding() -> None:
    [one] = graders.testssl(DOMAIN, [], private=False)
    assert (one.found, one.ok) == ("grade none", False)


def test_sslyze_says_what_a_name_does_not_keep() -> None:
    done = Done(Command("sslyze"), 1, out=SSLYZE)
    bad = graders.sslyze("mozilla-5.7", DOMAIN, f"{DOMAIN}:443", done)
    assert not bad.ok
    assert bad.found.startswith("tls_versions: TLS versions {'TLSv1.1'} are supported")
    assert "; ciphers: " in bad.found
    assert graders.sslyze("mozilla-5.7", "api.fleet.example", "api.fleet.example:443", done) == Check(
        "mozilla-5.7", "api.fleet.example", "compliant"
    )


def test_a_name_that_sslyze_could_not_reach_is_an_error_with_its_words() -> None:
    done = Done(Command("sslyze"), 1, out="", err="could not connect\n")
    with pytest.raises(CommandFailed, match=r"a grader did not end well \(exit code 1\): could not connect"):
        graders.sslyze("mozilla-5.7", DOMAIN, f"{DOMAIN}:443", done)


@pytest.mark.parametrize(
    ("grade", "score", "ok"), [("A+", 120, True), ("A+", 115, False), ("A", 120, False), (None, None, False)]
)
def test_the_observatory_must_give_its_best(grade: str | None, score: int | None, ok: bool) -> None:
    found = {"scan": {"grade": grade, "score": score}, "tests": {"csp": {"pass": ok}, "hsts": {"pass": True}}}
    one = graders.observatory(DOMAIN, 120, found)
    assert one.ok is ok
    assert ("not passed: csp" in one.found) is not ok


@pytest.mark.parametrize(
    ("found", "words", "ok"),
    [
        ([], "no way around it", True),
        ([{"severity": 40, "directive": "script-src", "description": "maybe"}], "no way around it", True),
        ([{"severity": 10, "directive": "script-src", "description": "inline"}], "script-src: inline", False),
        (None, "there is no policy", False),
    ],
)
def test_a_way_around_a_policy_is_a_finding(found: list[dict[str, Any]] | None, words: str, ok: bool) -> None:
    one = graders.policies(DOMAIN, found)
    assert (one.found, one.ok) == (words, ok)
