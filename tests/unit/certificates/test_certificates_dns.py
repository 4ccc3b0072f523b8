"""Questions to a DNS server of the test's own, over the wire."""

import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.rcode
import dns.rrset
import pytest

from flotteq_tasks.operations.certificates import dns as asked

# Each name has answers, or the code that the server gives instead.
ZONE: dict[tuple[str, str], list[tuple[str, str, str]] | dns.rcode.Rcode] = {
    ("api.fleet.example.", "A"): [("api.fleet.example.", "A", "192.0.2.10")],
    ("api.fleet.example.", "AAAA"): [],
    ("www.fleet.example.", "A"): [
        ("www.fleet.example.", "CNAME", "api.fleet.example."), ("api.fleet.example.", "A", "192.0.2.10"),
    ],
    ("fleet.example.", "CAA"): [("fleet.example.", "CAA", '0 issue "letsencrypt.org; validationmethods=http-01"')],
    ("gone.fleet.example.", "A"): dns.rcode.NXDOMAIN,
    ("broken.fleet.example.", "A"): dns.rcode.SERVFAIL,
    ("private.fleet.example.", "A"): dns.rcode.REFUSED,
}  # fmt: skip


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _serve(server: socket.socket) -> None:
    while True:
        try:
            packet, client = server.recvfrom(4096)
        except OSError:
            return
        query = dns.message.from_wire(packet)
        question = query.question[0]
        found = ZONE[str(question.name), question.rdtype.name]
        answer = dns.message.make_response(query)
        if isinstance(found, list):
            answer.answer = [dns.rrset.from_text(name, 60, "IN", kind, text) for name, kind, text in found]
        else:
            answer.set_rcode(found)
        server.sendto(answer.to_wire(), client)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("api.fleet.example", "A", ["192.0.2.10"]),
        ("api.fleet.example", "AAAA", []),
        ("www.fleet.example", "A", ["192.0.2.10"]),
        ("gone.fleet.example", "A", []),
        ("fleet.example", "CAA", ["0 issue letsencrypt.org; validationmethods=http-01"]),
    ],
)
def test_records_come_as_text(port: int, name: str, kind: asked.Kind, found: list[str]) -> None:
    assert asked.ask("127.0.0.1", name, kind, port=port) == found


@pytest.mark.parametrize(("name", "code"), [("broken.fleet.example", "SERVFAIL"), ("private.fleet.example", "REFUSED")])
def test_a_server_that_cannot_find_out_is_told_with_its_answer(port: int, name: str, code: str) -> None:
    with pytest.raises(asked.Broken, match=f"DNS server 127.0.0.1 answers {code} for A"):
        asked.ask("127.0.0.1", name, "A", port=port)


def test_a_server_that_does_not_answer_says_nothing_about_the_name() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(asked.Silent, match="does not answer"):
            asked.ask("127.0.0.1", "api.fleet.example", "A", port=deaf.getsockname()[1], limit=0.3)
