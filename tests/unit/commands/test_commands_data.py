"""Command lines of PostgreSQL and Redis: whole text, and the scripts run against fake programs."""

import shlex
from pathlib import Path

import pytest
from unit_support import execute, fake_program

from flotteq_tasks.commands import postgres, redis
from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.stack import Database

COMPOSE = Compose("fleet", "/srv/fleet")
DATABASE = Database(service="store", user="owner", name="fleet", cache="cache")
EXEC = f"{COMPOSE.base()} exec"
INSIDE = str(COMPOSE.exec("store", []))
CACHE = COMPOSE.exec("cache", []).argv()
PSQL = f"{INSIDE} psql -X -q -1 -v ON_ERROR_STOP=1 -U owner -d fleet"
# Stands in for docker: finds a container and runs here what is to run in it.
DOCKER = 'case $1 in ps) echo id ;; exec) shift 3; exec "$@" ;; esac'


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            postgres.psql(COMPOSE, DATABASE),
            f"{INSIDE} psql --no-psqlrc --set=ON_ERROR_STOP=1 -U owner -d fleet",
        ),
        (
            postgres.psql(COMPOSE, DATABASE, tty=True),
            f"{EXEC} store psql --no-psqlrc --set=ON_ERROR_STOP=1 -U owner -d fleet",
        ),
        (
            postgres.query(COMPOSE, DATABASE, "SELECT 'a'"),
            f"{INSIDE} psql -X -A -t -q -v ON_ERROR_STOP=1 -U owner -d fleet -c 'SELECT '\"'\"'a'\"'\"''",
        ),
        (
            postgres.count_tables(COMPOSE, DATABASE),
            f"{INSIDE} psql -X -A -t -q -v ON_ERROR_STOP=1 -U owner -d fleet -c "  # noqa: S608
            + shlex.quote(
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ),
        ),
        (postgres.query_input(COMPOSE, DATABASE), PSQL),
    ],
)
def test_whole_text(command: Command, text: str) -> None:
    assert str(command) == text


def test_the_whole_script_of_a_dump() -> None:
    dump = f"{INSIDE} pg_dump -Fc -U owner -d fleet"
    contents = f"{INSIDE} pg_restore --list"
    count = postgres.count_tables(COMPOSE, DATABASE)
    command = postgres.dump_to_file(COMPOSE, DATABASE, "/backups/a b.dump")
    assert command.argv() == [
        "sh",
        "-c",
        f"""set -eu
path=$1
umask 077
tables=$({count})
[ "$tables" -gt 0 ] || {{ echo empty; exit 0; }}
mkdir -p "$(dirname "$path")"
trap 'rm -f "$path.part"' EXIT
{dump} > "$path.part"
{contents} < "$path.part" > /dev/null
mv "$path.part" "$path"
stat -c %s "$path"
""",
        "flotteq",
        "/backups/a b.dump",
    ]


def _dump(tmp_path: Path, pg_dump: str, pg_restore: str, *, tables: int = 3) -> tuple[int, str, Path]:
    programs = (("docker", DOCKER), ("pg_dump", pg_dump), ("pg_restore", pg_restore), ("psql", f"echo {tables}"))
    for name, body in programs:
        fake_program(tmp_path / "bin", name, body)
    target = tmp_path / "b" / "x.dump"
    done = execute(postgres.dump_to_file(COMPOSE, DATABASE, str(target)), path=tmp_path / "bin")
    return done.returncode, done.stdout, target


def test_a_dump_that_reads_back_appears_for_nobody_else_to_read(tmp_path: Path) -> None:
    code, said, target = _dump(tmp_path, "printf content", "grep -q content")
    assert (code, said, target.read_text(), target.stat().st_mode & 0o777) == (0, "7\n", "content", 0o600)


def test_of_an_empty_database_there_is_no_dump(tmp_path: Path) -> None:
    code, said, target = _dump(tmp_path, "printf content", "true", tables=0)
    assert (code, said, target.parent.exists()) == (0, "empty\n", False)


@pytest.mark.parametrize(
    ("pg_dump", "pg_restore"),
    [("echo half; exit 1", "true"), ("echo garbage", "exit 1")],
    ids=["the dump fails", "the dump does not read back"],
)
def test_of_a_failed_dump_nothing_is_left(tmp_path: Path, pg_dump: str, pg_restore: str) -> None:
    code, _, target = _dump(tmp_path, pg_dump, pg_restore)
    assert (code, list(target.parent.iterdir())) == (1, [])


