"""The audit on a running edge: nothing is found as it is delivered, and each fault that is put into it is."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from edge_bench import API, APP, ISSUED, OTHER, Edge, put
from edge_issuer import Issuer

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.edge import Limits
from flotteq_tasks.model.stack import Acme, Settings
from flotteq_tasks.operations.audit import Check, audit_edge
from flotteq_tasks.operations.edge import reload_edge
from flotteq_tasks.rendering.nginx import generation, render_edge

pytestmark = pytest.mark.host
Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def audited(own_edge: Edge) -> tuple[Edge, Settings]:
    """An edge with a trusted certificate and everyday limits, and the settings by which it is reached."""
    issuer = Issuer()
    chain, key = issuer.issue([API, APP, OTHER])
    put(own_edge.directory, {"certs/placeholder/fullchain.pem": chain, "certs/placeholder/privkey.pem": key})
    put(own_edge.directory, {"root.pem": issuer.root})
    root = str(own_edge.directory / "root.pem")
    return own_edge, replace(
        own_edge.reach, acme=Acme(root_file=root, resolvers=()), limits=Limits(api_rate=2, api_burst=10)
    )


def serve(edge: Edge, settings: Settings, change: Change | None = None) -> None:
    """Let the edge run what the settings give, changed as by somebody's own template."""
    files = render_edge(settings, edge.upstreams, certificates=ISSUED)
    if change:
        change(files)
    put(edge.files, files)
    reload_edge(LocalHost(), edge.compose, generation=generation(files), drain=5)


def findings(checks: list[Check]) -> list[tuple[str, str, str]]:
    return [(one.id, one.domain, one.found) for one in checks if not one.ok]


def test_the_delivered_edge_has_no_finding(audited: tuple[Edge, Settings]) -> None:
    edge, settings = audited
    serve(edge, settings)
    found = audit_edge(settings, limits=True)
    # What else listens on this machine is not the edge's doing.
    assert findings([one for one in found if one.id != "ports"]) == []
    assert {one.domain for one in found} == {"", API, APP, OTHER}
    assert {"page-load", "limit-login", "limit-requests", "tls-old", "compression"} < {one.id for one in found}
    assert {one.found for one in found if one.id == "tls-hybrid"} == {"X25519MLKEM768 is negotiated"}


def test_each_fault_is_found(audited: tuple[Edge, Settings]) -> None:
    edge, settings = audited

    def spoil(files: dict[str, bytes]) -> None:
        def swap(path: str, old: str, new: str) -> None:
            assert old.encode() in files[path], (path, old)
            files[path] = files[path].replace(old.encode(), new.encode())

        default = "servers/00-default.conf"
        swap(default, "return 444;", "return 301 https://$host$request_uri;")
        pair = {"ssl_certificate": "fullchain", "ssl_certificate_key": "privkey"}
        certificate = " ".join(f"{key} /etc/nginx/certs/current/{file}.pem;" for key, file in pair.items())
        swap(default, "ssl_reject_handshake on;\n", f"{certificate}\n")
        swap(default, "return 421;", "return 200;")
        swap(default, "return 308", "return 302")
        swap("http/tls.conf", "TLSv1.2 TLSv1.3", "TLSv1.2")
        swap("http/tls.conf", "?X25519MLKEM768:", "")
        swap("snippets/proxy.conf", "proxy_hide_header X-Frame-Options;\n", "")
        swap("snippets/headers.conf", "add_header Referrer-Policy strict-origin-when-cross-origin always;\n", "")
        swap("http/policies.conf", "script-src 'self'", "script-src 'self' 'unsafe-inline'")
        swap("http/cache.conf", "default no-cache;", 'default "max-age=31536000, immutable";')
        swap("http/cache.conf", '"~^404\\|" no-store;', "")
        swap("nginx.conf", "client_max_body_size 1m;", "client_max_body_size 0;")
        swap("http/compression.conf", "gzip on;", "gzip off;")
        swap("servers/frontend-client.conf", "location ~ /\\.(?!well-known/)", "location = /nowhere")
        swap("servers/backend.conf", "limit_req zone=limit_login burst=5 nodelay;", "")
        swap("http/limits.conf", "zone=limit_api:10m rate=2r/s", "zone=limit_api:10m rate=9000r/s")
        # Not by open requests: whether two of them meet is chance.
        zone = "limit_req_zone $binary_remote_addr zone=page:1m rate=1r/s;"
        swap("http/limits.conf", "limit_req_status 429;", f"{zone}\nlimit_req_status 429;")
        page = "limit_req zone=page burst=9 nodelay;"
        swap("servers/frontend-client.conf", "limit_conn open_assets 500;", page)

    serve(edge, settings, spoil)
    found = {(name, domain) for name, domain, _ in findings(audit_edge(settings, limits=True))}
    everywhere = {(name, "") for name in ("foreign-host-http", "foreign-host-https", "foreign-name", "no-name")}
    assert found - {("ports", "")} == everywhere | {
        *((name, domain) for domain in (API, APP, OTHER) for name in ("redirect", "tls", "tls-hybrid", "headers-page")),
        *((name, domain) for domain in (APP, OTHER) for name in ("policy", "headers-missing", "cache-missing")),
        *((name, domain) for domain in (API, APP, OTHER) for name in ("body-limit", "headers-too-large")),
        *((name, domain) for domain in (APP, OTHER) for name in ("cache-page",)),
        *((name, APP) for name in ("private", "compression", "page-load")),
        *((name, API) for name in ("limit-login", "limit-requests")),
    }  # fmt: skip


def test_an_edge_that_does_not_answer_is_a_finding_for_each_name(audited: tuple[Edge, Settings]) -> None:
    _, settings = audited
    gone = replace(settings, edge=replace(settings.edge, https_port=1, http_port=2))
    found = {(one.id, one.domain): one for one in audit_edge(gone)}
    for domain in (API, APP, OTHER):
        assert not found["certificate", domain].ok and not found["headers-page", domain].ok
    assert not found["foreign-name", ""].ok
