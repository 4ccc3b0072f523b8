"""The lock and the journal, with the real script on this machine."""

import getpass
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from unit_support import Events

from flotteq_tasks.commands import keeper as scripts
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import HostUnreachable, Locked
from flotteq_tasks.model.events import Warned
from flotteq_tasks.operations.context import holder
from flotteq_tasks.operations.history import entries
from flotteq_tasks.operations.lock import describe, hold, who_holds

ADA = {"who": "ada", "where": "lap", "what": "deploy v1", "since": "2026-11-23 09:30:00 UTC"}
BOB = {**ADA, "who": "bob"}
IN_WORDS = "ada on lap (deploy v1, since 2026-11-23 09:30:00 UTC)"


@pytest.fixture
def host() -> LocalHost:
    return LocalHost("here")


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_the_lock_is_free_before_and_after(host: LocalHost, state: str) -> None:
    assert who_holds(host, state) == "here is not locked"
    with hold(host, state, ADA, Events().report):
        pass
    assert who_holds(host, state) == "here is not locked"


def test_the_holder_is_told_while_it_is_held(host: LocalHost, state: str) -> None:
    with hold(host, state, ADA, Events().report):
        assert who_holds(host, state) == f"here is locked by {IN_WORDS}"


def test_two_at_once_the_second_is_told_the_first(host: LocalHost, state: str) -> None:
    with hold(host, state, ADA, Events().report):
        with pytest.raises(Locked) as caught, hold(host, state, BOB, Events().report):
            pytest.fail("two hold the lock")
        assert (caught.value.message, int(caught.value.exit_code)) == (f"here is locked by {IN_WORDS}", 75)
        assert who_holds(host, state).startswith("here is locked by ada")


def test_of_many_at_once_one_gets_it(host: LocalHost, state: str) -> None:
    results: list[str] = []
    gate, leave = threading.Barrier(6), threading.Event()

    def run() -> None:
        gate.wait()
        try:
            with hold(host, state, ADA, Events().report):
                results.append("held")
                leave.wait(5)
        except Locked:
            results.append("locked")
            if results.count("locked") == 5:
                leave.set()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held", *["locked"] * 5]


def test_an_error_inside_frees_it(host: LocalHost, state: str) -> None:
    with pytest.raises(ZeroDivisionError), hold(host, state, ADA, Events().report):
        raise ZeroDivisionError
    assert who_holds(host, state) == "here is not locked"


def _crash(host: LocalHost, state: str) -> None:
    """A client that dies while it holds the lock."""
    session = host.open(scripts.keeper(state, lease=45))
    session.send(json.dumps(ADA))
    assert session.receive(timeout=5) == "held"
    session.close()


def test_a_dead_holder_is_announced_and_the_lock_taken_over(host: LocalHost, state: str) -> None:
    _crash(host, state)
    assert who_holds(host, state) == (
        f"here is not locked; {IN_WORDS} was cut off before the end: the next deploy repairs"
    )
    events = Events()
    with hold(host, state, BOB, events.report):
        pass
    assert events.texts(Warned) == [f"took over the lock of {IN_WORDS}, whose client is gone"]


def test_journal_lines_have_time_and_event(host: LocalHost, state: str) -> None:
    with hold(host, state, ADA, Events().report) as keeper:
        keeper.write("begin", step="it's «a»\nb")
    line = json.loads((Path(state) / "journal.jsonl").read_text().splitlines()[-1])
    lines = [json.loads(text) for text in (Path(state) / "journal.jsonl").read_text().splitlines()]
    found = next(one for one in lines if one.get("event") == "begin")
    assert (found["event"], found["step"]) == ("begin", "it's «a»\nb")
    assert line["at"].endswith("+00:00")


