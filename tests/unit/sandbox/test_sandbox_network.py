"""Free addresses and ports."""

import json
import socket

import pytest

from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import PreflightFailed
from flotteq_tasks.operations.sandbox import network
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.network import Edge, ensure_network, free_edge, is_free


def network_json(subnet: str) -> str:
    return json.dumps([{"IPAM": {"Config": [{"Subnet": "fd00::/64"}, {"Subnet": subnet}]}}])


@pytest.fixture(autouse=True)
def nothing_routed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_routed_networks", list)


def taken(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[str, int]) -> None:
    monkeypatch.setattr(network, "is_free", lambda address, port: (address, port) not in pairs)


def test_an_existing_network_is_used_as_it_is() -> None:
    host = FakeHost({"docker network inspect box": network_json("10.9.8.0/24")})
    found = ensure_network(Docker(host), "box")
    assert (found.subnet, found.host, found.dns) == ("10.9.8.0/24", "10.9.8.10", "10.9.8.2")
    assert host.transcript == ["docker network inspect box"]


def test_a_subnet_that_docker_refuses_is_skipped() -> None:
    host = FakeHost(
        {
            "docker network inspect box": 1,
            "docker network create --subnet 10.213.77.0/24 box": 1,
            "docker network create --subnet 10.213.78.0/24 box": "",
        }
    )
    assert ensure_network(Docker(host), "box").host == "10.213.78.10"


def test_dockers_own_choice_is_named_so_that_addresses_can_be_fixed() -> None:
    host = FakeHost(
        {
            "docker network inspect box": [1, network_json("172.31.0.0/16")],
            "docker network create --subnet 172.31.0.0/16 box": "",
            "docker network create --subnet *": 1,
            "docker network create box": "",
            "docker network rm box": "",
        }
    )
    assert ensure_network(Docker(host), "box").host == "172.31.0.10"
    assert host.transcript[-3:] == [
        "docker network inspect box",
        "docker network rm box",
        "docker network create --subnet 172.31.0.0/16 box",
    ]


def test_browsers_address_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    taken(monkeypatch)
    assert free_edge() == Edge("127.0.0.1", 80, 443)


def test_one_taken_port_moves_both_to_the_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    taken(monkeypatch, ("127.0.0.1", 443))
    assert free_edge() == Edge("127.0.0.2", 80, 443)


def test_other_systems_have_one_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    taken(monkeypatch, ("127.0.0.1", 80))
    assert free_edge() == Edge("127.0.0.1", 8080, 8443)


def test_no_free_port_says_how_to_find_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "is_free", lambda *_: False)
    with pytest.raises(PreflightFailed, match="no free port") as caught:
        network.free_ssh_port()
    assert "ss -ltnp" in caught.value.hint
    with pytest.raises(PreflightFailed, match="no free ports"):
        free_edge()


def test_a_listening_port_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)
