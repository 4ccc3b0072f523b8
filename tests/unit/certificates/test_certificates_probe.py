"""The file of the webroot is fetched as an authority would, over both families."""

import errno
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from unit_support import fleet

from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import probe

NAME, TOKEN = "api.fleet.example", "flotteq-token"


class Webroot(BaseHTTPRequestHandler):
    """Answers as the edge does, for one name."""

    def do_GET(self) -> None:
        right = self.headers["Host"] == NAME and self.path == f"/.well-known/acme-challenge/{TOKEN}"
        self.send_response(200 if right else 404)
        self.end_headers()
        self.wfile.write(TOKEN.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


class Six(ThreadingHTTPServer):
    """A server of IPv6."""

    address_family = socket.AF_INET6


@pytest.fixture(params=["127.0.0.1", "::1"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, Settings]]:
    """Where the edge is, in both families."""
    kind = Six if ":" in request.param else ThreadingHTTPServer
    server = kind((request.param, 0), Webroot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield request.param, fleet(edge=EdgeSettings(http_port=server.server_address[1]))
    server.shutdown()
    server.server_close()


def test_the_file_is_found_at_an_address_under_its_name(place: tuple[str, Settings]) -> None:
    address, settings = place
    assert probe.fetch(settings, NAME, address, TOKEN) == ("", True)
    for name, token in (("other.example", TOKEN), (NAME, "another")):
        problem, seen = probe.fetch(settings, name, address, token)
        assert seen and "somebody else answers there (status 404" in problem


def test_a_port_that_is_closed_is_the_sites_fault(place: tuple[str, Settings]) -> None:
    address, settings = place
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
        free.bind((address, 0))
        closed = replace(settings, edge=EdgeSettings(http_port=free.getsockname()[1]))
        problem, seen = probe.fetch(closed, NAME, address, TOKEN)
    assert seen and "does not answer" in problem


def test_a_machine_without_ipv6_cannot_say_anything_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert [probe.fetch(fleet(), NAME, address, TOKEN)[1] for address in ("2001:db8::1", "192.0.2.1")] == [False, True]
