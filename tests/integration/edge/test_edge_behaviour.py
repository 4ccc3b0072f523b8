"""What a client meets at the edge, over real connections."""

import hashlib
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from edge_bench import API, APP, CHUNK, GENEROUS, OTHER, OWN_POLICY, Apps, Edge

from flotteq_tasks.model.edge import EdgeSettings, EdgeTimeouts

pytestmark = pytest.mark.host


def names(answer_headers: list[tuple[str, str]]) -> list[str]:
    return [name.lower() for name, _ in answer_headers]


def test_nginx_accepts_the_set_without_a_warning(edge: Edge) -> None:
    assert edge.run("nginx", "-e", "stderr", "-t", "-q", "-c", "/etc/nginx/flotteq/nginx.conf") == ""


@pytest.mark.parametrize("host", [API, APP, OTHER])
def test_http_is_redirected_with_its_path_and_method(edge: Edge, host: str) -> None:
    answer = edge.ask(host, "/a/b?c=d", method="POST", body=b"x", plain=True)
    assert (answer.status, answer.header("Location")) == (308, f"https://{host}/a/b?c=d")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "fleet.localhost", ""])
def test_an_unknown_host_gets_no_answer_over_http(edge: Edge, host: str) -> None:
    with socket.create_connection(("127.0.0.1", edge.http_port), 10) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert b"Location" not in plain.recv(4096)


@pytest.mark.parametrize("name", ["evil.example", "fleet.localhost", ""])
def test_an_unknown_name_sees_no_certificate(edge: Edge, name: str) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        edge.tls(name)


def test_a_foreign_host_on_a_known_name_is_misdirected(edge: Edge) -> None:
    assert edge.ask("evil.example", sni=APP).status == 421


def test_http2_and_tls13_are_negotiated(edge: Edge) -> None:
    edge.context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with edge.tls(APP) as secured:
            assert (secured.selected_alpn_protocol(), secured.version()) == ("h2", "TLSv1.3")
    finally:
        edge.context.set_alpn_protocols(["http/1.1"])


def test_a_challenge_is_answered_over_http(edge: Edge) -> None:
    answer = edge.ask(APP, "/.well-known/acme-challenge/token", plain=True)
    assert (answer.status, answer.body) == (200, b"proof")
    assert edge.ask(APP, "/.well-known/acme-challenge/other", plain=True).status == 404


@pytest.mark.parametrize(
    ("host", "path"), [(API, "/api/x"), (APP, "/"), (APP, CHUNK), (APP, "/assets/no"), (OTHER, "/")]
)
def test_every_answer_carries_the_security_headers_once(edge: Edge, host: str, path: str) -> None:
    answer = edge.ask(host, path)
    assert answer.header("X-Frame-Options") == "DENY"
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Strict-Transport-Security") == "max-age=63072000; includeSubDomains"
    assert answer.header("Content-Security-Policy")
    assert answer.header("X-Request-Id")
    assert answer.header("X-Powered-By") is None
    assert answer.header("Server") == "nginx"
    found = names(answer.headers)
    assert len(found) == len(set(found)), found


def test_what_a_client_claims_about_itself_is_overwritten(edge: Edge) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1", "Forwarded": "for=6.6.6.6", "Proxy": "http://evil.example",
        "X-Request-Id": "not an id; at all",
    }  # fmt: skip
    headers = edge.ask(API, "/api/x", headers=forged).json["headers"]
    assert isinstance(headers, dict)
    assert "6.6.6.6" not in str(headers) and "evil" not in str(headers)
    assert (headers["host"], headers["x-forwarded-host"], headers["x-forwarded-proto"]) == (API, API, "https")
    assert len(headers["x-request-id"]) == 32


def test_a_request_id_of_the_caller_is_kept(edge: Edge) -> None:
    answer = edge.ask(API, "/api/x", headers={"X-Request-Id": "caller-0123456789"})
    assert answer.header("X-Request-Id") == "caller-0123456789"


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (APP, CHUNK, "public, max-age=31536000, immutable"),
        (APP, "/", "no-cache"),
        (APP, "/index.html", "no-cache"),
        (APP, "/assets/missing-DiwrgT3a.js", "no-store"),
        (APP, "/assets/fallback-DiwrgT3a.js", "no-cache"),
        (APP, "/assets/logo-landscape.png", "no-store"),
        (API, "/api/x", "no-store"),
        (API, "/uploads/photo.jpg", "from the app"),
    ],
)
def test_what_may_be_kept_is_decided_by_name_and_type(edge: Edge, host: str, path: str, expected: str) -> None:
    assert edge.ask(host, path).header("Cache-Control") == expected


