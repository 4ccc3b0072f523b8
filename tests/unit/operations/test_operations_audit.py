"""Judgements on answers that the outside got."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit_support import fleet

from flotteq_tasks.model.stack import Acme, Project, Vhost
from flotteq_tasks.operations.audit import checks, hello, zone
from flotteq_tasks.operations.audit.asking import Response
from flotteq_tasks.operations.certificates.dns import Broken, Silent
from flotteq_tasks.operations.certificates.x509 import make_placeholder, utc_now

GOOD = (
    ("Server", "nginx"),
    ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "camera=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Request-Id", "0" * 32),
    ("Set-Cookie", "a=1"),
    ("Set-Cookie", "b=2"),
)
POLICY = "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
PRIME256V1 = 0x0017
OURS = "letsencrypt.org"
API = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"


def answer(status: int = 200, body: bytes = b"", **more: str) -> Response:
    return Response(status, tuple((name.replace("_", "-"), value) for name, value in more.items()), body)


def test_a_complete_answer_is_right_whatever_its_status() -> None:
    for status in (200, 404, 502):
        assert [one.ok for one in checks.headers("a.x", "page", Response(status, GOOD))] == [True]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("Strict-Transport-Security", "max-age=300", "Strict-Transport-Security is max-age=300"),
        ("Strict-Transport-Security", "", "Strict-Transport-Security is missing"),
        ("X-Content-Type-Options", "none", "X-Content-Type-Options is none"),
        ("X-Frame-Options", "ALLOWALL", "X-Frame-Options is ALLOWALL"),
        ("Referrer-Policy", "unsafe-url", "Referrer-Policy is unsafe-url"),
        ("Permissions-Policy", "", "Permissions-Policy is missing"),
        ("X-Request-Id", "", "X-Request-Id is missing"),
        ("Server", "nginx/1.30.6", "Server names a version: nginx/1.30.6"),
    ],
)
def test_a_header_that_is_wrong_or_missing_is_named(name: str, value: str, found: str) -> None:
    changed = tuple((key, value if key == name else old) for key, old in GOOD if key != name or value)
    check = next(checks.headers("a.x", "page", Response(200, changed)))
    assert (check.ok, check.found) == (False, found)


def test_a_header_that_came_twice_is_named_and_cookies_may() -> None:
    check = next(checks.headers("a.x", "page", Response(200, (*GOOD, ("x-frame-options", "DENY")))))
    assert (check.ok, check.found) == (False, "twice: x-frame-options")


def test_no_answer_has_no_headers() -> None:
    check = next(checks.headers("a.x", "page", Response(problem="connection refused")))
    assert (check.ok, check.found) == (False, "no answer: connection refused")


@pytest.mark.parametrize(
    ("kind", "policy", "found"),
    [
        ("web", POLICY, "strict"),
        ("api", API, "strict"),
        ("web", "", "missing"),
        ("api", POLICY, "an API needs default-src 'none'"),
        (
            "web",
            POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'"),
            "scripts may be 'unsafe-inline'",
        ),
        ("web", POLICY.replace("script-src 'self'", "script-src *"), "scripts may be *"),
        (
            "web",
            POLICY.replace("default-src 'self'; script-src 'self'; ", ""),
            "any script may run: neither script-src nor default-src",
        ),
        ("web", POLICY.replace("; frame-ancestors 'none'", ""), "frame-ancestors is missing"),
        ("web", POLICY.replace("object-src 'none'; ", ""), "object-src is not 'none'"),
    ],
)
def test_a_policy_that_lets_foreign_scripts_run_is_told_from_a_strict_one(kind: Vhost, policy: str, found: str) -> None:
    check = checks.policy("a.x", kind, answer(Content_Security_Policy=policy))
    assert (check.found, check.ok) == (found, found == "strict")


def test_caches_by_what_was_asked_for() -> None:
    for value, page, asset, missing in (
        ("no-cache", True, False, True),
        ("no-store", True, False, True),
        ("public, max-age=31536000, immutable", False, True, False),
        ("", False, False, True),
    ):
        assert checks.page_cache("a.x", answer(Cache_Control=value)).ok is page
        assert checks.asset_cache("a.x", "/assets/a.js", answer(Cache_Control=value)).ok is asset
        assert checks.missing_asset("a.x", answer(404, Cache_Control=value)).ok is missing


@pytest.mark.parametrize(
    ("path", "status", "body", "ok"),
    [
        ("/.env", 404, b"", True),
        ("/.env", 200, b"<!doctype html>", False),
        ("/.env", 200, b"DB_PASSWORD=x", False),
        ("/metrics", 200, b"<!doctype html>the app", True),
        ("/metrics", 200, b"# HELP process_cpu\n# TYPE process_cpu counter\n", False),
        ("/stub_status", 200, b"Active connections: 1 \n", False),
        ("/.git/config", 403, b"", True),
    ],
)
def test_what_is_private_gives_nothing_away(path: str, status: int, body: bytes, ok: bool) -> None:
    assert checks.private("a.x", path, answer(status, body)).ok is ok


def test_a_refusal_has_the_apis_form_and_says_when_to_come_back() -> None:
    refusal = answer(429, b'{"statusCode":429}', Retry_After="6")
    assert checks.refused("a.x", "limit-login", [answer(), refusal], "6").ok
    assert not checks.refused("a.x", "limit-login", [answer(), refusal], "1").ok
    assert not checks.refused("a.x", "limit-login", [answer(), answer(429, b"<html>", Retry_After="6")], "6").ok
    assert not checks.refused("a.x", "limit-login", [answer(), answer()], "6").ok
    assert checks.too_large("a.x", "api", answer(413, b'{"statusCode":413}')).ok
    assert not checks.too_large("a.x", "api", answer(413, b"<html>")).ok
    assert checks.too_large("a.x", "web", answer(413, b"<html>")).ok


def test_a_redirect_keeps_the_method_and_the_place() -> None:
    assert checks.redirect("a.x", answer(308, Location="https://a.x/b?c"), "https://a.x/b?c").ok
    assert not checks.redirect("a.x", answer(301, Location="https://a.x/b?c"), "https://a.x/b?c").ok
    assert not checks.redirect("a.x", answer(308, Location="https://a.x/"), "https://a.x/b?c").ok


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[], socket.socket]]:
    """Connections to a TLS server that knows one group of key exchange."""
    for name, content in zip(("chain", "key"), make_placeholder(utc_now()), strict=True):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    context.set_ecdh_curve("prime256v1")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            plain, _ = listening.accept()
            try:
                context.wrap_socket(plain, server_side=True)
            except OSError:
                plain.close()

        def connect() -> socket.socket:
            threading.Thread(target=serve, daemon=True).start()
            return socket.create_connection(listening.getsockname(), 10)

        yield connect


@pytest.mark.parametrize(("group", "taken"), [(PRIME256V1, True), (hello.X25519, False), (hello.X25519MLKEM768, False)])
def test_a_group_is_negotiated_by_a_server_that_knows_it(
    server: Callable[[], socket.socket], group: int, taken: bool
) -> None:
    with server() as opened:
        assert hello.negotiates(opened, "a.x", group) is taken


def test_a_server_that_says_nothing_has_negotiated_nothing() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(OSError, match=r"without an answer|Broken pipe"):
        hello.negotiates(ours, "a.x", hello.X25519)


@pytest.mark.parametrize(
    ("domain", "records", "ok", "found"),
    [
        ("fleet.eu", ["0 issue letsencrypt.org"], True, 'fleet.eu has "0 issue letsencrypt.org"'),
        ("fleet.eu", ["0 issue other.example"], False, 'fleet.eu has "0 issue other.example"'),
        ("fleet.eu", ["0 iodef mailto:a@fleet.eu"], False, 'has "0 iodef mailto:a@fleet.eu": any authority may issue'),
        ("fleet.eu", [], False, "no record: any authority may issue"),
        ("fleet.localhost", [], True, "not checked: no authority issues for a name that is not public"),
        ("fleet.localhost", ["0 issue other.example"], False, 'fleet.localhost has "0 issue other.example"'),
    ],
)
def test_a_zone_must_name_its_authority(domain: str, records: list[str], ok: bool, found: str) -> None:
    settings = fleet(project=Project(name="fleet", domain=domain), acme=Acme(issuer=OURS))
    check = zone.caa(settings, f"api.{domain}", lambda _server, _name: (domain if records else "", records))
    assert (check.id, check.ok, found in check.found) == ("caa", ok, True), check
    assert ok or f'add to the zone: {domain}. CAA 0 issue "{OURS}"' in check.fix


def test_what_the_next_dns_server_says_counts_when_one_is_silent_and_silence_is_told() -> None:
    def policy(server: str, name: str) -> tuple[str, list[str]]:
        if server != "192.0.2.2":
            raise Silent(f"DNS server {server} does not answer")
        return name, [f"0 issue {OURS}"]

    both = Acme(issuer=OURS, resolvers=("192.0.2.1", "192.0.2.2"))
    assert 'has "0 issue' in zone.caa(fleet(acme=both), "api.fleet.eu", policy).found
    one = Acme(issuer=OURS, resolvers=("192.0.2.1",))
    check = zone.caa(fleet(acme=one), "api.fleet.eu", policy)
    assert (check.ok, check.found) == (True, "not checked: DNS server 192.0.2.1 does not answer")


@pytest.mark.parametrize(("acme", "why"), [(Acme(issuer=""), "acme.issuer"), (Acme(resolvers=()), "acme.resolvers")])
def test_what_is_not_checked_says_why(acme: Acme, why: str) -> None:
    check = zone.caa(fleet(acme=acme), "api.fleet.eu")
    assert check.ok and check.found.startswith(f"not checked: {why} is empty")


def test_a_zone_that_no_server_can_read_is_a_finding() -> None:
    def policy(server: str, _name: str) -> tuple[str, list[str]]:
        raise Broken(f"DNS server {server} answers SERVFAIL for CAA")

    check = zone.caa(fleet(acme=Acme(resolvers=("192.0.2.1",))), "api.fleet.eu", policy)
    assert (check.ok, check.fix) == (False, "mend the zone or its DNSSEC: dig CAA api.fleet.eu @192.0.2.1")
