"""The scripts that exchange two databases and clear up behind it, run here with a docker that writes down the calls."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest
from unit_support import execute, fake_program

from flotteq_tasks.commands import swapping
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.stack import Database, Project

# The application answers while there is a file `answer`, or `answer.<live database>` once that one is live. The engine
# never answers where the words and the live database are as the file `hang` says, nor when a script was run in the
# database's container and there is a file `late`.
_DOCKER = """
cd "{state}"
[ ! -e /proc/self/fd/9 ] || echo "$1 has the lock" >>calls
# shellcheck disable=SC2254 # a pattern
case "$* @$(cat live)" in $(cat hang 2>/dev/null || echo none)) exec sleep 600 ;; esac
case "$1 $2 $3" in
  ps*=store*|"ps --all --quiet")
    case $* in *service=store*) echo db ;; *service=front*) echo gate ;; *service=core*) echo app ;; esac ;;
  "inspect --format {{{{.Name}}}}") echo /fleet-core-1 ;;
  inspect*) cat state 2>/dev/null || echo 'running healthy' ;;
  exec*gate*) cat "answer.$(cat live)" 2>/dev/null || cat answer ;;
  "exec -i db") shift 3; "$@" || exit; [ "$1" != sh ] || [ ! -e late ] || exec sleep 600 ;;
  *) echo "$*" >>calls ;;
esac
"""
_PSQL = """
cd "{state}"
while [ $# -gt 0 ]; do
  case $1 in -d) database=$2 ;; live=*|next=*|kept=*) eval "$1" ;; esac
  shift
done
text=$(cat)
case $text in
  *md5*) cat "shape.$database" 2>/dev/null || echo same ;;
  *"select datname from"*) cat databases ;;
  *"rename to"*) [ ! -e refuse ] || exit 3; echo "$next is $live" >>calls; echo "$next" >live ;;
  *"drop database"*) echo "drop $next" >>calls ;;
