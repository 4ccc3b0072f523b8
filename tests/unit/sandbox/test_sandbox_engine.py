"""The engine of this machine: used as it is, completed, or refused with what to install."""

from pathlib import Path

import pytest

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import PreflightFailed
from flotteq_tasks.operations.sandbox import engine, packages

VERSION = "docker version --format '{{.Server.Version}}'"
READY = {VERSION: "28.5.2", "docker compose version --short": "2.40.3", "docker buildx version": "v0.13"}


@pytest.fixture
def lines() -> list[str]:
    return []


def machine(monkeypatch: pytest.MonkeyPatch, *, root: bool, programs: tuple[str, ...] = ("apt-get",)) -> None:
    monkeypatch.setattr(packages, "is_root", lambda: root)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name in programs else None)


def test_an_engine_that_runs_is_used_as_it_is(tmp_path: Path, lines: list[str]) -> None:
    host = FakeHost(READY)
    engine.ensure_engine(host, tmp_path, lines.append)
    assert host.transcript == list(READY)
    assert not lines


def test_without_root_nothing_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: list[str]) -> None:
    machine(monkeypatch, root=False)
    host = FakeHost({VERSION: 127, "docker version": 127})
    with pytest.raises(PreflightFailed, match="without root") as caught:
        engine.ensure_engine(host, tmp_path, lines.append)
    assert "Docker Desktop" in caught.value.hint


def test_a_socket_that_is_closed_to_this_user_names_the_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: list[str]
) -> None:
    machine(monkeypatch, root=False)
    denied = Done(Command("docker"), 1, err="permission denied while trying to connect to the Docker daemon socket")
    with pytest.raises(PreflightFailed, match="does not let this user in") as caught:
        engine.ensure_engine(FakeHost({VERSION: 1, "docker version": denied}), tmp_path, lines.append)
    assert "usermod -aG docker" in caught.value.hint


def test_missing_plugins_without_root_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: list[str]
) -> None:
    machine(monkeypatch, root=False)
    host = FakeHost({**READY, "docker compose version --short": "2.17.1", "docker buildx version": 1})
    with pytest.raises(PreflightFailed, match="docker compose and docker buildx: missing or too old") as caught:
        engine.ensure_engine(host, tmp_path, lines.append)
    assert "docker-buildx" in caught.value.hint


def test_compose_v1_of_the_release_is_passed_over_for_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"docker-compose": "1.29.2-3", "docker-buildx": ""}
    monkeypatch.setattr(packages, "candidate", lambda _host, name: versions.get(name, ""))
    plan = engine._plugin_packages(FakeHost(), ["compose", "buildx"])
    assert plan == ([], ["docker-compose", "docker-buildx"])


def test_the_releases_own_plugins_are_taken_when_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"docker-compose": "2.26.1-4", "docker-buildx": "0.13.1"}
    monkeypatch.setattr(packages, "candidate", lambda _host, name: versions.get(name, ""))
    assert engine._plugin_packages(FakeHost(), ["compose", "buildx"]) == (["docker-compose", "docker-buildx"], [])


def test_candidate_reads_apts_answer() -> None:
    policy = "docker-compose:\n  Installed: (none)\n  Candidate: 1.29.2-3\n  Version table:\n"
    host = FakeHost(
        {"apt-cache policy docker-compose": policy, "apt-cache policy nothing": "nothing:\n  Candidate: (none)\n"}
    )
    assert packages.candidate(host, "docker-compose") == "1.29.2-3"
    assert packages.candidate(host, "nothing") == ""


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, root=True)
    monkeypatch.setattr(packages, "_os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})


@pytest.mark.usefixtures("debian")
def test_the_mirror_is_the_machines_own() -> None:
    answer = "http://mirror.example/security bookworm-security /k.gpg\nhttp://mirror.example/debian/ bookworm /k.gpg\n"
    host = FakeHost({"apt-get indextargets *": answer})
    assert packages.mirror(host).source("trixie") == "deb [signed-by=/k.gpg] http://mirror.example/debian trixie main"


@pytest.mark.usefixtures("debian")
def test_a_debian_without_sources_is_refused() -> None:
    with pytest.raises(PreflightFailed, match="no Debian source"):
        packages.mirror(FakeHost({"apt-get indextargets *": ""}))


def test_another_system_without_docker_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_os_release", lambda: {"ID": "fedora"})
    with pytest.raises(PreflightFailed, match="no Debian"):
        packages.mirror(FakeHost())
