"""What a sandbox leaves in the repository."""

import stat
import tomllib
from pathlib import Path

import pytest

from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.operations.sandbox import files
from flotteq_tasks.operations.sandbox.environment import ca_bundle, to_toml
from flotteq_tasks.operations.sandbox.files import Sandbox
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.sandbox.network import Edge

HEAD, TAIL = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"


def certificate(body: str) -> str:
    return f"{HEAD}{body}\n{TAIL}"


def sandbox(root: Path, *, ssh_port: int = 2222, instance: str = "flotteq-sandbox") -> Sandbox:
    return Sandbox(
        instance=instance,
        state=Names(instance).state(root),
        ssh_address="127.0.0.1",
        ssh_port=ssh_port,
        edge=Edge("127.0.0.2", 80, 443),
        push_server="127.0.0.1:5555",
        dns="10.213.77.2",
        build_args={"NODE_IMAGE": "node:20"},
    )


def test_the_identity_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    key_file = tmp_path / "state" / "id_ed25519"
    first = files.ensure_identity(key_file)
    assert first.startswith("ssh-ed25519 AAAA")
    assert files.ensure_identity(key_file) == first
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


@pytest.mark.parametrize(("port", "host"), [(22, "127.0.0.1"), (2222, "[127.0.0.1]:2222")])
def test_known_hosts_names_the_port_as_ssh_does(tmp_path: Path, port: int, host: str) -> None:
    made = sandbox(tmp_path, ssh_port=port)
    files.write_known_hosts(made, [("ssh-ed25519", "AAAA"), ("ssh-rsa", "BBBB")])
    assert made.known_hosts.read_text() == f"{host} ssh-ed25519 AAAA\n{host} ssh-rsa BBBB\n"


def test_roots_of_earlier_starts_stay_trusted_newest_first(tmp_path: Path) -> None:
    made = sandbox(tmp_path)
    for body in ("one", "two", "two"):
        files.write_certificates(made, certificate("ca"), certificate(body))
    assert made.acme_root.read_text() == certificate("two") + certificate("one")
    assert made.acme_ca.read_text() == certificate("ca")


def test_only_the_last_roots_are_kept(tmp_path: Path) -> None:
    made = sandbox(tmp_path)
    for number in range(9):
        files.write_certificates(made, certificate("ca"), certificate(f"root {number}"))
    assert made.acme_root.read_text().count(HEAD) == 5
    assert made.acme_root.read_text().startswith(certificate("root 8"))


def test_the_overlay_says_where_everything_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ca_bundle", lambda: "")
    made = sandbox(tmp_path, instance="flotteq-tests")
    files.write_environment(tmp_path, made)
    state = ".sandbox/instances/flotteq-tests"
    assert tomllib.loads(made.environment.read_text()) == {
        "host": {
            "address": "127.0.0.1",
            "port": 2222,
            "user": "deploy",
            "key_file": f"{state}/id_ed25519",
            "known_hosts": f"{state}/known_hosts",
        },
        "edge": {"address": "127.0.0.2", "http_port": 80, "https_port": 443},
        "server": {"ssh_port": 22},
        "registry": {
            "server": "registry.flotteq-sandbox:5000",
            "push_server": "127.0.0.1:5555",
            "insecure": True,
        },
        "acme": {
            "directory": "https://acme.flotteq-sandbox:14000/dir",
            "ca_file": f"{state}/acme-ca.pem",
            "root_file": f"{state}/acme-root.pem",
            "resolvers": ["10.213.77.2"],
        },
        "build": {"args": {"NODE_IMAGE": "node:20"}},
    }


def test_removing_leaves_what_is_not_the_sandboxs(tmp_path: Path) -> None:
    made = sandbox(tmp_path)
    files.ensure_identity(made.key_file)
    (made.state / "dockerd.log").write_text("kept")
    files.remove(made.state)
    assert [file.name for file in made.state.iterdir()] == ["dockerd.log"]


def test_removing_takes_an_empty_directory_along(tmp_path: Path) -> None:
    made = sandbox(tmp_path, instance="flotteq-tests")
    files.ensure_identity(made.key_file)
    files.remove(made.state)
    assert not made.state.exists()


def test_two_at_once_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LOCK_LIMIT", 0)
    with files.alone(tmp_path), pytest.raises(Exception, match="another inv sandbox"), files.alone(tmp_path):
        pass
    with files.alone(tmp_path):
        pass


def test_toml_keeps_odd_text_and_leaves_empty_tables_out() -> None:
    text = to_toml({"a": {"quote": 'say "é"\\', "yes": True, "port": 80}, "empty": {}, "a.b": {"c": "d"}})
    assert tomllib.loads(text) == {"a": {"quote": 'say "é"\\', "yes": True, "port": 80, "b": {"c": "d"}}}


def test_ca_bundle_is_the_first_that_exists(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.touch()
    assert ca_bundle({"NODE_EXTRA_CA_CERTS": "/does/not/exist", "SSL_CERT_FILE": str(bundle)}) == str(bundle)
    assert ca_bundle({}) == ""


@pytest.mark.parametrize("name", ["", "-x", "Big", "a b", "x" * 50])
def test_an_instance_name_that_docker_would_refuse_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="not usable"):
        Names(name)
