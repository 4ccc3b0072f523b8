"""Several commands in one round trip: each has its own output, its own exit code, its own end."""

from pathlib import Path

import pytest
from unit_support import NASTY, execute

from flotteq_tasks.commands.batch import batch, split, together
from flotteq_tasks.commands.shell import Command, Raw, script
from flotteq_tasks.model.secret import Secret


def _run(*commands: Command, reader: int | None = None, stdin: str = "") -> list[tuple[int, str, str]]:
    return list(split(execute(batch(commands, "mark-1", reader=reader), stdin=stdin).stdout, "mark-1"))


def test_each_has_its_own_output_whatever_is_in_it() -> None:
    printed = [Command("printf", "%s", word) for word in NASTY]
    assert _run(*printed) == [(0, word, "") for word in NASTY]


def test_the_two_streams_are_kept_apart() -> None:
    assert _run(script("echo out; echo err >&2")) == [(0, "out\n", "err\n")]


def test_the_first_that_fails_is_the_last() -> None:
    assert _run(Command("true"), Command(Raw("echo why >&2; exit 7")), Command("echo", "never")) == [
        (0, "", ""), (7, "", "why\n"),
    ]  # fmt: skip


def test_only_the_reader_has_the_standard_input() -> None:
    assert _run(Command("cat"), Command("cat"), Command("cat"), reader=1, stdin="data") == [
        (0, "", ""), (0, "data", ""), (0, "", ""),
    ]  # fmt: skip


def test_side_by_side_the_results_are_the_same() -> None:
    commands = [
        script("sleep 0.2; echo a; echo b >&2"),
        Command("cat"),
        Command(Raw("echo why >&2; exit 7")),
        Command("x"),
    ]
    done = execute(together(commands, "mark-1"), stdin="never read")
    assert list(split(done.stdout, "mark-1")) == [(0, "a\n", "b\n"), (0, "", ""), (7, "", "why\n")]


def test_side_by_side_nobody_waits_for_another(tmp_path: Path) -> None:
    there = f"until [ -e {tmp_path}/b ]; do sleep 0.05; done; echo met"
    done = execute(together([script(there), script(f": >{tmp_path}/b")], "mark-1"))
    assert list(split(done.stdout, "mark-1")) == [(0, "met\n", ""), (0, "", "")]


def test_output_that_was_cut_off_is_no_result() -> None:
    assert list(split("out\nmark-1 err\n\nmark-1 0\nhalf", "mark-1")) == [(0, "out", "")]


def test_a_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="standard input"):
        batch([Command("echo", Secret("x"))], "mark")
