"""What one client may do at an edge with everyday limits, and what the others notice of it: nothing."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from edge_bench import API, APP, CHUNK, Answer, Apps, Edge

from flotteq_tasks.operations.edge_replay import parse, replay

pytestmark = pytest.mark.host
OWNED = (
    "Strict-Transport-Security", "Content-Security-Policy", "Permissions-Policy", "X-Frame-Options",
    "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
    "X-Request-Id",
)  # fmt: skip
_numbers = iter(range(1, 250))


@pytest.fixture
def client() -> dict[str, str]:
    """A header that makes the test a client that nobody has seen yet."""
    return {"X-Forwarded-For": f"198.51.100.{next(_numbers)}"}


@pytest.fixture
def other() -> dict[str, str]:
    """Another client."""
    return {"X-Forwarded-For": f"203.0.113.{next(_numbers)}"}


def protected(answer: Answer) -> bool:
    """Whether an answer has every security header, each once."""
    return all(answer.header(name) for name in OWNED)


def refusal(edge: Edge, host: str, headers: dict[str, str]) -> Answer:
    """The next refusal of a client that has used up its burst: now and then a request is let through."""
    asked = (edge.ask(host, "/api/more", headers=headers) for _ in range(200))
    return next(answer for answer in asked if answer.status == 429)


def load(edge: Edge, paths: list[str], headers: dict[str, str]) -> Counter[int]:
    """What one client gets that asks for everything at once."""
    with ThreadPoolExecutor(30) as pool:
        return Counter(pool.map(lambda path: edge.ask(APP, path, headers=headers).status, paths))


def test_a_page_of_sixty_files_loads_whole(everyday_edge: Edge, client: dict[str, str]) -> None:
    chunks = [f"/assets/part{number}-DiwrgT3a.js" for number in range(60)]
    Apps.known.update(chunks)
    assert load(everyday_edge, ["/", *chunks], client) == {200: 61}
    # Out of the edge's own store the second time.
    assert load(everyday_edge, chunks, client) == {200: 60}


def test_too_many_pages_at_once_are_refused(everyday_edge: Edge, client: dict[str, str], other: dict[str, str]) -> None:
    found = load(everyday_edge, [f"/page/{number}" for number in range(150)], client)
    assert set(found) == {200, 429} and found[200] >= 41
    page = refusal(everyday_edge, APP, client)
    assert page.header("Retry-After") == "1"
    assert b"<html" in page.body and protected(page)
    assert everyday_edge.ask(APP, CHUNK, headers=client).status == 200
    assert everyday_edge.ask(APP, "/", headers=other).status == 200


def test_an_attacker_is_refused_after_the_burst_and_nobody_else(
    everyday_edge: Edge, client: dict[str, str], other: dict[str, str]
) -> None:
    stop, answers = threading.Event(), list[int]()

    def attack() -> None:
        connection = everyday_edge.connect(API)
        while not stop.wait(0.04):
            connection.request("GET", "/api/attack", headers=client)
            answer = connection.getresponse()
            answer.read()
            answers.append(answer.status)
        connection.close()

    # Four connections with 25 requests a second each.
    threads = [threading.Thread(target=attack) for _ in range(4)]
    for thread in threads:
        thread.start()
    others, end = Counter[int](), time.monotonic() + 4
    try:
        # Nine a second are within everybody's rate.
        while time.monotonic() < end:
            others[everyday_edge.ask(API, "/api/x", headers=other).status] += 1
            stop.wait(1 / 9)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(others) == {200} and others[200] > 10
    assert set(answers) == {200, 429} and set(answers[:40]) == {200}
    # The burst, and ten for each of the seconds that it took.
    assert answers.count(200) < 41 + 10 * 6
    refused = refusal(everyday_edge, API, {**client, "Origin": f"https://{APP}"})
    assert (refused.json["statusCode"], refused.header("Retry-After")) == (429, "1")
    assert refused.header("Access-Control-Allow-Origin") == f"https://{APP}" and protected(refused)


@pytest.mark.parametrize("path", ["/api/auth/login", "/api/Auth/LOGIN/", "/api/auth/%6cogin"])
def test_guessing_passwords_is_slow(
    everyday_edge: Edge, client: dict[str, str], other: dict[str, str], path: str
) -> None:
    answers = [everyday_edge.ask(API, path, method="POST", headers=client, body=b"{}") for _ in range(12)]
    statuses = [one.status for one in answers]
    # Every six seconds one more is let through.
    assert statuses[:6] == [200] * 6 and statuses.count(429) >= 4
    refused = next(one for one in answers if one.status == 429)
    assert (refused.json["statusCode"], refused.header("Retry-After")) == (429, "6")
    assert everyday_edge.ask(API, "/api/x", headers=client).status == 200
    assert everyday_edge.ask(API, path, method="POST", headers=other, body=b"{}").status == 200


def test_over_ipv6_a_whole_network_is_one_client(everyday_edge: Edge) -> None:
    def login(address: str) -> int:
        return everyday_edge.ask(API, "/api/login", method="POST", headers={"X-Forwarded-For": address}).status

    # The bytes of an address may be any: line breaks, and none at all.
    statuses = [login(f"2001:db8:a0a:0:{number:x}:0:a:0") for number in range(12)]
    assert statuses[:6] == [200] * 6 and statuses.count(429) >= 4
    assert login("2001:db8:a0a:1::a") == 200


def test_open_connections_are_counted_for_each_client(
    everyday_edge: Edge, client: dict[str, str], other: dict[str, str]
) -> None:
    def upgrade(address: str) -> Iterator[bytes]:
        with everyday_edge.tls(API) as secured:
            secured.sendall(
                f"GET /socket.io/ HTTP/1.1\r\nHost: {API}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"X-Forwarded-For: {address}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            yield secured.recv(4096)[:12]

    with ExitStack() as stack:
        sockets = [upgrade(client["X-Forwarded-For"]) for _ in range(8)]
        for socket in sockets:
            stack.callback(socket.close)
        assert {next(socket) for socket in sockets} == {b"HTTP/1.1 101"}
        assert everyday_edge.ask(API, "/api/x", headers=client).status == 429
        assert everyday_edge.ask(APP, "/", headers=client).status == 200, "pages have a counter of their own"
        assert everyday_edge.ask(API, "/api/x", headers=other).status == 200


def test_a_preflight_is_no_request_of_its_own(everyday_edge: Edge, client: dict[str, str]) -> None:
    asked = [everyday_edge.ask(API, "/api/x", method="OPTIONS", headers=client).status for _ in range(60)]
    assert set(asked) == {501}, "the stand-in for the app knows none; the edge refused none"


def test_a_replay_of_the_log_refuses_what_nginx_refused(everyday_edge: Edge, client: dict[str, str]) -> None:
    address = client["X-Forwarded-For"]
    for _ in range(12):
        everyday_edge.ask(API, "/api/login", method="POST", headers=client, body=b"{}")
    load(everyday_edge, [f"/replay/{number}" for number in range(150)], client)
    lines = everyday_edge.logged(f'"client":"{address}"', count=162)
    requests = parse(lines, {API: "api", APP: "web"})
    refused = Counter(one.path.split("/")[1] for one in requests if one.refused)
    found = replay(requests, everyday_edge.settings.limits)
    assert found["login_rate"].refused == refused["api"] > 0
    assert refused["replay"] > 5
    assert abs(found["web_rate"].refused - refused["replay"]) <= 2, "the log knows milliseconds only"