def test_the_end_of_a_step_is_written_with_the_beginning_of_the_next(host: LocalHost, state: str) -> None:
    with hold(host, state, ADA, Events().report) as keeper:
        assert keeper.step("files") and keeper.step("switch", ended="files")
    lines = [json.loads(text) for text in (Path(state) / "journal.jsonl").read_text().splitlines()]
    said = [(one["event"], one["step"]) for one in lines if "step" in one]
    assert said == [("begin", "files"), ("end", "files"), ("begin", "switch")]


def test_lines_of_several_threads_do_not_mix(host: LocalHost, state: str) -> None:
    with hold(host, state, ADA, Events().report) as keeper:
        threads = [
            threading.Thread(target=lambda: [keeper.write("x", text="y" * 500) for _ in range(10)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = [json.loads(line)["event"] for line in (Path(state) / "journal.jsonl").read_text().splitlines()]
    assert events.count("x") == 40


def test_a_killed_keeper_is_noticed_at_the_next_line(host: LocalHost, state: str) -> None:
    with pytest.raises(HostUnreachable), hold(host, state, ADA, Events().report) as keeper:
        keeper.write("pid")
        pids = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if state in _read(path)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        keeper.write("after")
    assert who_holds(host, state).startswith("here is not locked")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_it_beats_while_it_is_held(host: LocalHost, state: str) -> None:
    with hold(host, state, ADA, Events().report, lease=1) as keeper:
        threading.Event().wait(1.6)
        keeper.write("still there")


def test_an_answer_that_makes_no_sense_is_a_lost_lock() -> None:
    fake = FakeHost({"*": ["held", "nonsense"]})
    with pytest.raises(HostUnreachable, match=r"^the lock on the host is lost \(answer: 'nonsense'\)"), hold(
        fake, "/s", ADA, Events().report
    ) as keeper:  # fmt: skip
        keeper.write("begin")


def test_a_keeper_that_does_not_start_is_said() -> None:
    fake = FakeHost({"true": "", "*": 127})
    with pytest.raises(HostUnreachable, match=r"^fake: the lock could not be taken \(exit code 127, "), hold(
        fake, "/s", ADA, Events().report
    ):  # fmt: skip
        pytest.fail("held")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (ADA, IN_WORDS),
        ({}, "somebody on another machine (an operation, since an unknown time)"),
    ],
)
def test_a_holder_in_words(told: dict[str, str], text: str) -> None:
    assert describe(told) == text


@pytest.mark.parametrize(
    ("variables", "who", "where"),
    [
        ({"GITHUB_ACTOR": "ada", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7"}, "ada", "o/r run 7"),
        ({"GITLAB_USER_LOGIN": "bob"}, "bob", None),
    ],
)
def test_who_holds_it_in_ci(variables: dict[str, str], who: str, where: str | None) -> None:
    told = holder("deploy v1", variables)
    assert (told["who"], told["what"]) == (who, "deploy v1")
    assert where is None or told["where"] == where


@pytest.mark.parametrize("left", ['{"who": "a', "\0\0\0\0", "null\n"])
def test_half_of_a_holders_name_keeps_nobody_from_the_lock(host: LocalHost, state: str, left: str) -> None:
    Path(state).mkdir()
    Path(state, "lock").touch()
    Path(state, "lock.json").write_text(left)
    assert who_holds(host, state) == "here is not locked"
    events = Events()
    with hold(host, state, ADA, events.report):
        pass
    assert events.texts(Warned) == [
        "took over the lock of somebody on another machine (an operation, since an unknown time), whose client is gone"
    ]


def test_the_first_line_behind_half_of_one_is_read(host: LocalHost, state: str) -> None:
    Path(state).mkdir()
    Path(state, "journal.jsonl").write_text('{"at": "2026-11-2')
    with hold(host, state, ADA, Events().report):
        pass
    assert [(one.who, one.result) for one in entries(Path(state, "journal.jsonl").read_text())] == [("ada", "done")]


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 1001"), OSError("no username set")])
def test_whoever_has_no_name_is_a_number(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def nameless() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert holder("deploy v1", {})["who"] == f"user {os.getuid()}"