def test_a_chunk_of_the_previous_release_is_still_there_and_a_missing_one_comes_with_the_next(edge: Edge) -> None:
    later = "/assets/later-DiwrgT3a.js"
    assert edge.ask(APP, later).status == 404
    Apps.known.add(later)
    assert edge.ask(APP, later).status == 200
    Apps.known.discard(later)
    again = edge.ask(APP, later)
    assert (again.status, again.header("Cache-Control")) == (200, "public, max-age=31536000, immutable")


def test_a_page_in_place_of_a_chunk_is_not_kept(edge: Edge) -> None:
    before = Apps.seen.count("/assets/fallback-DiwrgT3b.js")
    for _ in range(2):
        edge.ask(APP, "/assets/fallback-DiwrgT3b.js")
    assert Apps.seen.count("/assets/fallback-DiwrgT3b.js") == before + 2


def test_text_is_compressed(edge: Edge) -> None:
    for path in ("/", CHUNK):
        answer = edge.ask(APP, path, headers={"Accept-Encoding": "gzip"})
        assert answer.header("Content-Encoding") == "gzip"
        assert answer.header("Vary") == "Accept-Encoding"
        assert len(answer.body) < 500


@pytest.mark.parametrize("path", ["/.env", "/.git/config", "/assets/../.git/config"])
def test_hidden_files_are_not_answered_by_an_app(edge: Edge, path: str) -> None:
    assert edge.ask(APP, path).status == 404


def test_the_status_page_is_not_public(edge: Edge) -> None:
    assert "the app" in edge.ask(APP, "/stub_status").body.decode()
    assert "Active connections" in edge.run("curl", "-s", "http://127.0.0.1:8081/stub_status")


def test_a_body_within_the_limit_arrives_untouched(edge: Edge) -> None:
    body = bytes(range(256)) * 4 * 1024 * 2
    answer = edge.ask(API, "/api/stripe/webhook", method="POST", body=body)
    assert answer.json == {"sha256": hashlib.sha256(body).hexdigest()}


def test_too_large_a_body_is_refused_in_json(edge: Edge) -> None:
    headers = {"Content-Length": str(4 << 20), "Origin": f"https://{APP}"}
    answer = edge.ask(API, "/api/upload", method="POST", headers=headers)
    assert (answer.status, answer.json["statusCode"]) == (413, 413)
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Access-Control-Allow-Origin") == f"https://{APP}"
    assert answer.json["requestId"] == answer.header("X-Request-Id")


def test_a_large_body_is_taken_only_where_files_are_sent(edge: Edge) -> None:
    headers = {"Content-Length": str(3 << 19)}
    answer = edge.ask(API, "/api/other", method="POST", headers=headers)
    assert (answer.status, answer.json["statusCode"], answer.header("X-Frame-Options")) == (413, 413, "DENY")
    assert edge.ask(APP, "/", method="POST", headers=headers).status == 413
    assert edge.ask(API, "/api/upload/photo", method="POST", body=b"x" * (3 << 19)).status == 200


def test_each_app_has_its_own_policies(edge: Edge) -> None:
    app, other = edge.ask(APP, "/"), edge.ask(OTHER, "/")
    assert "script-src 'self' https://js.pay.example;" in (app.header("Content-Security-Policy") or "")
    assert "script-src 'self';" in (other.header("Content-Security-Policy") or "")
    assert "geolocation=(self)" in (app.header("Permissions-Policy") or "")
    assert "geolocation=()" in (other.header("Permissions-Policy") or "")
    assert (app.header("X-Robots-Tag"), other.header("X-Robots-Tag")) == ("noindex", None)
    assert edge.ask(APP, CHUNK).header("X-Robots-Tag") == "noindex"
    assert edge.ask(APP, "/own-policy").header("Content-Security-Policy") == OWN_POLICY
    api = edge.ask(API, "/api/x")
    assert (api.header("Content-Security-Policy") or "").startswith("default-src 'none'; ")
    assert "geolocation=()" in (api.header("Permissions-Policy") or "")


