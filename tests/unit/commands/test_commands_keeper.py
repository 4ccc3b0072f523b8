"""The script that holds the lock, run under bash: who gets it, who is told what, what frees it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit_support import execute

from flotteq_tasks.commands.keeper import LOCKED, ROOM, keeper, read_lock

HOLDER = '{"who": "ada"}'


class Client:
    """One keeper process and its standard streams."""

    def __init__(self, state: Path, lease: int = 30) -> None:
        self.process = subprocess.Popen(
            keeper(str(state), lease=lease).argv(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, bufsize=1, start_new_session=True,
        )  # fmt: skip

    def say(self, line: str) -> str:
        """Send a line, return the answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def hear(self) -> str:
        """The next line it says."""
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> int:
        """Wait for its end."""
        return self.process.wait(10)

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "deep er" / "state"


@pytest.fixture
def client(state: Path) -> Iterator[Client]:
    made = Client(state)
    yield made
    made.kill()


@pytest.fixture
def second(state: Path, client: Client) -> Iterator[Client]:
    assert client.say(HOLDER) == "held"
    made = Client(state)
    yield made
    made.kill()


def test_the_whole_command() -> None:
    words = keeper("/srv/x/state", lease=45).argv()
    assert (words[:2], words[3:]) == (["bash", "-c"], ["flotteq", "/srv/x/state", "45", str(ROOM)])


def test_the_first_holds_the_lock(client: Client) -> None:
    assert client.say(HOLDER) == "held"


def test_a_beat_is_answered(client: Client) -> None:
    client.say(HOLDER)
    assert client.say("beat") == "beat"


def test_journal_lines_are_added_as_they_come(client: Client, state: Path) -> None:
    client.say(HOLDER)
    lines = ['{"a": "x  y \\\\n $(id) *"}', '{"b": 2}']
    assert [client.say(line) for line in lines] == ["written", "written"]
    assert (state / "journal.jsonl").read_text().splitlines() == lines


def test_the_journal_keeps_what_was_in_it(client: Client, state: Path) -> None:
    client.say(HOLDER)
    (state / "journal.jsonl").write_text("{}\n")
    client.say('{"b": 2}')
    assert (state / "journal.jsonl").read_text() == '{}\n{"b": 2}\n'


def test_a_line_that_finds_no_room_does_not_end_the_lock(client: Client, state: Path) -> None:
    client.say(HOLDER)
    (state / "journal.jsonl").symlink_to("/dev/full")
    assert client.say('{"a": 1}') == "full"
    assert client.say("beat") == "beat"
    (state / "journal.jsonl").unlink()
    assert client.say('{"b": 2}') == "written"


def test_a_holder_that_cannot_be_written_down_holds_it_all_the_same(client: Client, state: Path) -> None:
    state.mkdir(parents=True, exist_ok=True)
    (state / "lock.json.new").symlink_to("/dev/full")
    assert client.say(HOLDER) == "held"
    assert client.say("beat") == "beat"


def test_room_is_set_aside_and_given_back(client: Client, state: Path) -> None:
    client.say(HOLDER)
    assert (state / "room").stat().st_size == ROOM
    assert client.say("room") == "room"
    assert not (state / "room").exists()
    assert client.say("room") == "room"


def test_release_ends_it_and_forgets_the_holder(client: Client, state: Path) -> None:
    client.say(HOLDER)
    assert (client.say("release"), client.end()) == ("released", 0)
    assert not (state / "lock.json").exists()


def test_the_second_gets_75_and_the_holder(second: Client) -> None:
    assert (second.hear(), second.end()) == (HOLDER, LOCKED)


def test_the_second_does_not_disturb_the_first(second: Client, client: Client) -> None:
    second.end()
    assert client.say("beat") == "beat"


def test_after_a_release_the_next_gets_it_without_a_word_about_the_last(client: Client, state: Path) -> None:
    client.say(HOLDER)
    client.say("release")
    client.end()
    follower = Client(state)
    try:
        assert follower.say('{"who": "bob"}') == "held"
    finally:
        follower.kill()


def test_a_silent_holder_loses_the_lock_after_its_lease(state: Path) -> None:
    silent = Client(state, lease=1)
    try:
        assert silent.say(HOLDER) == "held"
        assert silent.end() == 1
        assert json.loads((state / "lock.json").read_text()) == {"who": "ada"}
    finally:
        silent.kill()


@pytest.mark.parametrize("how", ["killed", "input closed"])
def test_a_dead_holder_is_announced_to_the_next(client: Client, state: Path, how: str) -> None:
    client.say(HOLDER)
    if how == "killed":
        client.kill()
    else:
        assert client.process.stdin
        client.process.stdin.close()
        client.end()
    follower = Client(state)
    try:
        assert follower.hear() == f"after {HOLDER}"
        assert follower.say('{"who": "bob"}') == "held"
        assert json.loads((state / "lock.json").read_text()) == {"who": "bob"}
    finally:
        follower.kill()


def test_a_holder_whose_output_nobody_reads_any_more_still_writes_the_journal(client: Client, state: Path) -> None:
    client.say(HOLDER)
    assert client.process.stdin and client.process.stdout
    client.process.stdout.close()
    client.process.stdin.write('{"a": 1}\n{"a": 2}\n')
    client.process.stdin.close()
    client.end()
    assert (state / "journal.jsonl").read_text() == '{"a": 1}\n{"a": 2}\n'


def test_nobody_holds_it_on_a_fresh_host(state: Path) -> None:
    done = execute(read_lock(str(state)))
    assert (done.returncode, done.stdout) == (0, "")


def test_who_holds_it_is_said(client: Client, state: Path) -> None:
    client.say(HOLDER)
    assert execute(read_lock(str(state))).stdout == f"held\n{HOLDER}\n"


def test_a_holder_that_has_not_said_its_name_yet_holds_it_too(client: Client, state: Path) -> None:
    for _ in range(100):
        if execute(read_lock(str(state))).stdout == "held\n{}\n":
            return
    pytest.fail("the lock never showed as held")


def test_a_dead_holder_is_called_dead(client: Client, state: Path) -> None:
    client.say(HOLDER)
    client.kill()
    assert execute(read_lock(str(state))).stdout == f"dead\n{HOLDER}\n"


def test_a_lock_that_was_released_is_free(client: Client, state: Path) -> None:
    client.say(HOLDER)
    client.say("release")
    client.end()
    assert execute(read_lock(str(state))).stdout == ""
