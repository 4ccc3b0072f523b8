"""An audit of the security: every rule is broken once, what is accepted is listed, the SARIF file is complete."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gixy.plugins import _nginx_cves_db as known
from unit_support import fleet

from flotteq_tasks.console.security_results import sarif, write_sarif
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.security import Risk
from flotteq_tasks.operations.audit import security, security_docker, security_files, security_ports

PUBLIC = frozenset({80, 443})
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def container(**changes: Any) -> dict[str, Any]:
    """A document of ``docker inspect`` of a container that nothing is wrong with."""
    host = {
        "CapDrop": ["ALL"], "CapAdd": None, "Privileged": False, "ReadonlyRootfs": True, "Memory": 1 << 28,
        "NanoCpus": 10**9, "PidsLimit": 100, "SecurityOpt": ["no-new-privileges:true"], "NetworkMode": "fleet_web",
        "PidMode": "", "IpcMode": "private", "UTSMode": "", "UsernsMode": "", "Devices": None, "CgroupParent": "",
        "PortBindings": {}, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "20m"}},
    }  # fmt: skip
    one: dict[str, Any] = {
        "Name": "/fleet-core-1",
        "AppArmorProfile": "docker-default",
        "Config": {"User": "1000:1000", "Image": "r/core:v1@sha256:ab"},
        "State": {"Health": {"Status": "healthy"}},
        "Mounts": [{"Type": "bind", "Source": "/opt/fleet/nginx", "Propagation": "rprivate"}],
        "NetworkSettings": {"Networks": {"fleet_web": {}}},
        "HostConfig": host,
    }
    for key, value in changes.items():
        (host if key in host else one)[key] = value
    return one


def _open(inspected: list[dict[str, Any]]) -> list[str]:
    return [one.id for one in security_docker.containers(inspected, public=PUBLIC) if not one.ok]


def test_a_hardened_container_has_nothing_open() -> None:
    assert _open([container()]) == []


BROKEN: dict[str, dict[str, Any]] = {
    "CIS-4.1": {"Config": {"User": "", "Image": "r/core@sha256:ab"}},
    "CIS-5.2": {"AppArmorProfile": ""},
    "CIS-5.4": {"CapAdd": ["CAP_NET_ADMIN"]},
    "CIS-5.5": {"Privileged": True},
    "CIS-5.6": {"Mounts": [{"Type": "bind", "Source": "/etc/ssl"}]},
    "CIS-5.10": {"NetworkMode": "host"},
    "CIS-5.11": {"Memory": 0},
    "CIS-5.12": {"NanoCpus": 0},
    "CIS-5.13": {"ReadonlyRootfs": False},
    "CIS-5.14": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}},
    "CIS-5.15": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
    "CIS-5.16": {"PidMode": "host"},
    "CIS-5.17": {"IpcMode": "host"},
    "CIS-5.18": {"Devices": [{"PathOnHost": "/dev/sda"}]},
    "CIS-5.20": {"Mounts": [{"Type": "bind", "Source": "/opt/x", "Propagation": "shared"}]},
    "CIS-5.21": {"UTSMode": "host"},
    "CIS-5.22": {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]},
    "CIS-5.25": {"CgroupParent": "/other"},
    "CIS-5.26": {"SecurityOpt": None},
    "CIS-5.27": {"State": {}},
    "CIS-5.28": {"Config": {"User": "1000", "Image": "nginx:1.30"}},
    "CIS-5.29": {"PidsLimit": None},
    "CIS-5.30": {"NetworkSettings": {"Networks": {"bridge": {}}}},
    "CIS-5.31": {"UsernsMode": "host"},
    "CIS-5.32": {"Mounts": [{"Type": "bind", "Source": "/var/run/docker.sock"}]},
    "LOGS": {"LogConfig": {"Type": "json-file", "Config": {}}},
    "CIS-5.9": {"PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5432"}]}},
}


def test_every_rule_is_broken_once() -> None:
    rules = [one.id for one in security_docker.containers([container()], public=PUBLIC)]
    assert sorted(rules) == sorted(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_is_found_and_named(name: str) -> None:
    assert _open([container(), container(Name="/fleet-odd-1", **BROKEN[name])]) == [name]
    found = next(
        one for one in security_docker.containers([container(**BROKEN[name])], public=PUBLIC) if one.id == name
    )
    assert found.places == ("fleet-core-1",) and found.found.startswith("fleet-core-1: ") and found.fix


@pytest.mark.parametrize("drop", [None, [], ["NET_RAW"]])
def test_dockers_default_capabilities_are_capabilities(drop: list[str] | None) -> None:
    assert _open([container(CapDrop=drop)]) == ["CIS-5.4"]


def test_the_ports_of_the_edge_may_be_published() -> None:
    ports = {"443/tcp": [{"HostIp": "203.0.113.7", "HostPort": "443"}]}
    assert _open([container(PortBindings=ports)]) == []


GOOD_DAEMON = {"icc": False, "no-new-privileges": True, "userland-proxy": False, "log-opts": {"max-size": "10m"}}
GOOD_INFO = {"Driver": "overlay2", "LiveRestoreEnabled": True, "Swarm": {"LocalNodeState": "inactive"}}


@pytest.mark.parametrize(
    ("info", "daemon", "sshd", "open_ones"),
    [
        ({}, {}, [], []),
        ({"Swarm": {"LocalNodeState": "active"}}, {}, [], ["CIS-5.1"]),
        ({}, {}, ["fleet-core-1"], ["CIS-5.7"]),
        ({}, {"icc": True}, [], ["CIS-2.2"]),
        ({}, {"log-level": "debug"}, [], ["CIS-2.3"]),
        ({}, {"iptables": False}, [], ["CIS-2.4"]),
        ({}, {"insecure-registries": ["r:5000"]}, [], ["CIS-2.5"]),
        ({"Driver": "aufs"}, {}, [], ["CIS-2.6"]),
        ({}, {"hosts": ["fd://", "tcp://0.0.0.0:2375"]}, [], ["CIS-2.7"]),
        ({}, {"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": True}, [], []),
        ({}, {"no-new-privileges": False}, [], ["CIS-2.14"]),
        ({"LiveRestoreEnabled": False}, {}, [], ["CIS-2.15"]),
        ({}, {"userland-proxy": True}, [], ["CIS-2.16"]),
        ({"ExperimentalBuild": True}, {}, [], ["CIS-2.18"]),
    ],
)
def test_the_engine(info: dict[str, Any], daemon: dict[str, Any], sshd: list[str], open_ones: list[str]) -> None:
    found = security_docker.engine({**GOOD_INFO, **info}, {**GOOD_DAEMON, **daemon}, sshd)
    assert [one.id for one in found if not one.ok] == open_ones


@pytest.mark.parametrize(
    ("line", "identity"),
    [
        ("private 700 0 0 /o/secrets", ""),
        ("private 750 0 0 /o/secrets", "FILES-private"),
        ("secret 440 0 6400 /o/secrets/a b", ""),
        ("secret 444 0 6400 /o/secrets/a", "FILES-secrets"),
        ("secret 440 0 1000 /o/secrets/a", "FILES-secrets"),
        ("secret 440 1000 6400 /o/secrets/a", "FILES-secrets"),
        ("key 640 0 6402 /o/certs/rel-1/privkey.pem", ""),
        ("key 600 6401 6401 /o/certbot/conf/archive/x/privkey1.pem", ""),
        ("key 644 0 6402 /o/certs/rel-1/privkey.pem", "FILES-keys"),
        ("key 640 0 33 /o/certs/rel-1/privkey.pem", "FILES-keys"),
        ("settings 640 0 0 /o/.env", ""),
        ("settings 644 0 0 /o/.env", "FILES-settings"),
        ("socket 660 0 999 /run/docker.sock", ""),
        ("socket 666 0 999 /run/docker.sock", "CIS-3.16"),
        ("daemon 644 0 0 /etc/docker/daemon.json", ""),
        ("daemon 664 0 0 /etc/docker/daemon.json", "CIS-3.18"),
    ],
)
def test_modes_and_owners(line: str, identity: str) -> None:
    found = [one for one in security_files.modes([line], frozenset({"6401"})) if not one.ok]
    assert [one.id for one in found] == [identity] * bool(identity)
    assert not found or found[0].places == (line.split(" ", 4)[4],)


@pytest.mark.parametrize(("line", "ok"), [("docker:x:999:", True), ("", True), ("docker:x:999:deploy,ada", False)])
def test_who_is_in_the_group_docker_is_root(line: str, ok: bool) -> None:
    found = security_files.group(line)
    assert (found.ok, found.places) == (ok, () if ok else ("deploy", "ada"))


@pytest.mark.parametrize("flaw", security_files.FLAWS, ids=lambda one: one.cve)
def test_the_known_flaws_are_those_of_the_checker_of_the_configuration(flaw: security_files.Flaw) -> None:
    theirs = next(one for one in known.CVES if one["id"] == flaw.cve)
    for version in (
        [(1, 30, number) for number in range(8)] + [(1, 31, number) for number in range(2, 9)] + [(1, 22, 1)]
    ):
        assert security_files.has(version, flaw) == known.in_any_range(version, theirs["affected_oss"]), version


@pytest.mark.parametrize(
    ("said", "places"),
    [
        ("nginx version: nginx/1.30.6 (Debian)\n", ()),
        ("nginx version: nginx/1.30.5\n", ("CVE-2026-93479", "CVE-2026-95101", "CVE-2026-97629")),
        ("nginx version: nginx/1.31.7\n", ()),
        ("nginx version: nginx/1.33.0\n", ()),
    ],
)
def test_the_version_of_nginx(said: str, places: tuple[str, ...]) -> None:
    found = list(security_files.nginx(said))
    assert [(one.ok, one.places) for one in found] == [(not places, places)]


def test_an_edge_that_does_not_run_is_no_good_news() -> None:
    assert [one.ok for one in security_files.nginx("")] == [False]


@pytest.mark.parametrize(
    ("created", "ok"),
    [
        ("2026-08-29T00:00:00.123456789Z", True),
        ("2026-08-28T00:00:00Z", False),
        ("1970-01-01T00:00:00Z", True),
        ("", True),
    ],
)
def test_the_age_of_an_image(created: str, ok: bool) -> None:
    found = security_files.images([{"id": "sha256:1", "created": created, "tags": ["r/t/core:v1"]}], days=90, now=NOW)
    assert (found.ok, found.places) == (ok, () if ok else ("core:v1 (90 days)",))


def test_what_is_accepted_is_listed_with_its_reason_and_not_open() -> None:
    found = security.accepted({"A": "because"}, [Risk("A", "a", "x", ok=False), Risk("B", "b", "y", ok=False)])
    assert [(one.id, one.open, one.accepted) for one in found] == [("A", False, "because"), ("B", True, "")]


def test_accepting_what_nobody_checks_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"audit\.accept names CIS-9\.9"):
        security.accepted({"CIS-9.9": "x"}, [Risk("A", "a", "x")])


def test_the_store_of_this_machine(tmp_path: Path) -> None:
    settings = fleet(tmp_path)
    store = tmp_path / ".secrets/production"
    store.mkdir(parents=True)
    (store / "db_password").write_text("x")
    (store / "db_password").chmod(0o640)
    assert [one.places for one in security.local(settings)] == [(".secrets/production/db_password",)]
    (store / "db_password").chmod(0o600)
    assert [one.ok for one in security.local(settings)] == [True]


@pytest.mark.parametrize(
    ("text", "ports"), [("", ()), ("22", (22,)), ("22, 8000-8002,22", (22, 8000, 8001, 8002)), ("65535", (65535,))]
)
def test_ports_that_are_named(text: str, ports: tuple[int, ...]) -> None:
    assert security_ports.wanted(text, full=False) == ports


@pytest.mark.parametrize("text", ["0", "x", "22-21", "70000", "1-", "-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no port"):
        security_ports.wanted(text, full=False)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_port_that_is_open_is_found_unless_it_may_be(listening: int) -> None:
    found = security_ports.scan(fleet(), [listening])
    assert (found.ok, found.places) == (False, (f"127.0.0.1:{listening}",))
    edge = EdgeSettings(address="127.0.0.1", https_port=listening)
    assert security_ports.scan(fleet(edge=edge), [listening]).ok


FOUND = [
    Risk("A", "should be a", "fine"),
    Risk("B", "should be b", "one: bad", ok=False, level="error", fix="do b", places=("one", "two")),
    Risk("C", "should be c", "meant", ok=False, level="note", accepted="because"),
]


def test_the_sarif_file_has_what_the_standard_requires(tmp_path: Path) -> None:
    write_sarif(str(tmp_path / "out.sarif"), FOUND, "compose/x.yml")
    document = json.loads((tmp_path / "out.sarif").read_text())
    run = document["runs"][0]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert document["version"] == "2.1.0" and document["$schema"].endswith("sarif-schema-2.1.0.json")
    assert [one["id"] for one in rules] == ["A", "B", "C"]
    assert [(one["ruleId"], rules[one["ruleIndex"]]["id"], one["level"]) for one in results] == [
        ("B", "B", "error"), ("C", "C", "note"),
    ]  # fmt: skip
    for one in results:
        place = one["locations"][0]["physicalLocation"]
        assert one["message"]["text"] and place["artifactLocation"]["uri"] == "compose/x.yml"
        assert place["region"]["startLine"] >= 1
    assert [one["fullyQualifiedName"] for one in results[0]["locations"][0]["logicalLocations"]] == ["one", "two"]
    assert results[1]["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "because"}]
    assert "suppressions" not in results[0]


def test_a_finding_keeps_its_fingerprint_in_other_words() -> None:
    marks: Callable[[str], Any] = lambda said: sarif([Risk("B", "b", said, ok=False)], "x")["runs"][0]["results"][0]  # noqa: E731
    assert marks("one")["partialFingerprints"] == marks("two")["partialFingerprints"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no/out\.sarif: No such file"):
        write_sarif(str(tmp_path / "no/out.sarif"), FOUND, "x")