def test_the_hybrid_group_is_negotiated_with_clients_that_know_it(edge: Edge) -> None:
    edge.run("curl", "-sk", "--resolve", f"{APP}:443:127.0.0.1", f"https://{APP}/hybrid")
    assert [json.loads(line)["curve"] for line in edge.logged('"path":"/hybrid"')] == ["X25519MLKEM768"]


def test_foreign_origins_may_not_read_errors(edge: Edge) -> None:
    headers = {"Content-Length": str(4 << 20), "Origin": "https://evil.example"}
    answer = edge.ask(API, "/api/upload", method="POST", headers=headers)
    assert answer.header("Access-Control-Allow-Origin") is None
    assert answer.header("Access-Control-Allow-Credentials") is None


@pytest.mark.parametrize("path", ["/socket.io/?EIO=4&transport=websocket", "/api/live"])
def test_a_websocket_passes(edge: Edge, path: str) -> None:
    with edge.websocket(path) as secured:
        secured.sendall(b"\x81\x03abc")
        assert secured.recv(4096) == b"\x81\x03abc"


def test_a_websocket_may_be_silent_for_longer_than_an_answer_may_take(start_edge: Callable[..., Edge]) -> None:
    patient = start_edge(GENEROUS, EdgeSettings(timeouts=EdgeTimeouts(read=1, send=1)))
    with patient.websocket("/socket.io/?EIO=4&transport=websocket") as live, patient.websocket("/api/live") as other:
        assert other.recv(1) == b"", "elsewhere the limit of all answers holds"
        live.settimeout(1.5)
        with pytest.raises(TimeoutError):
            live.recv(1)
        live.sendall(b"\x81\x03abc")
        assert live.recv(4096) == b"\x81\x03abc"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_comes_back_resumes_the_session(edge: Edge, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version

    def visit(session: ssl.SSLSession | None = None) -> tuple[ssl.SSLSession | None, bool | None]:
        plain = socket.create_connection(("127.0.0.1", edge.https_port), 10)
        with context.wrap_socket(plain, server_hostname=APP, session=session) as secured:
            secured.sendall(f"GET / HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n".encode())
            # With TLS 1.3 what it takes comes with the answer.
            while secured.recv(65_536):
                pass
            return secured.session, secured.session_reused

    session, reused = visit()
    assert not reused
    assert visit(session)[1]


def test_no_other_protocol_can_be_asked_for(edge: Edge) -> None:
    answer = edge.ask(API, "/api/x", headers={"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings"})
    headers = answer.json["headers"]
    assert isinstance(headers, dict) and "upgrade" not in headers


def test_an_app_that_is_gone_gets_a_page(edge: Edge) -> None:
    answer = edge.ask(OTHER, "/")
    assert (answer.status, answer.header("Retry-After")) == (502, "5")
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert (answer.header("X-Request-Id") or "-").encode() in answer.body


def test_maintenance_needs_no_reload_and_spares_challenges(edge: Edge) -> None:
    flag: Path = edge.files / "state/maintenance.on"
    flag.touch()
    try:
        page, api = edge.ask(APP, "/"), edge.ask(API, "/api/x", method="POST", body=b"x")
        assert (page.status, page.header("Retry-After"), page.header("Cache-Control")) == (503, "60", "no-cache")
        assert "Maintenance" in page.body.decode() and page.header("X-Frame-Options") == "DENY"
        assert (api.status, api.json["statusCode"], api.header("Retry-After")) == (503, 503, "60")
        assert edge.ask(APP, "/.well-known/acme-challenge/token", plain=True).status == 200
        assert edge.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8081/healthz") == "200"
    finally:
        flag.unlink()
    assert edge.ask(APP, "/").status == 200


def test_the_access_log_is_json_and_keeps_no_secret(edge: Edge) -> None:
    edge.ask(
        API,
        '/api/log"\\?reset_token=abc123&x=1',
        headers={"User-Agent": 'a"b\\c', "Referer": "https://x/?token=abc123"},
    )
    lines = edge.logged("/api/log")
    assert "abc123" not in str(lines)
    line = json.loads(lines[0])
    assert (line["status"], line["query"], line["host"]) == (200, "[redacted]", API)
