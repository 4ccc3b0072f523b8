"""The VPS: how it is run, how it is let into, how it is removed."""

import json

import pytest

from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.operations.sandbox import machine
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.sandbox.network import Edge, Network

NAMES = Names("box")
NETWORK = Network("box", "10.213.77.0/24")
BINDINGS = {
    f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(outside)}]
    for port, outside in ((22, 2222), (80, 8080), (443, 8443))
}


def inspected(key: str, state: str) -> str:
    made = {"Config": {"Labels": {"flotteq.sandbox.key": key}}, "State": {"Status": state}}
    return json.dumps([{**made, "HostConfig": {"PortBindings": BINDINGS}}])


def key_of(cgroup: str) -> str:
    docker = Docker(FakeHost({"docker info *": cgroup}))
    return machine._definition(docker, NAMES, NETWORK, "vps:1", NETWORK.host).key


@pytest.fixture(autouse=True)
def every_port_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotteq_tasks.operations.sandbox.network.is_free", lambda *_: True)


@pytest.mark.parametrize(
    ("cgroup", "has", "has_not"),
    [("1", "--cap-drop=SYS_RESOURCE", "--privileged"), ("2", "--privileged --cgroupns=private", "/sys/fs/cgroup")],
)
def test_a_new_machine_fits_the_cgroups_of_this_one(cgroup: str, has: str, has_not: str) -> None:
    host = FakeHost(
        {
            "docker info *": cgroup,
            "docker container inspect box-host": [1, 1, 1, inspected("", "running")],
            "docker *": "",
        }
    )
    where = machine.ensure_machine(Docker(host), NAMES, NETWORK, "vps:1", lambda _: None)
    assert where == machine.Published("127.0.0.1", 2222, Edge("127.0.0.1", 8080, 8443))
    (create,) = [command for command in host.transcript if command.startswith("docker create")]
    assert has in create
    assert has_not not in create
    assert "--publish=127.0.0.1:2222:22 --publish=127.0.0.1:80:80 --publish=127.0.0.1:443:443" in create
    assert "--network=box --ip=10.213.77.10" in create


def test_one_that_was_stopped_is_started_again() -> None:
    host = FakeHost(
        {
            "docker info *": "1",
            "docker container inspect box-host": inspected(key_of("1"), "exited"),
            "docker start box-host": "",
        }
    )
    machine.ensure_machine(Docker(host), NAMES, NETWORK, "vps:1", lambda _: None)
    assert "docker start box-host" in host.transcript


def test_one_of_another_definition_is_replaced_with_all_it_held() -> None:
    host = FakeHost(
        {
            "docker info *": "1",
            "docker container inspect box-host": inspected("old", "exited"),
            "docker *": "",
        }
    )
    lines: list[str] = []
    machine.ensure_machine(Docker(host), NAMES, NETWORK, "vps:1", lines.append)
    assert lines[0] == "the VPS's definition changed: making a new one"
    assert "docker volume rm --force box-docker" in host.transcript


def test_host_keys_are_read_inside_the_machine_once_its_sshd_runs() -> None:
    host = FakeHost({"docker exec box-host *": [1, "ssh-ed25519 AAAA root@vps\nssh-rsa BBBB root@vps\n"]})
    assert machine.host_keys(Docker(host), NAMES) == [("ssh-ed25519", "AAAA"), ("ssh-rsa", "BBBB")]
    assert len(host.transcript) == 2


def test_the_key_travels_on_standard_input() -> None:
    host = FakeHost({"docker exec -i box-host *": ""})
    machine.authorize(Docker(host), NAMES, "ssh-ed25519 AAAA")
    assert list(host.inputs.values()) == [b"ssh-ed25519 AAAA"]
    assert host.transcript[0].endswith("authorize deploy nosudo root")