def test_the_new_password_reaches_psql_by_standard_input_only(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "docker", DOCKER)
    fake_program(tmp_path / "bin", "psql", f'printf "%s\\n" "$@" > {tmp_path}/argv; cat')
    command = postgres.set_password(COMPOSE, DATABASE)
    done = execute(command, path=tmp_path / "bin", stdin="canary%s\\x\n")
    assert done.stdout == "\\set VERBOSITY terse\nALTER ROLE \"owner\" WITH PASSWORD 'canary%s\\x';\n"
    assert "canary" not in (tmp_path / "argv").read_text()


def test_a_password_and_a_role_may_have_any_sign(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "docker", DOCKER)
    fake_program(tmp_path / "bin", "psql", "cat")
    command = postgres.set_password(COMPOSE, Database(user='my-"role"'))
    done = execute(command, path=tmp_path / "bin", stdin="can'ary \"\\\n")
    assert done.stdout.splitlines()[1] == 'ALTER ROLE "my-""role""" WITH PASSWORD \'can\'\'ary "\\\';'


def test_a_password_that_did_not_come_changes_nothing(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "docker", f"touch {tmp_path}/asked")
    assert execute(postgres.set_password(COMPOSE, DATABASE), path=tmp_path / "bin").returncode == 1
    assert not (tmp_path / "asked").exists()


LOGIN = "REDISCLI_AUTH=$(sed -n 's/^requirepass //p' /run/redis/auth.conf); export REDISCLI_AUTH"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            redis.cli(COMPOSE, "cache", ["get", "a b"]),
            [*CACHE, "sh", "-c", f'{LOGIN}; exec redis-cli "$@"', "redis-cli", "get", "a b"],
        ),
        (
            redis.cli(COMPOSE, "cache", tty=True),
            [*COMPOSE.exec("cache", [], tty=True).argv(), "sh", "-c", f'{LOGIN}; exec redis-cli "$@"', "redis-cli"],
        ),
        (
            redis.add_password(COMPOSE, "cache"),
            [*CACHE, "sh", "-c", f"set -eu\n{LOGIN}\nIFS= read -r password\nprintf 'ACL SETUSER "
             "default >%s\\n' \"$password\" | redis-cli -e --no-auth-warning\n"],
        ),
        (
            redis.only_password(COMPOSE, "cache"),
            [*CACHE, "sh", "-c", f"set -eu\n{LOGIN}\nIFS= read -r password\nprintf 'ACL SETUSER "
             "default resetpass >%s\\n' \"$password\" | redis-cli -e --no-auth-warning\numask 077\n"
             "printf 'requirepass %s\\n' \"$password\" > /run/redis/auth.conf.next\n"
             "mv /run/redis/auth.conf.next /run/redis/auth.conf\n"],
        ),
    ],
    ids=["cli", "interactive", "add", "only"],
)  # fmt: skip
def test_redis_whole_words(command: Command, words: list[str]) -> None:
    assert command.argv() == words


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A folder with a redis-cli that writes down who it is told to be and what it is asked, and the server's file."""
    fake_program(tmp_path / "bin", "docker", DOCKER)
    fake_program(
        tmp_path / "bin", "redis-cli", f'echo "auth=$REDISCLI_AUTH args=$*" > {tmp_path}/log; cat >> {tmp_path}/log'
    )
    (tmp_path / "auth.conf").write_text("requirepass old\n")
    return tmp_path


def _redis(command: Command, server: Path) -> int:
    words = [word.replace("/run/redis/", f"{server}/") for word in command.argv()]
    return execute(Command(words), path=server / "bin", stdin="canary\n").returncode


@pytest.mark.parametrize(
    ("command", "said", "kept"),
    [
        (redis.add_password(COMPOSE, "cache"), "ACL SETUSER default >canary", "requirepass old\n"),
        (redis.only_password(COMPOSE, "cache"), "ACL SETUSER default resetpass >canary", "requirepass canary\n"),
    ],
    ids=["add", "only"],
)
def test_redis_learns_a_password_without_a_word_of_a_command_line(
    server: Path, command: Command, said: str, kept: str
) -> None:
    assert _redis(command, server) == 0
    assert (server / "log").read_text() == f"auth=old args=-e --no-auth-warning\n{said}\n"
    assert (server / "auth.conf").read_text() == kept


def test_redis_that_refuses_keeps_its_file(server: Path) -> None:
    fake_program(server / "bin", "redis-cli", "exit 1")
    assert _redis(redis.only_password(COMPOSE, "cache"), server) == 1
    assert (server / "auth.conf").read_text() == "requirepass old\n"
