"""The script that migrates: what runs in the container, and when."""

from pathlib import Path

import pytest
from unit_support import execute, fake_program

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.stack import Migrations
from flotteq_tasks.operations.database import migration_script, read_status

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
