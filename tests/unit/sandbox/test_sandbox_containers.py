"""Containers are made once and made anew when their definition changed."""

import json

import pytest

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import PreflightFailed
from flotteq_tasks.operations.sandbox import containers
from flotteq_tasks.operations.sandbox.containers import Definition
from flotteq_tasks.operations.sandbox.docker import Docker

DNS = Definition("box-dns", "image:1", ["--network=box"], ["dns", "10.0.0.10"])


def inspected(key: str, state: str = "running") -> str:
    bindings = {"22/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2222"}], "80/tcp": []}
    made = {
        "Config": {"Labels": {"flotteq.sandbox.key": key}},
        "State": {"Status": state},
        "HostConfig": {"PortBindings": bindings},
    }
    return json.dumps([made])


def docker(**answers: object) -> Docker:
    return Docker(FakeHost({"docker container inspect box-dns": answers.get("inspect", 1), **answers.get("more", {})}))  # type: ignore[dict-item]


def test_the_key_covers_image_options_and_command_but_not_the_name() -> None:
    same = Definition("other", DNS.image, DNS.options, DNS.words)
    changed = [
        Definition(DNS.name, "image:2", DNS.options, DNS.words),
        Definition(DNS.name, DNS.image, [], DNS.words),
        Definition(DNS.name, DNS.image, DNS.options, ["dns", "10.0.0.11"]),
    ]
    assert same.key == DNS.key
    assert DNS.key not in {definition.key for definition in changed}


def test_a_container_of_the_same_definition_is_current() -> None:
    assert containers.is_current(docker(inspect=inspected(DNS.key)), DNS)
    assert not containers.is_current(docker(inspect=inspected("0")), DNS)
    assert not containers.is_current(docker(), DNS)


def test_create_labels_publishes_and_starts() -> None:
    host = FakeHost({"docker create *": "", "docker start box-dns": ""})
    containers.create(Docker(host), DNS, ["127.0.0.1:53:53"])
    assert host.transcript == [
        f"docker create --name box-dns --label flotteq.sandbox.key={DNS.key} --publish=127.0.0.1:53:53 "
        "--network=box image:1 dns 10.0.0.10",
        "docker start box-dns",
    ]


def test_a_port_that_was_taken_meanwhile_is_explained() -> None:
    answer = Done(Command("docker"), 1, err="listen tcp4 127.0.0.1:80: bind: address already in use")
    with pytest.raises(PreflightFailed, match="another program listens") as caught:
        containers.start(Docker(FakeHost({"docker start box-dns": answer})), "box-dns")
    assert "inv sandbox.down" in caught.value.hint


def test_published_ports_are_read_from_the_container() -> None:
    assert containers.published(docker(inspect=inspected("0")), "box-dns") == {22: ("127.0.0.1", 2222)}
    assert containers.published(docker(), "box-dns") == {}


def test_state_of_one_that_is_not_there_is_absent() -> None:
    assert containers.state(docker(inspect=inspected("0", "exited")), "box-dns") == "exited"
    assert containers.state(docker(), "box-dns") == "absent"
