"""What limits refused, and what other ones would have: arithmetic on an access log."""

import gzip
import json
from dataclasses import replace

import pytest
from unit_support import Events, fleet

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.edge import Limits
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.edge_limits import LimitsReport, report, review_limits
from flotteq_tasks.operations.edge_replay import parse, replay

NAMES = {"api.x": "api", "app.x": "web"}


def line(at: float, path: str = "/api/a", **changes: object) -> str:
    entry = {
        "time": "2026-11-26T08:00:00+00:00", "ended": at, "client": "203.0.113.7", "host": "api.x", "method": "GET",
        "path": path, "status": 200, "seconds": 0.0, "upstream": "172.18.0.5:3000", "limit": "PASSED", "tls": "TLSv1.3",
    }  # fmt: skip
    return f"nginx-1  | {json.dumps({**entry, **changes}, separators=(',', ':'))}\n"


def refused(lines: list[str], limits: Limits) -> dict[str, int]:
    return {name: tally.refused for name, tally in replay(parse(lines, NAMES), limits).items() if tally.refused}


def test_the_burst_passes_and_the_next_one_is_refused() -> None:
    limits = Limits(api_rate=1, api_burst=5)
    assert refused([line(100.0) for _ in range(6)], limits) == {}
    assert refused([line(100.0) for _ in range(10)], limits) == {"api_rate": 4}


def test_time_makes_room_again() -> None:
    limits = Limits(api_rate=2, api_burst=1)
    spread = [line(100 + number / 2) for number in range(20)]
    assert refused(spread, limits) == {}
    assert refused([*spread, *spread], limits) == {"api_rate": 19}


def test_each_client_has_its_own_count() -> None:
    lines = [line(100.0, client=f"203.0.113.{number}") for number in range(50)]
    assert refused(lines, Limits(api_rate=1, api_burst=1)) == {}


def test_over_ipv6_a_whole_network_is_one_client() -> None:
    lines = [line(100.0, client=f"2001:db8:0:7::{number:x}") for number in range(1, 9)]
    assert refused(lines, Limits(api_rate=1, api_burst=1)) == {"api_rate": 6}
    lines = [line(100.0, client=f"2001:db8:0:{number:x}::1") for number in range(1, 9)]
    assert refused(lines, Limits(api_rate=1, api_burst=1)) == {}


def test_a_login_is_counted_twice_and_refused_once() -> None:
    limits = Limits(api_rate=100, api_burst=100, login_rate=10, login_burst=5)
    lines = [line(100 + number / 10, "/api/Auth/LOGIN/", method="POST") for number in range(12)]
    assert refused(lines, limits) == {"login_rate": 6}
    assert refused([line(100.0, "/api/auth/login") for _ in range(12)], limits) == {}, "a GET guesses nothing"
    # Ten a minute: the next one is let through after six seconds.
    assert refused([*lines, line(107.2, "/api/auth/login", method="POST")], limits) == {"login_rate": 6}


def test_what_nginx_does_not_compare_is_not_counted() -> None:
    limits = Limits(api_rate=1, api_burst=1, web_rate=1, web_burst=1)
    assert refused([line(100.0, method="OPTIONS") for _ in range(9)], limits) == {}
    assert refused([line(100.0, "/assets/a-AbCd1234.js", host="app.x", limit="") for _ in range(9)], limits) == {}
    assert refused([line(100.0, status=503, upstream="", limit="") for _ in range(9)], limits) == {}
    assert refused([line(100.0, status=308, tls="") for _ in range(9)], limits) == {}, "the redirect from http"
    assert refused([line(100.0, host="other.x") for _ in range(9)], limits) == {}


def test_uploads_have_the_web_rate_and_a_burst_of_their_own() -> None:
    limits = Limits(web_rate=1, web_burst=2, upload_burst=6)
    assert refused([line(100.0, "/uploads/a.jpg") for _ in range(9)], limits) == {"web_rate": 2}


def test_open_requests_are_counted_by_place() -> None:
    limits = Limits(api_rate=1000, api_burst=1000, web_rate=1000, web_burst=1000, api_connections=3, web_connections=9)
    slow = [line(160.0, seconds=60.0 - number, client="203.0.113.7") for number in range(5)]
    assert refused(slow, limits) == {"api_connections": 2}
    assert refused([*slow[:3], *(line(161.0, seconds=0.5) for _ in range(3))], limits) == {}, "the slow ones have ended"
    assert refused([*slow[:3], line(150.0, "/", host="app.x")], limits) == {}


def test_older_lines_and_foreign_ones_do_not_stop_the_reading() -> None:
    old = json.loads(line(0).partition("| ")[2])
    del old["ended"]
    text = ["nginx-1  | 2026/11/26 [notice] 1#1: start\n", json.dumps(old, separators=(",", ":")), '{"time":"x"', ""]
    assert [one.end for one in parse(text, NAMES)] == [1795680000.0]


def test_what_was_refused_is_told_from_what_the_app_refused() -> None:
    lines = [
        line(100.0), line(100.1, status=429, upstream="", limit="REJECTED"), line(100.2, status=429),
        line(100.3, "/api/login", method="POST", status=429, upstream="", limit="REJECTED"),
        line(100.4, status=429, upstream="", limit="PASSED"),
    ]  # fmt: skip
    found = {one.limit: one.refused for one in report(parse(lines, NAMES), Limits(), dry_run=False).results}
    assert {name: count for name, count in found.items() if count} == {
        "api_rate": 1, "login_rate": 1, "api_connections": 1,
    }  # fmt: skip


def test_the_report_names_who_and_what_was_hit_most() -> None:
    lines = [line(100.0, f"/api/{number % 3}", client="203.0.113.9") for number in range(10)] + [line(100.0)]
    found = report(parse(lines, NAMES), Limits(api_rate=1, api_burst=1), dry_run=True)
    row = found.results[0]
    assert (row.limit, row.value, row.requests, row.clients) == ("api_rate", "1/s +1", 11, 2)
    assert (row.refused, row.clients_refused, row.worst_client) == (8, 1, "203.0.113.9")
    assert row.worst_request.startswith("GET /api/")
    assert (found.first, found.clients, found.warning) == ("1970-01-01T00:01:40+00:00", 2, "")


@pytest.mark.parametrize(("client", "warned"), [("172.18.0.1", True), ("fd00::1", True), ("93.184.216.34", False)])
def test_one_private_address_for_everybody_is_a_warning(client: str, warned: bool) -> None:
    found = report(parse([line(100.0 + n, client=client) for n in range(60)], NAMES), Limits(), dry_run=True)
    assert ("count everybody as one client" in found.warning) is warned


def site(log: bytes) -> tuple[Site, FakeHost]:
    settings = replace(fleet(), limits=Limits(api_rate=1, api_burst=1))
    host = FakeHost({"bash -o pipefail -c *gzip -c*": log})
    return Site(settings, host, ComposeEngine(host, settings), Events().report), host


def test_the_log_is_read_from_the_host_and_nothing_is_changed() -> None:
    log = gzip.compress("".join(line(100.0, host="api.fleet.example") for _ in range(5)).encode())
    one, host = site(log)
    found = review_limits(one, dry_run=True, since="2h")
    assert isinstance(found, LimitsReport) and found.results[0].refused == 3
    assert len(host.transcript) == 1 and "--since 2h front" in host.transcript[0]


def test_a_log_that_ends_half_way_is_an_error() -> None:
    one, _ = site(gzip.compress(b"x" * 10_000)[:20])
    with pytest.raises(FlotteqError, match="came incomplete"):
        review_limits(one, dry_run=True, since="2h")
