"""The rendered edge: whole files against golden ones, and the rules that every change must keep."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from edge_rendering_fixture import GOLDEN, ISSUED, UPSTREAMS, fixture
from nginx_grammar import Directive, parse

from flotteq_tasks.model.edge import EdgeSettings, EdgeSizes, EdgeTimeouts, Limits, PublicSettings
from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.model.stack import Acme, Service
from flotteq_tasks.rendering import nginx
from flotteq_tasks.rendering.nginx import generation, render_edge, render_upstreams

PROXY = "/etc/nginx/flotteq/snippets/proxy.conf"
SOURCE = Path(nginx.__file__).parents[2] / "nginx"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return render_edge(fixture(), UPSTREAMS, certificates=ISSUED, release="r-42")


@pytest.fixture(scope="module")
def tree(files: dict[str, bytes]) -> dict[str, Directive]:
    return parse(files)


def servers(tree: dict[str, Directive]) -> list[Directive]:
    return [server for root in tree.values() for server in root.all("server") if server.block]


def public(tree: dict[str, Directive]) -> list[Directive]:
    return [one for one in servers(tree) if ["443", "ssl"] in one.own("listen")]


def test_the_set_is_the_golden_one(files: dict[str, bytes]) -> None:
    golden = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}
    assert set(files) == golden


@pytest.mark.parametrize("path", sorted(p.relative_to(GOLDEN).as_posix() for p in GOLDEN.rglob("*") if p.is_file()))
def test_each_file_is_the_golden_one(files: dict[str, bytes], path: str) -> None:
    assert files[path].decode() == (GOLDEN / path).read_text()


def test_equal_input_gives_equal_bytes(files: dict[str, bytes]) -> None:
    assert render_edge(fixture(), dict(reversed(UPSTREAMS.items())), certificates=ISSUED, release="r-42") == files


def test_every_location_that_proxies_includes_the_headers(tree: dict[str, Directive]) -> None:
    """One proxy_set_header of its own drops all inherited ones; no tool reports it."""
    proxying = [
        location
        for server in servers(tree)
        for location in server.all("location")
        if location.own("proxy_pass") or location.own("proxy_set_header")
    ]
    assert len(proxying) == 7
    for location in proxying:
        assert [PROXY] in location.own("include"), location.words
    for path, root in tree.items():
        assert path == "snippets/proxy.conf" or not root.own("proxy_set_header"), path


def test_what_a_client_says_about_itself_is_nowhere_passed_on(files: dict[str, bytes]) -> None:
    text = b"".join(files.values()).decode()
    for wrong in (
        "proxy_add_x_forwarded_for",
        "$http_host",
        "non_idempotent",
        "ssl_stapling",
        " http2;",
        "set_real_ip_from",
    ):
        assert wrong not in text


def test_every_public_server_has_the_whole_protection(tree: dict[str, Directive]) -> None:
    assert [one.own("server_name") for one in public(tree)] == [
        [["rpc.fleet.example"]], [["fleet.example"]], [["shop.fleet.example"]],
    ]  # fmt: skip
    for server in public(tree):
        included = {words[0].rpartition("/")[2] for words in server.own("include")}
        assert {"headers.conf", "maintenance.conf"} < included
        assert server.own("ssl_certificate") == [["/etc/nginx/certs/current/fullchain.pem"]]
        assert included & {"errors-json.conf", "errors-html.conf"}
        assert server.own("http2") == [["on"]]
        assert server.own("limit_conn") in ([["open_api", "23"]], [["open_web", "31"]])
        headers = [words[0] for words in server.own("add_header")]
        assert {"Content-Security-Policy", "Permissions-Policy", "Strict-Transport-Security"} < set(headers)
        assert len(set(headers)) == len(headers)


def test_bodies_are_small_but_where_files_are_sent() -> None:
    settings = fixture(Limits(body_mb=3, upload_mb=19, api_burst=11))
    core = replace(settings.services["core"], public=PublicSettings(upload_paths=("/rpc/files", "/uploads/")))
    tree = parse(render_edge(replace(settings, services={**settings.services, "core": core}), {}, certificates=ISSUED))
    assert next(tree["nginx.conf"].all("http")).own("client_max_body_size") == [["3m"]]
    found = {one.words[-1]: one.own("client_max_body_size") for one in tree["servers/core.conf"].all("location")}
    assert found == {"/rpc/files": [["20m"]], "/": [], "/socket.io/": [], "/uploads/": [["20m"]]}
    for location in tree["servers/core.conf"].all("location"):
        assert location.own("limit_req")


def test_an_app_gets_the_policies_that_it_asks_for_and_no_other() -> None:
    settings = fixture()
    public = PublicSettings(
        permissions=("geolocation", "payment"), csp={"script-src": ("https://js.pay.example",), "frame-src": ("https://pay.example",)},
        headers={"X-Robots-Tag": "noindex, nofollow"},
    )  # fmt: skip
    shop = replace(settings.services["shop"], public=public)
    files = render_edge(replace(settings, services={**settings.services, "shop": shop}), {}, certificates=ISSUED)
    server = files["servers/shop.conf"].decode()
    assert "camera=(), " in server and "geolocation=(self), " in server and "payment=(self), " in server
    assert 'add_header X-Robots-Tag "noindex, nofollow" always;' in server
    assert server.count("proxy_hide_header X-Robots-Tag;") == server.count(
        "include /etc/nginx/flotteq/snippets/proxy.conf;"
    )
    policies = files["http/policies.conf"].decode()
    assert "shop.fleet.example \"default-src 'self'; script-src 'self' https://js.pay.example; " in policies
    # 'self' is named with it: a list of its own no longer takes default-src's.
    assert "frame-src 'self' https://pay.example; upgrade-insecure-requests" in policies
    assert "geolocation=(), " in files["servers/home.conf"].decode()


def test_a_policy_on_trial_blocks_nothing_that_the_least_one_does_not() -> None:
    settings = fixture()
    shop = replace(settings.services["shop"], public=PublicSettings(csp_report_only=True))
    files = render_edge(replace(settings, services={**settings.services, "shop": shop}), {}, certificates=ISSUED)
    policies = files["http/policies.conf"].decode()
    assert "shop.fleet.example \"base-uri 'self'; object-src 'none'; frame-ancestors 'none'\";" in policies
    assert policies.rpartition("$reported_policy")[2].count("shop.fleet.example \"default-src 'self'; ") == 1
    assert b"Content-Security-Policy-Report-Only $reported_policy always;" in files["servers/shop.conf"]
    assert b"Report-Only" not in files["servers/home.conf"]


def test_policies_name_the_port_that_browsers_use() -> None:
    files = render_edge(replace(fixture(), edge=EdgeSettings(https_port=8443)), {}, certificates={})
    assert (
        b"connect-src 'self' https://rpc.fleet.example:8443 wss://rpc.fleet.example:8443;"
        in files["http/policies.conf"]
    )


def test_http3_is_off_unless_asked_for(files: dict[str, bytes]) -> None:
    assert b"quic" not in b"".join(files.values()) and b"Alt-Svc '" not in b"".join(files.values())
    tree = parse(render_edge(replace(fixture(), edge=EdgeSettings(http3=True)), {}, certificates=ISSUED))
    quic = [["443", "quic"], ["[::]:443", "quic"]]
    for server in public(tree)[1:]:
        assert [words for words in server.own("listen") if "quic" in words] == quic
        assert "Alt-Svc" in {words[0] for words in server.own("add_header")}
    refusing = next(one for one in servers(tree) if one.own("ssl_reject_handshake"))
    assert ["443", "quic", "reuseport", "default_server"] in refusing.own("listen")


def test_modern_tls_leaves_the_older_version_out() -> None:
    text = render_edge(replace(fixture(), edge=EdgeSettings(tls="modern")), {}, certificates=ISSUED)[
        "http/tls.conf"
    ].decode()
    assert "ssl_protocols TLSv1.3;" in text


def test_addresses_are_believed_from_named_proxies_only() -> None:
    edge = EdgeSettings(trusted_proxies=("203.0.113.0/24", "2001:db8::/32"), client_header="CF-Connecting-IP")
    root = parse(render_edge(replace(fixture(), edge=edge), {}, certificates=ISSUED))["http/realip.conf"]
    assert root.own("set_real_ip_from") == [["203.0.113.0/24"], ["2001:db8::/32"]]
    assert root.own("real_ip_header") == [["CF-Connecting-IP"]] and root.own("real_ip_recursive") == [["on"]]


def test_every_number_can_be_set() -> None:
    """A key that no template reads would promise what it does not do."""
    base = render_edge(fixture(), UPSTREAMS, certificates=ISSUED)
    draining = render_edge(fixture(), UPSTREAMS, certificates=ISSUED, draining=True)
    for table, kind in (("timeouts", EdgeTimeouts), ("sizes", EdgeSizes)):
        for field in fields(kind):
            values = replace(kind(), **{field.name: getattr(kind(), field.name) + 1})
            settings = replace(fixture(), edge=replace(EdgeSettings(), **{table: values}))
            assert render_edge(settings, UPSTREAMS, certificates=ISSUED) != base, field.name
    for field in fields(Limits):
        value = getattr(fixture().limits, field.name)
        other = (*value, "/sign-in") if isinstance(value, tuple) else value + 1
        limits = replace(fixture().limits, **{field.name: other})
        assert render_edge(fixture(limits), UPSTREAMS, certificates=ISSUED) != base, field.name
    assert draining != base


def test_a_path_of_the_login_limit_is_matched_as_it_is() -> None:
    text = render_edge(fixture(Limits(login_paths=("/v1.0/login",), login_rate=7)), {}, certificates=ISSUED)[
        "http/limits.conf"
    ]
    assert rb'"~*^POST .*/v1\.0/login/?$" $limited_client;' in text
    assert b"default 9;" in text, "seven a minute: the next one after 8.6 seconds"


@pytest.mark.parametrize("value", ['a"b', "a\nb", "a$b", "a\\b", "\u00e9"])
def test_a_header_that_would_end_its_directive_is_refused(value: str) -> None:
    settings = fixture()
    shop = replace(settings.services["shop"], public=PublicSettings(headers={"X-A": value}))
    with pytest.raises(SettingsError, match="cannot stand between quotes"):
        render_edge(replace(settings, services={**settings.services, "shop": shop}), {}, certificates=ISSUED)


def test_the_own_template_behind_a_rendered_file_is_found(tmp_path: Path) -> None:
    for name in ("vhosts/opening.j2", "http/tls.conf.j2", "pages/error.html.j2"):
        (tmp_path / "nginx" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nginx" / name).write_text((SOURCE / name).read_text())
    found = {
        path: nginx.own_template(fixture(root=tmp_path), path)
        for path in ("servers/shop.conf", "http/tls.conf", "pages/503.html", "http/cache.conf", "nginx.conf")
    }
    assert found == {
        "servers/shop.conf": "nginx/vhosts/opening.j2", "http/tls.conf": "nginx/http/tls.conf.j2",
        "pages/503.html": "nginx/pages/error.html.j2", "http/cache.conf": "", "nginx.conf": "",
    }  # fmt: skip
    assert nginx.own_template(fixture(), "servers/shop.conf") == ""


def test_headers_reach_error_answers_too(tree: dict[str, Directive]) -> None:
    for path, root in tree.items():
        for header in root.all("add_header"):
            assert header.words[-1] == "always", f"{path}: {header.words}"


def test_every_location_but_assets_and_errors_is_limited(tree: dict[str, Directive]) -> None:
    found = {
        " ".join(location.words[1:]): words
        for server in public(tree)
        for location in server.all("location")
        for words in location.own("limit_req") or [["none"]]
        if location.own("proxy_pass")
    }
    assert found == {
        "/": ["zone=limit_pages", "burst=17", "nodelay"],
        "^~ /socket.io/": ["zone=limit_api", "burst=11", "nodelay"],
        "^~ /uploads/": ["zone=limit_pages", "burst=160", "nodelay"],
        "^~ /assets/": ["none"],
    }
    api = next(one for one in public(tree) if one.own("server_name") == [["rpc.fleet.example"]])
    root = next(api.all("location"))
    assert root.own("limit_req") == [
        ["zone=limit_api", "burst=11", "nodelay"], ["zone=limit_login", "burst=5", "nodelay"],
    ]  # fmt: skip
    assert root.own("client_max_body_size") == [["20m"]]


def test_every_upstream_server_is_resolved_again(tree: dict[str, Directive]) -> None:
    upstreams = list(tree["upstreams/active.conf"].all("upstream"))
    assert [one.words[1] for one in upstreams] == ["core", "home", "shop"]
    for upstream in upstreams:
        assert upstream.own("zone") and upstream.own("keepalive_timeout") == [["4s"]]
        for words in upstream.own("server"):
            assert words[1:] == ["resolve", "max_fails=1", "fail_timeout=2s"]
    assert [words[0] for words in upstreams[0].own("server")] == ["fleet-core-7:4000", "fleet-core-8:4000"]


def test_a_service_without_containers_is_asked_by_its_own_name() -> None:
    text = render_upstreams(fixture(), {"core": []}).decode()
    assert "server core:4000 resolve" in text and "server shop:80 resolve" in text


def test_hsts_comes_with_an_issued_certificate_only(files: dict[str, bytes]) -> None:
    assert b'Strict-Transport-Security "' not in b"".join(render_edge(fixture(), UPSTREAMS, certificates={}).values())
    assert b'"max-age=63072000; includeSubDomains"' in files["servers/shop.conf"]
    assert b'"max-age=63072000"' in files["servers/home.conf"], "the domain itself would bind names of others"


def test_every_name_reads_its_own_certificate_where_it_has_one() -> None:
    settings = replace(fixture(), acme=Acme(layout="each"))
    links = {"current": "placeholder", "names/shop.fleet.example/current": "rel-1"}
    files = render_edge(settings, UPSTREAMS, certificates=links)
    read = (
        "ssl_certificate /etc/nginx/certs/{0}/fullchain.pem;\n    ssl_certificate_key /etc/nginx/certs/{0}/privkey.pem;"
    )
    assert read.format("names/shop.fleet.example/current").encode() in files["servers/shop.conf"]
    assert read.format("current").encode() in files["servers/home.conf"]
    assert [name for name in files if b'Strict-Transport-Security "' in files[name]] == ["servers/shop.conf"]


def test_the_redirect_names_the_port_that_browsers_use() -> None:
    settings = replace(fixture(), edge=EdgeSettings("127.0.0.1", 8080, 8443))
    files = render_edge(settings, {}, certificates={})
    assert b"return 308 https://$host:8443$request_uri;" in files["servers/00-default.conf"]
    assert b'"https://shop.fleet.example:8443" $http_origin;' in files["http/proxy.conf"]


def test_the_generation_follows_content_and_nothing_else(files: dict[str, bytes]) -> None:
    edge, upstreams = generation(files).split("-")
    assert re.fullmatch("[0-9a-f]{12}", edge) and re.fullmatch("[0-9a-f]{12}", upstreams)
    other_limits = render_edge(fixture(Limits(api_rate=8)), UPSTREAMS, certificates=ISSUED, release="r-42")
    other_names = render_edge(fixture(), {}, certificates=ISSUED, release="r-42")
    assert generation(other_limits).split("-")[0] != edge and generation(other_limits).split("-")[1] == upstreams
    assert generation(other_names).split("-")[0] == edge and generation(other_names).split("-")[1] != upstreams


def test_the_switch_changes_one_file_only(files: dict[str, bytes]) -> None:
    after = render_edge(fixture(), {**UPSTREAMS, "core": ["fleet-core-9"]}, certificates=ISSUED, release="r-43")
    assert [path for path in files if files[path] != after[path]] == [nginx.UPSTREAMS]
    assert after[nginx.UPSTREAMS] == render_upstreams(
        fixture(), {**UPSTREAMS, "core": ["fleet-core-9"]}, release="r-43"
    )


@pytest.mark.parametrize("name", ["a;b", "a b", "a{b", 'a"b', "a\nb", "$host", "a#b", "a\\b", ""])
def test_a_value_that_would_end_a_directive_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="nginx's configuration"):
        render_upstreams(fixture(), {"core": [name]})
    settings = fixture()
    services = {**settings.services, "shop": replace(settings.services["shop"], subdomain=f"{name}!;")}
    with pytest.raises(SettingsError, match="cannot stand"):
        render_edge(replace(settings, services=services), {}, certificates=ISSUED)


def test_a_template_of_the_project_replaces_the_delivered_one(tmp_path: Path) -> None:
    (tmp_path / "nginx/pages").mkdir(parents=True)
    (tmp_path / "nginx/pages/error.html.j2").write_text("<h1>{{ error.code }}</h1>\n")
    files = render_edge(fixture(root=tmp_path), {}, certificates={})
    assert files["pages/503.html"] == b"<h1>503</h1>\n"
    assert files["nginx.conf"] == render_edge(fixture(), {}, certificates={})["nginx.conf"]


@pytest.mark.parametrize(
    ("text", "message"), [("{{ nothing }}", "'nothing' is undefined"), ("{% if %}", "nginx.conf.j2, line 1")]
)
def test_a_broken_template_of_the_project_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "nginx").mkdir()
    (tmp_path / "nginx/nginx.conf.j2").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(message)):
        render_edge(fixture(root=tmp_path), {}, certificates={})


def test_an_own_file_that_replaces_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nginx/http").mkdir(parents=True)
    (tmp_path / "nginx/README.md").write_text("ours\n")
    render_edge(fixture(root=tmp_path), {}, certificates={})
    (tmp_path / "nginx/http/tls.conf").write_text("ssl_protocols TLSv1.3;\n")
    with pytest.raises(
        SettingsError, match=r'nginx/http/tls.conf: replaces no template, did you mean "nginx/http/tls.conf.j2"'
    ):
        render_edge(fixture(root=tmp_path), {}, certificates={})


def test_a_set_without_its_generation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nginx/servers").mkdir(parents=True)
    (tmp_path / "nginx/servers/01-internal.conf.j2").write_text("# mine\n")
    with pytest.raises(SettingsError, match="must begin with the line"):
        generation(render_edge(fixture(root=tmp_path), {}, certificates={}))


def test_the_templates_know_nothing_of_one_project() -> None:
    text = "".join(path.read_text() for path in SOURCE.rglob("*") if path.is_file())
    for name in ("flotteq.com", "frontend", "backend", "partner", "localhost:"):
        assert name not in text


def test_no_word_is_longer_than_nginx_reads(tree: dict[str, Directive]) -> None:
    longest = max(len(word) for root in tree.values() for one in _walk(root) for word in one.words)
    assert longest < 4096


def _walk(root: Directive) -> list[Directive]:
    return [root, *(inner for one in root.block for inner in _walk(one))]


def test_services_without_a_public_name_are_not_reachable(tree: dict[str, Directive]) -> None:
    assert isinstance(fixture().services["store"], Service)
    assert "servers/store.conf" not in tree and "servers/front.conf" not in tree


def test_an_edge_about_to_be_replaced_keeps_no_connection_open(files: dict[str, bytes]) -> None:
    calm = render_edge(fixture(), UPSTREAMS, certificates=ISSUED, release="r-42", draining=True)
    assert sorted(path for path in files if files[path] != calm[path]) == ["nginx.conf", nginx.INTERNAL]
    assert b"keepalive_timeout 0;" in calm["nginx.conf"] and b"keepalive_min_timeout" not in calm["nginx.conf"]
    assert generation(calm) != generation(files), "the reload is waited for"


def test_files_of_earlier_releases_are_asked_for_after_the_app(tree: dict[str, Directive]) -> None:
    shop, home = (next(tree[f"servers/{name}.conf"].all("server")) for name in ("shop", "home"))
    assets = next(one for one in shop.all("location") if one.words[1:] == ["^~", "/assets/"])
    assert assets.own("proxy_intercept_errors") == [["on"]] and ["404", "=", "@previous"] in assets.own("error_page")
    # An error_page here replaces all of the server's: the edge's own pages are named again.
    codes = {words[0] for words in assets.own("error_page")}
    assert codes == {words[0] for words in tree["snippets/errors-html.conf"].own("error_page")}
    previous = next(one for one in shop.all("location") if one.words[1:] == ["@previous"])
    assert previous.own("root") == [["/var/www/assets/shop"]] and previous.own("try_files") == [["$uri", "=404"]]
    assert not previous.own("add_header"), "the server's apply; how long a file may be kept is decided by its name"
    assert not [one for one in home.all("location") if one.words[1:] == ["@previous"]]


def test_the_maintenance_page_spares_the_list_and_the_challenges(tree: dict[str, Directive]) -> None:
    geo = next(tree["http/maintenance.conf"].all("geo"))
    assert geo.own("include") == [["/etc/nginx/flotteq/state/maintenance.allow"]]
    assert ["($maintenance_allowed)"] in tree["snippets/maintenance.conf"].own("if")
    plain = tree["servers/00-default.conf"]
    assert not list(plain.all("include")), "certificates are renewed whatever the page says"
