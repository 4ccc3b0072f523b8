"""The script that migrates: what runs in the container, and when."""

import re
from pathlib import Path

import pytest
from unit_support import Events, execute, fake_program, fleet

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.stack import PLANS, Migrations
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.database import STATUS, asking, migrate, migration_script, migration_status, read_status

MIGRATIONS = Migrations(service="core", command=("orm", "run"), status=("orm", "show"))
PENDING, APPLIED = "[X] 1 First\n[ ] 2 Second\n", "[X] 1 First\n[X] 2 Second\n"


def _ran(folder: Path, show: str, *, only_pending: bool = True) -> tuple[list[str], str]:
    fake_program(folder / "bin", "orm", f'echo "$*" >>{folder}/calls; [ $1 != show ] || {{ {show}; }}')
    text = migration_script(MIGRATIONS, [MIGRATIONS.command], only_pending=only_pending)
    done = execute(Command("sh", "-ec", text), path=folder / "bin")
    assert done.returncode == 0, done.stderr
    return (folder / "calls").read_text().splitlines(), done.stdout.partition("@@ status")[2]


def test_where_nothing_is_pending_the_command_does_not_run(tmp_path: Path) -> None:
    calls, said = _ran(tmp_path, f"printf '{APPLIED}'")
    assert calls == ["show"]
    assert read_status(said) == (("First", "Second"), ())


@pytest.mark.parametrize(
    "show", [f"printf '{PENDING}'", "echo 'a tool of another kind'", "exit 1"], ids=["pending", "unknown", "failed"]
)
def test_otherwise_it_runs(tmp_path: Path, show: str) -> None:
    later = f"[ $(grep -c show {tmp_path}/calls) = 1 ] || {{ printf '{APPLIED}'; exit 0; }}; {show}"
    calls, said = _ran(tmp_path, later)
    assert calls == ["show", "run", "show"]
    assert read_status(said) == (("First", "Second"), ())


def test_a_first_installation_asks_nothing_before(tmp_path: Path) -> None:
    assert _ran(tmp_path, f"printf '{APPLIED}'", only_pending=False)[0] == ["run", "show"]


def test_without_a_status_command_the_command_is_all() -> None:
    plain = Migrations(service="core", command=("orm", "run all"))
    assert migration_script(plain, [plain.command], only_pending=True) == "orm 'run all'"


def _migrated(said: str, *, code: int = 0) -> tuple[list[str], tuple[tuple[str, ...], str]]:
    """What ran on the host after the status had been asked, and what the migration returned."""
    host = FakeHost({"*": f"{STATUS}\n{APPLIED}"})
    site = Site(fleet(), host, ComposeEngine(host, fleet()), Events().report)
    (question,) = asking(site, MIGRATIONS)
    found = migrate(site, MIGRATIONS, empty=False, asked=[Done(question, code, out=f"{STATUS}\n{said}")])
    return host.transcript, found


def test_a_status_that_was_asked_before_and_tells_of_nothing_pending_is_enough() -> None:
    assert _migrated(APPLIED) == ([], (("First", "Second"), "up to date, 2 applied"))


@pytest.mark.parametrize(("said", "code", "asks"), [(PENDING, 0, 1), ("", 0, 2), (APPLIED, 1, 2)])
def test_otherwise_the_migration_runs_and_asks_before_only_what_is_unknown(said: str, code: int, asks: int) -> None:
    (ran,), found = _migrated(said, code=code)
    assert ("orm run" in ran, ran.count("orm show"), found[0]) == (True, asks, ("First", "Second"))


@pytest.mark.parametrize("release", ["", "r2"], ids=["of the live image", "of a plan"])
def test_a_question_without_the_lock_does_not_end_a_migration(release: str) -> None:
    host = FakeHost({"*": f"{STATUS}\n{PENDING}"})
    site = Site(fleet(), host, ComposeEngine(host, fleet()), Events().report)
    assert migration_status(site, MIGRATIONS, release=release) == (("First",), ("Second",))
    (line,) = host.transcript
    (name,) = re.findall(r"--name (\S+)", line)
    assert name != "fleet-migrate" and name.endswith(PLANS), "a repair under the lock leaves it alone"