esac
"""
DATABASE = Database("store", "owner", "live")


def project(home: Path) -> Project:
    return Project("fleet", "fleet.example", str(home), backups=str(home / "backups"))


def application(**changes: object) -> swapping.Application:
    given = {
        "consumers": ("core",),
        "edge": "front",
        "address": "http://CONTAINER:1/h",
        "fields": ('"ok"',),
        "limit": 1,
        "grace": 8,
    }
    return swapping.Application(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for name, body in (("docker", _DOCKER), ("psql", _PSQL)):
        fake_program(tmp_path / "bin", name, body.format(state=tmp_path))
    (tmp_path / "state.d").mkdir()
    for name, text in (("answer", '"ok"'), ("live", "live"), ("databases", "live\npostgres\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "site" / "state").mkdir(parents=True)
    (tmp_path / "site" / "nginx" / "state").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def hurried(host: Path) -> Path:
    """The same, where every time limit passes at once."""
    fake_program(host / "bin", "timeout", 'shift 2; exec /usr/bin/timeout --kill-after=0.2 1 "$@"')
    return host


def page(host: Path) -> Path:
    return host / "site" / "nginx" / "state" / "maintenance.on"


def calls(host: Path) -> list[str]:
    return (host / "calls").read_text().splitlines() if (host / "calls").exists() else []


def run(host: Path, command: Command) -> tuple[CompletedProcess[str], list[str]]:
    done = execute(command, path=host / "bin")
    return done, calls(host)


def swap(host: Path, *, way: str = "reconnect", **changes: object) -> tuple[CompletedProcess[str], list[str]]:
    where = project(host / "site")
    return run(host, swapping.swap(where, DATABASE, application(**changes), next="new", kept="old", way=way))


def settle(host: Path, *, next: str, **changes: object) -> tuple[CompletedProcess[str], list[str]]:
    where = project(host / "site")
    return run(host, swapping.settle(where, DATABASE, application(**changes), next=next, kept="old"))


def test_the_scripts_are_told_names_and_limits_as_arguments() -> None:
    where = project(Path("/srv/fleet"))
    words = [
        "/srv/fleet", "fleet", "store", "owner", "live", "new", "old", "9", "front", "http://CONTAINER:1/h", "a\nb",
        "core worker", "8",
    ]  # fmt: skip
    asked = application(consumers=("core", "worker"), fields=("a", "b"), limit=9)
    swapped = swapping.swap(where, DATABASE, asked, next="new", kept="old", way="reconnect")
    assert swapped.argv()[4:] == [*words, "reconnect"]
    settled = swapping.settle(where, DATABASE, asked, next="new", kept="old")
    assert settled.argv()[4:] == [*words, "/srv/fleet/backups", str(asked.longest)]


def test_what_runs_stays_where_the_columns_are_the_same_and_it_answers(host: Path) -> None:
    done, said = swap(host)
    assert (done.returncode, said) == (0, ["new is live"]), done.stderr
    assert done.stdout.splitlines()[-1] == "way reconnect"
    assert not page(host).exists()


def test_other_columns_restart_what_runs_behind_the_page(host: Path) -> None:
    (host / "shape.new").write_text("other")
    done, said = swap(host)
    assert (done.returncode, said) == (0, ["stop --time 8 app", "new is live", "start app"]), done.stderr
    assert "way restart" in done.stdout and not page(host).exists()


def test_what_does_not_connect_anew_is_restarted(host: Path) -> None:
    (host / "answer.new").write_text("no")
    done, said = swap(host)
    assert said[:3] == ["new is live", "stop --time 8 app", "start app"], done.stderr


@pytest.mark.parametrize("way", ["reconnect", "restart"])
def test_an_application_that_is_not_healthy_gets_its_database_back(host: Path, way: str) -> None:
    (host / "answer.new").write_text('"disconnected"')
    done, said = swap(host, way=way)
    assert done.returncode == swapping.RETURNED, done.stderr
    assert said[-3:] == ["stop --time 8 app", "old is live", "start app"]
    assert not page(host).exists()


def test_where_no_way_back_is_healthy_the_page_stays(host: Path) -> None:
    (host / "answer").write_text("no")
    done, _ = swap(host)
    assert done.returncode == swapping.STUCK
    assert page(host).exists()


def test_a_refused_swap_changes_nothing(host: Path) -> None:
    (host / "refuse").touch()
    done, said = swap(host)
    assert (done.returncode, said) == (swapping.REFUSED, ["start app"])
    assert not page(host).exists()


@pytest.mark.parametrize(
    ("hang", "way", "code", "said"),
    [
        ("ps *", "restart", swapping.REFUSED, []),
        ("stop *", "restart", swapping.STUCK, ["start app"]),
        ("exec -i db *", "reconnect", swapping.STUCK, ["stop --time 8 app"]),
        ("start *@new", "restart", swapping.RETURNED,
         ["stop --time 8 app", "new is live", "stop --time 8 app", "old is live", "start app"]),
        ("exec gate *@new", "reconnect", swapping.RETURNED,
         ["new is live", "stop --time 8 app", "start app", "stop --time 8 app", "old is live", "start app"]),
        ("stop *@new", "reconnect", swapping.STUCK, ["new is live", "old is live", "start app"]),
        ("inspect *State*", "reconnect", 0, ["new is live"]),
    ],
)  # fmt: skip
def test_an_engine_that_never_answers_is_not_waited_for(
    hurried: Path, hang: str, way: str, code: int, said: list[str]
) -> None:
    (hurried / "hang").write_text(hang)
    if hang.startswith("stop *@"):
        (hurried / "answer.new").write_text("no")
    done, found = swap(hurried, way=way)
    assert (done.returncode, found) == (code, said), done.stderr
    assert page(hurried).exists() == (code == swapping.STUCK)


def test_names_that_were_exchanged_are_so_whatever_the_engine_says(hurried: Path) -> None:
    (hurried / "late").touch()
    (hurried / "databases").write_text("live\nold\n")
    done, found = swap(hurried)
    assert (done.returncode, found) == (0, ["new is live"]), done.stderr
    assert not page(hurried).exists()


@pytest.mark.parametrize(("hang", "why"), [("start *", "does not start"), ("exec -i db *", "does not answer")])
def test_an_end_that_the_engine_does_not_help_with_is_not_waited_for(hurried: Path, hang: str, why: str) -> None:
    (hurried / "hang").write_text(hang)
    page(hurried).write_text("restore\n")
    done, _ = settle(hurried, next="live_restored_1")
    assert done.returncode == swapping.STUCK and why in done.stdout
    assert page(hurried).exists()


def test_a_page_that_a_person_put_up_stays(host: Path) -> None:
    page(host).touch()
    assert swap(host)[0].returncode == 0
    assert page(host).exists()


def test_a_page_that_a_person_put_up_stays_when_the_former_database_comes_back(host: Path) -> None:
    page(host).touch()
    (host / "state").write_text("running starting")
    assert swap(host, way="restart")[0].returncode == swapping.RETURNED
    assert page(host).exists()


def test_a_page_that_a_power_cut_left_goes(host: Path) -> None:
    page(host).write_text("restore\n")
    assert swap(host)[0].returncode == 0
    assert not page(host).exists()


@pytest.mark.parametrize(
    ("there", "next", "state", "dropped"),
    [
        ("live\nold\n", "live_restored_1", "swapped", []),
        ("live\nlive_restored_1\n", "live_restored_1", "before", ["drop live_restored_1"]),
        ("live\nlive_before_1\n", "live_before_1", "before", []),
    ],
    ids=["swapped", "while it was filled", "an undo before its swap"],
)
def test_a_restore_that_did_not_end_is_brought_to_one(
    host: Path, there: str, next: str, state: str, dropped: list[str]
) -> None:
    (host / "databases").write_text(there)
    marker = host / "site" / "state" / "restore.json"
    scratch = host / "site" / "backups" / "scratch"
    scratch.mkdir(parents=True)
    for path in (marker, scratch / "a.dump", host / "site" / "backups" / "lock"):
        path.touch()
    page(host).write_text("restore\n")
    done, said = settle(host, next=next)
    assert (done.returncode, done.stdout, said) == (0, f"state {state}\n", ["start app", *dropped]), done.stderr
    assert not marker.exists() and not page(host).exists() and list(scratch.iterdir()) == []


def test_a_site_that_does_not_answer_stays_behind_the_page(host: Path) -> None:
    (host / "answer").write_text("no")
    page(host).write_text("restore\n")
    done, _ = settle(host, next="live_restored_1")
    assert (done.returncode, done.stdout) == (0, "state before\nunhealthy\n")
    assert page(host).exists()


def test_a_persons_page_is_no_business_of_a_restore(host: Path) -> None:
    page(host).touch()
    assert settle(host, next="live_restored_1")[0].stdout == "state before\n"
    assert page(host).exists()
