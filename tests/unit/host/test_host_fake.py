"""FakeHost: what other tests rely on."""

import io
import re

import pytest

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, File, Host
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import CommandFailed, HostUnreachable
from flotteq_tasks.model.secret import Secret

PS = Command("docker", "ps", "-q")


def test_it_is_a_host() -> None:
    host: Host = FakeHost()
    assert host.name == "fake"


def test_exact_text_wins_over_patterns() -> None:
    host = FakeHost({"docker *": "any", "docker ps -q": "exact", re.compile("^df"): "disk"})
    assert host.run(PS).out == "exact"
    assert host.run(Command("docker", "info")).out == "any"
    assert host.run(Command("df", "-h")).out == "disk"
    assert host.transcript == ["docker ps -q", "docker info", "df -h"]


def test_brackets_in_a_pattern_are_plain_text() -> None:
    command = Command("docker", "inspect", "-f", "{{index .A [0]}}", "web")
    host = FakeHost({"docker inspect -f '{{index .A [0]}}' *": "yes"})
    assert host.run(command).out == "yes"


def test_an_unknown_command_names_the_nearest() -> None:
    host = FakeHost({"docker ps -a": "", "systemctl start docker": ""})
    with pytest.raises(AssertionError, match="docker ps -q\nthe nearest it knows is: docker ps -a"):
        host.run(PS)


def test_a_failing_answer_raises_like_the_real_one() -> None:
    host = FakeHost({"docker ps -q": Done(PS, 125, err="no daemon")})
    with pytest.raises(CommandFailed) as caught:
        host.run(PS)
    assert (caught.value.code, caught.value.details) == (125, "$ docker ps -q\nno daemon")
    assert host.run(PS, check=False).err == "no daemon"


def test_answers_in_turn_functions_and_errors() -> None:
    host = FakeHost(
        {"docker ps -q": ["a", 1, "b"], "cat": lambda _, stdin: stdin.decode().upper(), "gone": HostUnreachable("x")}
    )
    assert [host.run(PS, check=False).out for _ in range(4)] == ["a", "", "b", "b"]
    assert host.run(Command("cat"), stdin=b"loud").out == "LOUD"
    assert host.inputs == {"cat": b"loud"}
    with pytest.raises(HostUnreachable):
        host.run(Command("gone"))


def test_secrets_are_masked_in_the_transcript() -> None:
    host = FakeHost({"login •••": ""})
    host.run(Command("login", Secret("s3cret")))
    assert host.transcript == ["login •••"]


def test_streams() -> None:
    host = FakeHost({"dump": b"\x00\xff", "logs": "one\ntwo\n", "bash": 3})
    sink, lines = io.BytesIO(), list[str]()
    assert host.stream(Command("dump"), sink=sink).out == ""
    host.follow(Command("logs"), lines.append, timeout=1)
    assert (sink.getvalue(), lines, host.interact(Command("bash"))) == (b"\x00\xff", ["one", "two"], 3)


def test_files() -> None:
    host = FakeHost(files={"/etc/a": "text"})
    host.write("/etc/b", File(b"b", mode=0o600))
    host.write_tree("/srv", {"z": File(b"z"), "c/d": File(b"d")})
    assert host.read("/etc/a") == b"text"
    assert host.file("/etc/b").mode == 0o600
    assert host.read("/none") is None
    assert host.transcript == ["write /etc/b", "write /srv/c/d", "write /srv/z"]


def test_told_to_fail() -> None:
    host = FakeHost({"docker ps -q": ""}, fail_at=2)
    host.run(PS)
    with pytest.raises(CommandFailed):
        host.write_tree("/srv", {"a": File(b""), "b": File(b"")})
    assert host.files == {}
    host.run(PS)


def test_told_to_be_gone() -> None:
    host = FakeHost({"docker ps -q": ""}, unreachable_from=2)
    host.run(PS)
    with pytest.raises(HostUnreachable):
        host.run(PS)
    with pytest.raises(HostUnreachable):
        host.read("/any")
    assert host.transcript == ["docker ps -q"]


def test_conversations() -> None:
    def lock(_: Command, line: bytes) -> str:
        return {b"": "ready", b"beat\n": "ok"}.get(line, "")

    host = FakeHost({"lock": lock, "says": "one\ntwo", "ends": Done(PS, 3)})
    session = host.open(Command("lock"))
    assert session.receive(timeout=1) == "ready"
    session.send("beat")
    assert session.receive(timeout=1) == "ok"
    with pytest.raises(HostUnreachable, match="no answer within 1 s"):
        session.receive(timeout=1)
    assert (session.close(), host.inputs["lock"]) == (0, b"beat\n")
    says = host.open(Command("says"))
    assert [says.receive(timeout=1) for _ in range(3)] == ["one", "two", None]
    assert host.open(Command("ends")).close() == 3
    assert host.transcript == ["lock", "says", "ends"]
    session = host.open(Command("lock"))
    host.unreachable_from = 1
    with pytest.raises(HostUnreachable):
        session.send("beat")
