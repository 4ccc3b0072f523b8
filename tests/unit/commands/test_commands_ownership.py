"""Handing files over and changing networks of running containers: the scripts, run by a real shell."""

import os
from pathlib import Path

import pytest
from unit_support import Docker, execute, fake_program

from flotteq_tasks.commands import ownership

# Nobody has it; chown is written down, not done: that needs root.
OWNER = "64999:64998"


@pytest.fixture
def chown(tmp_path: Path) -> Path:
    fake_program(tmp_path / "bin", "chown", f'echo "$*" >> {tmp_path}/chowned')
    return tmp_path / "chowned"


def test_what_belongs_to_somebody_else_is_handed_over(tmp_path: Path, chown: Path) -> None:
    place = tmp_path / "uploads"
    (place / "deep").mkdir(parents=True)
    (place / "deep/a b\nc").write_text("x")
    (place / "link").symlink_to("/etc/passwd")
    (place / ".flotteq-restore/before").mkdir(parents=True)
    done = execute(ownership.hand_over([(OWNER, str(place))]), path=tmp_path / "bin")
    assert (done.returncode, done.stdout) == (0, f"handed {place} {OWNER} 4\n")
    said = chown.read_text()
    assert said.startswith(f"-h {OWNER} ") and f"{place}/link" in said
    assert "/etc/passwd" not in said and ".flotteq-restore" not in said


def test_directories_alone_are_handed_over_where_files_keep_their_owners(tmp_path: Path, chown: Path) -> None:
    (tmp_path / "uploads/deep").mkdir(parents=True)
    (tmp_path / "uploads/deep/a").write_text("x")
    done = execute(ownership.hand_over([(OWNER, str(tmp_path / "uploads"))], whole=False), path=tmp_path / "bin")
    assert done.returncode == 0
    assert chown.read_text() == f"-h {OWNER} {tmp_path}/uploads {tmp_path}/uploads/deep\n"


def test_what_belongs_to_its_user_stays(tmp_path: Path, chown: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = execute(ownership.hand_over([(f"{os.getuid()}:7", str(tmp_path / "mine"))]), path=tmp_path / "bin")
    assert (done.returncode, done.stdout, chown.exists()) == (0, "", False)


def test_a_directory_is_made_and_an_empty_one_is_no_news(tmp_path: Path, chown: Path) -> None:
    done = execute(ownership.hand_over([(OWNER, str(tmp_path / "new"))]), path=tmp_path / "bin")
    assert (done.returncode, done.stdout, chown.read_text()) == (0, "", f"-h {OWNER} {tmp_path}/new\n")


def test_a_volume_is_found_by_its_name(tmp_path: Path, chown: Path) -> None:
    (tmp_path / "data/x").mkdir(parents=True)
    fake_program(tmp_path / "bin", "docker", f'[ "$5" = fleet_data ] && echo {tmp_path}/data')
    done = execute(ownership.hand_over([(OWNER, "fleet_data")]), path=tmp_path / "bin")
    assert done.stdout == f"handed fleet_data {OWNER} 2\n"


@pytest.mark.parametrize(
    ("inside", "calls"),
    [("old ", ["network connect --alias store data c1"]), ("data old ", [])],
    ids=["connected", "is there already"],
)
def test_a_container_joins_a_network_once(tmp_path: Path, inside: str, calls: list[str]) -> None:
    docker = Docker(tmp_path)
    code, _ = docker.run(ownership.connect("data", "c1", alias="store"), f'case $1 in inspect) echo "{inside}" ;; esac')
    assert (code, docker.calls[1:]) == (0, calls)


@pytest.mark.parametrize(
    ("owner", "calls"), [("fleet", ["network disconnect old c1"]), ("", [])], ids=["the project's", "a person's"]
)
def test_a_container_leaves_a_network_of_the_project_only(tmp_path: Path, owner: str, calls: list[str]) -> None:
    docker = Docker(tmp_path)
    code, _ = docker.run(ownership.disconnect("fleet", "old", "c1"), f'case $2 in inspect) echo "{owner}" ;; esac')
    assert (code, docker.calls[1:]) == (0, calls)
