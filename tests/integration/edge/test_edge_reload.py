"""A reload is over when the new configuration answers and no old worker is left."""

import http.client
import socket
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from edge_bench import API, APP, ISSUED, Edge, docker, put
from support.relay import delayed

from flotteq_tasks.commands import nginx
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.errors import CommandFailed
from flotteq_tasks.operations.edge import reload_edge, take_edge, test_config
from flotteq_tasks.rendering.nginx import generation, render_edge

pytestmark = pytest.mark.host
HOST = LocalHost()
check_config = test_config
check_config.__test__ = False  # type: ignore[attr-defined]
del test_config


def workers(edge: Edge) -> set[str]:
    return set(edge.run("sh", "-c", "grep -lE '^PPid:[[:space:]]1$' /proc/[0-9]*/status | cut -d/ -f3").split())


def switch(edge: Edge, release: str) -> str:
    files = render_edge(edge.settings, edge.upstreams, certificates=ISSUED, release=release)
    put(edge.files, files)
    return generation(files)


def test_after_a_reload_the_new_set_answers_and_the_old_workers_are_gone(own_edge: Edge) -> None:
    before, old = own_edge.generation(), workers(own_edge)
    wanted = switch(own_edge, "r2")
    assert wanted != before
    reload_edge(HOST, own_edge.compose, generation=wanted, drain=5)
    assert own_edge.generation() == wanted
    assert not workers(own_edge) & old


def test_a_second_reload_of_the_same_set_replaces_the_workers_too(own_edge: Edge) -> None:
    old = workers(own_edge)
    reload_edge(HOST, own_edge.compose, drain=5)
    assert not workers(own_edge) & old


def test_a_refused_configuration_leaves_the_running_one_alone(own_edge: Edge) -> None:
    before = own_edge.generation()
    (own_edge.files / "servers/broken.conf").write_text("server { listen 443 ssl; no_such_directive; }\n")
    with pytest.raises(CommandFailed) as caught:
        reload_edge(HOST, own_edge.compose, drain=5)
    assert caught.value.code == nginx.REFUSED
    assert "no_such_directive" in caught.value.details and "broken.conf:1" in caught.value.details
    with pytest.raises(CommandFailed, match="refuses"):
        check_config(HOST, own_edge.compose)
    assert own_edge.generation() == before
    assert own_edge.ask(APP, "/").status == 200


def test_files_of_another_generation_are_not_loaded(own_edge: Edge) -> None:
    old = workers(own_edge)
    with pytest.raises(CommandFailed) as caught:
        reload_edge(HOST, own_edge.compose, generation="000000000000-000000000000", drain=5)
    assert caught.value.code == nginx.OTHER_FILES
    assert workers(own_edge) == old


def test_an_open_websocket_holds_the_reload_for_the_drain_time_only(own_edge: Edge) -> None:
    with own_edge.websocket("/socket.io/") as secured:
        started = time.monotonic()
        taken = switch(own_edge, "r3")
        take_edge(HOST, own_edge.compose, generation=taken)
        secured.sendall(b"\x81\x03abc")
        assert secured.recv(4096) == b"\x81\x03abc", "an old worker keeps it"
        reload_edge(HOST, own_edge.compose, generation=taken, drain=5)
        assert 3 < time.monotonic() - started < 12


def test_no_request_fails_in_ten_reloads_for_clients_far_away(own_edge: Edge) -> None:
    stop, failed, counted = threading.Event(), [], []

    def client() -> None:
        connection = None
        while not stop.is_set():
            for method, body in (("GET", None), ("POST", b"x")):
                try:
                    connection = connection or far.connect(API)
                    connection.request(method, "/api/x", body=body)
                    answer = connection.getresponse()
                    answer.read()
                    counted.append(answer.status)
                    if answer.will_close:
                        connection = None
                except (OSError, http.client.HTTPException) as error:
                    failed.append(error)
                    connection = None

    with delayed("127.0.0.1", own_edge.https_port, 0.06) as port:
        far = replace(own_edge, https_port=port)
        threads = [threading.Thread(target=client) for _ in range(12)]
        for thread in threads:
            thread.start()
        try:
            # Workers of several configurations serve side by side: nobody waits for the oldest to end.
            for number in range(10):
                take_edge(HOST, own_edge.compose, generation=switch(own_edge, f"n{number}"))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not failed
    assert len(counted) > 200 and set(counted) == {200}


def quic_versions(edge: Edge) -> bytes:
    """What a QUIC server says to a version that nobody speaks: the ones that it does."""
    port = int(docker("port", edge.container, "443/udp").splitlines()[0].rpartition(":")[2])
    hello = b"\xc0\x1a\x2a\x3a\x4a\x08" + b"\x01" * 8 + b"\x08" + b"\x02" * 8
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        # RFC 9000, 6.1: a smaller datagram may be left without an answer.
        udp.sendto(hello.ljust(1200, b"\0"), ("127.0.0.1", port))
        answer = udp.recv(2048)
    assert answer[1:5] == b"\0\0\0\0", "a Version Negotiation packet"
    return answer


def test_other_profiles_are_accepted_and_do_what_they_say(own_edge: Edge) -> None:
    with_http3 = replace(own_edge.settings, edge=EdgeSettings(tls="modern", http3=True))
    files = render_edge(with_http3, own_edge.upstreams, certificates=ISSUED)
    put(own_edge.files, files)
    assert check_config(HOST, own_edge.compose) == ""
    reload_edge(HOST, own_edge.compose, generation=generation(files), drain=5)
    assert own_edge.ask(APP, "/").header("Alt-Svc") == 'h3=":443"; ma=86400'
    assert b"\0\0\0\1" in quic_versions(own_edge)[7:]
    own_edge.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        own_edge.ask(APP, "/")


def test_nginx_starts_without_any_app(own_edge: Edge) -> None:
    files = render_edge(own_edge.settings, {}, certificates={})
    put(own_edge.files, files)
    reload_edge(HOST, own_edge.compose, generation=generation(files), drain=5)
    answer = own_edge.ask(APP, "/")
    assert answer.status == 502
    assert answer.header("Strict-Transport-Security") is None
    assert Path(own_edge.files / "state/.keep").exists()
