"""LocalHost: limits, streams, files."""

import io
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from flotteq_tasks.commands.shell import Command, Raw
from flotteq_tasks.host.base import File
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import AccessDenied, CommandFailed, CommandTimedOut, HostUnreachable

NASTY = ["a b;$(id)", "new\nline", "ümläut ✓", 'it\'s "quoted"', "*", "", "-n", "back\\slash", "`id`"]


@pytest.fixture
def host(tmp_path: Path) -> LocalHost:
    return LocalHost(cwd=tmp_path)


@pytest.mark.parametrize("extra", [(), (Raw(";"), "true")], ids=["without a shell", "with a shell"])
def test_words_arrive_as_they_are(host: LocalHost, extra: tuple[Raw | str, ...]) -> None:
    done = host.run(Command("printf", "%s\\0", *NASTY, *extra))
    assert done.out.split("\0")[:-1] == NASTY


def test_streams_are_kept_apart_and_input_is_closed(host: LocalHost) -> None:
    done = host.run(Command("cat", Raw("; echo oops >&2")), stdin=b"hello")
    assert (done.out, done.err) == ("hello", "oops\n")
    assert host.run(Command("cat"), timeout=5).out == ""


def test_failure_names_command_and_shows_the_last_lines(host: LocalHost) -> None:
    command = Command(Raw("echo because >&2; exit 3"))
    with pytest.raises(CommandFailed) as caught:
        host.run(command)
    assert caught.value.code == 3
    assert caught.value.message.endswith(": exit code 3: because")
    assert caught.value.details == "$ echo because >&2; exit 3\nbecause"
    assert host.run(command, check=False).code == 3


def test_a_missing_program_is_127(host: LocalHost) -> None:
    with pytest.raises(CommandFailed) as caught:
        host.run(Command("no-such-program"))
    assert caught.value.code == 127
    assert "no-such-program" in caught.value.details


def test_a_killed_command_has_the_code_of_a_shell(host: LocalHost) -> None:
    assert host.run(Command("sh", "-c", "kill -9 $$"), check=False).code == 137


def test_the_limit_kills_the_whole_group(host: LocalHost, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(CommandTimedOut, match=r"did not end within 0.5 s"):
        host.run(Command(Raw("sleep 60 & echo $! >child; echo begun >&2; wait")), timeout=0.5)
    assert time.monotonic() - started < 4
    _gone(int((tmp_path / "child").read_text()))


def test_idle_streams_are_ended_and_busy_ones_are_not(host: LocalHost) -> None:
    busy = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done"
    sink = io.BytesIO()
    host.stream(Command("sh", "-c", busy), sink=sink, idle=0.7)
    assert sink.getvalue() == b"1\n2\n3\n4\n5\n"
    with pytest.raises(CommandTimedOut, match=r"not a byte for 0.3 s"):
        host.stream(Command("sleep", "60"), idle=0.3)


def test_stream_checks_the_code_and_bounds_the_errors(host: LocalHost) -> None:
    with pytest.raises(CommandFailed) as caught:
        host.stream(Command(Raw("yes error | head -c 3000000 >&2; exit 4")))
    assert caught.value.code == 4
    done = host.stream(Command(Raw("yes error | head -c 3000000 >&2")))
    assert 0 < len(done.err) <= 1 << 16


def test_both_directions_at_once(host: LocalHost) -> None:
    data = os.urandom(30_000_000)
    sink = io.BytesIO()
    host.stream(Command("cat"), sink=sink, source=io.BytesIO(data))
    assert sink.getvalue() == data


def test_a_failing_source_does_not_look_like_its_end(host: LocalHost, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 0:
                return super().read(3)
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        host.stream(Command(Raw("cat >/dev/null; touch complete")), source=Broken(b"abcdef"))
    assert not (tmp_path / "complete").exists()


def test_follow_merges_streams_and_tolerates_broken_text(host: LocalHost) -> None:
    lines: list[str] = []
    script = "echo one; echo two >&2; printf 'thr\\377ee\\r\\n'; printf end; exit 5"
    done = host.follow(Command("sh", "-c", script), lines.append, timeout=5)
    assert lines == ["one", "two", "thr\ufffdee", "end"]
    assert done.code == 5


def test_follow_hands_lines_over_as_they_come(host: LocalHost, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    # The command waits for the callback: a host that collects first would never end.
    done = host.follow(
        Command(Raw("echo first; cat go; echo last")), lambda line: _open_once(tmp_path / "go", line), timeout=5
    )
    assert done.out.splitlines() == ["first", "last"]


def _open_once(fifo: Path, line: str) -> None:
    if line == "first":
        fifo.write_bytes(b"")


def test_conversation(host: LocalHost) -> None:
    session = host.open(Command(Raw('echo ready; while read -r line; do echo "got $line"; done; exit 6')))
    assert session.receive(timeout=5) == "ready"
    session.send("a b")
    assert session.receive(timeout=5) == "got a b"
    with pytest.raises(HostUnreachable, match=r"no answer within 0\.1 s"):
        session.receive(timeout=0.1)
    assert session.close() == 6
    assert session.receive(timeout=5) is None
    ended = host.open(Command("true"))
    assert ended.receive(timeout=5) is None
    with pytest.raises(HostUnreachable, match="takes no more input"):
        for _ in range(100):
            ended.send("x" * 10_000)


def test_interact_returns_the_code(host: LocalHost) -> None:
    assert host.interact(Command("sh", "-c", "exit 7")) == 7


def test_files(host: LocalHost, tmp_path: Path) -> None:
    assert host.read("a/secret") is None
    host.write("a/secret", File(b"first", mode=0o600, group="0"))
    host.write("a/secret", File(b"second", mode=0o640, group="daemon" if os.geteuid() == 0 else None))
    assert host.read("a/secret") == b"second"
    assert stat.S_IMODE((tmp_path / "a/secret").stat().st_mode) == 0o640
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["secret"]
    assert host.read("a/secret/below") is None


def test_a_directory_is_never_replaced(host: LocalHost, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(CommandFailed):
        host.write("data", File(b""))
    with pytest.raises(CommandFailed, match="is a directory"):
        host.write_tree(".", {"before": File(b""), "data": File(b"")})
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_trees(host: LocalHost, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/other").write_text("stays")
    host.write_tree("root", {"x/y/z": File(b"1", mode=0o600), "top": File(b"2")})
    assert (tmp_path / "root/x/y/z").read_bytes() == b"1"
    assert (tmp_path / "root/other").read_text() == "stays"
    for bad in ("/abs", "../up", "a//b", "", "a/./b", "tab\tbed"):
        with pytest.raises(ValueError, match="not a plain relative path"):
            host.write_tree("root", {bad: File(b"")})


def test_no_permission_is_not_absence(host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AccessDenied):
        host.read("anything")


def test_environment_and_directory(tmp_path: Path) -> None:
    host = LocalHost(cwd=tmp_path, env={"COLOUR": "blue sky"})
    assert host.run(Command(Raw('echo "$COLOUR $LC_ALL $PWD"'))).out == f"blue sky C {tmp_path}\n"


def test_many_at_once(host: LocalHost) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(host.run(Command("echo", str(number))).out))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, found)) == list(range(20))


def _gone(pid: int) -> None:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} is still there")
