"""Command lines of Docker Compose, as whole text."""

from pathlib import Path

import pytest
from unit_support import execute, fake_program

from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.shell import Command

COMPOSE = Compose("fleet", "/srv/fleet")
BASE = (
    "docker compose --project-name fleet --project-directory /srv/fleet --env-file /srv/fleet/.env "
    "--file /srv/fleet/docker-compose.production.yml --ansi never --progress plain "
)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (COMPOSE.config(), "--profile ops config --format json"),
        (COMPOSE.hashes(), "--profile ops config --hash '*'"),
        (COMPOSE.up(["a", "b"]), "up --detach --no-deps --no-build --no-recreate a b"),
        (COMPOSE.up(["a"], recreate=True), "up --detach --no-deps --no-build a"),
        (
            COMPOSE.up(["a", "b"], scale={"a": 3, "b": 2}),
            "up --detach --no-deps --no-build --no-recreate --scale=a=3 --scale=b=2 a b",
        ),
        (
            COMPOSE.run("core", ["migrate", "a b"], name="once"),
            "run --rm --no-deps --no-TTY --quiet-pull --name once core migrate 'a b'",
        ),
        (
            COMPOSE.run("core", ["migrate"], name="once", entrypoint="/opt/with secrets"),
            "run --rm --no-deps --no-TTY --quiet-pull --name once --entrypoint '/opt/with secrets' core migrate",
        ),
        (
            COMPOSE.run("core", [], name="once", capabilities=["CHOWN"], volumes=["a:/b"], variables={"PACE": "1"}),
            "run --rm --no-deps --no-TTY --quiet-pull --name once --cap-add=CHOWN --volume=a:/b --env=PACE=1 core",
        ),
        (COMPOSE.exec("core", ["sh"], tty=True, user="node"), "exec --user node core sh"),
        (COMPOSE.logs([], follow=False, lines=None), "logs --no-color"),
        (
            COMPOSE.logs(["core"], follow=True, lines=100, since="10m"),
            "logs --no-color --follow --tail 100 --since 10m core",
        ),
        (COMPOSE.logs([], follow=False, lines=0), "logs --no-color --tail 0"),
        (COMPOSE.restart(["core"]), "restart --no-deps core"),
        (COMPOSE.stop(["core"]), "stop core"),
        (COMPOSE.start(["core"]), "start core"),
        (COMPOSE.down(), "down"),
    ],
)
def test_whole_text(command: Command, text: str) -> None:
    assert str(command) == BASE + text


def test_a_command_in_the_oldest_container_of_a_service(tmp_path: Path) -> None:
    fake_program(tmp_path, "docker", 'case $1 in ps) echo new; echo old ;; *) printf "<%s>" "$@"; cat ;; esac')
    done = execute(COMPOSE.exec("core", ["ls", "$HOME", "a b"], user="node"), path=tmp_path, stdin="in")
    assert done.stdout == "<exec><--interactive><--user><node><old><ls><$HOME><a b>in"


def test_a_command_in_a_service_of_which_nothing_runs(tmp_path: Path) -> None:
    fake_program(tmp_path, "docker", "true")
    done = execute(COMPOSE.exec("core", ["ls"]), path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no container of core is running\n")


def test_a_directory_with_a_space_stays_one_word() -> None:
    assert str(Compose("p", "/srv/a b", "c.yml").base()) == (
        "docker compose --project-name p --project-directory '/srv/a b' --env-file '/srv/a b/.env' "
        "--file '/srv/a b/c.yml' --ansi never --progress plain"
    )


def test_a_staged_release_keeps_the_project_directory() -> None:
    staged = Compose("fleet", "/srv/fleet", "releases/r/files/c.yml", "releases/r/files/.env")
    assert str(staged.hashes()) == (
        "docker compose --project-name fleet --project-directory /srv/fleet --env-file "
        "/srv/fleet/releases/r/files/.env --file /srv/fleet/releases/r/files/c.yml --ansi never --progress plain "
        "--profile ops config --hash '*'"
    )


def test_down_never_removes_volumes() -> None:
    assert not {"-v", "--volumes"} & set(COMPOSE.down().argv())
