"""Commands and files over SSH: quoting, streams, limits, speed."""

import fcntl
import hashlib
import io
import os
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loopback_sshd import Server, client_process, is_gone, read_pid, wait_until

from flotteq_tasks.commands.shell import Command, Raw
from flotteq_tasks.host.ssh import _KILL, SshHost, _marked, _token
from flotteq_tasks.host.target import Target
from flotteq_tasks.model.errors import CommandFailed, CommandTimedOut, HostUnreachable

NASTY = ["a b;$(id)", "new\nline", "ümläut ✓", 'it\'s "quoted"', "*", "", "-n", "back\\slash", "`id`", "!x", "~"]
DUMP = int(0.9985 * 2**29)


class Noise(io.RawIOBase):
    """Random bytes, hashed on their way out."""

    def __init__(self, size: int) -> None:
        self._block = os.urandom(1 << 20)
        self._left = size
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        offset = self._left % (1 << 19)
        data = self._block[offset : offset + min(size, self._left)]
        self._left -= len(data)
        self.hash.update(data)
        return data


class Hash(io.RawIOBase):
    """Hashes what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.hash.update(data)
        return len(data)


def test_words_arrive_as_they_are(host: SshHost) -> None:
    assert host.run(Command("printf", "%s\\0", *NASTY)).out.split("\0")[:-1] == NASTY


def test_codes_streams_and_environment(host: SshHost) -> None:
    done = host.run(Command(Raw('echo "$LC_ALL"; echo oops >&2; exit 3')), check=False)
    assert (done.code, done.out, done.err) == (3, "C\n", "oops\n")
    with pytest.raises(CommandFailed) as caught:
        host.run(Command("no-such-program"))
    assert caught.value.code == 127
    assert "/usr/local/sbin" in host.run(Command(Raw('echo "$PATH"'))).out


def test_death_by_signal_is_128_and_its_number(host: SshHost) -> None:
    assert host.run(Command(Raw("kill -9 $$")), check=False).code == 137
    assert host.run(Command(Raw("kill -15 $$")), check=False).code == 143


def test_input_is_closed(host: SshHost) -> None:
    assert host.run(Command("cat"), timeout=5).out == ""
    data = os.urandom(100_000).hex().encode()
    assert host.run(Command("cat"), stdin=data).out.encode() == data
    # Who does not read its input is not a failure.
    assert host.run(Command("true"), stdin=b"x" * 5_000_000).ok


def test_one_connection_for_many_commands(host: SshHost) -> None:
    with ThreadPoolExecutor(12) as pool:
        outs = list(pool.map(lambda number: host.run(Command("echo", str(number))).out, range(24)))
    assert outs == [f"{number}\n" for number in range(24)]
    assert (host.connections, host.channels) == (1, 24)


def test_six_at_once_and_the_rest_waits(host: SshHost, tmp_path: Path) -> None:
    # Each says that it is there and waits; were a seventh let in, its start would be counted.
    wait = Command(Raw(f"echo x >>{tmp_path}/there; until [ -e {tmp_path}/go ]; do sleep 0.05; done"))
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(host.run, wait, timeout=20) for _ in range(8)]
        wait_until(lambda: (tmp_path / "there").exists() and (tmp_path / "there").read_text().count("x") == 6)
        with pytest.raises(CommandTimedOut, match="6 commands run"):
            host.run(Command("true"), timeout=0.3)
        assert host.channels == 6
        (tmp_path / "go").touch()
    assert [job.result().code for job in jobs] == [0] * 8


def test_fewer_sessions_than_six_are_waited_for(
    start_server: Callable[..., Server], connect: Callable[..., SshHost]
) -> None:
    server = start_server("MaxSessions 2")
    host = connect(port=server.port, known_hosts=server.known_hosts)
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda _: host.run(Command("sleep", "0.2")).code, range(6)))
    assert codes == [0] * 6


def test_the_limit_kills_on_the_host(host: SshHost, tmp_path: Path) -> None:
    with pytest.raises(CommandTimedOut, match=r"did not end within 0\.5 s") as caught:
        host.run(Command(Raw(f"sleep 60 & echo $! >{tmp_path}/pid; echo begun >&2; wait")), timeout=0.5)
    assert caught.value.details == "begun"
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_own_124_is_a_failure_and_no_time_out(host: SshHost) -> None:
    assert host.run(Command(Raw("exit 124")), check=False).code == 124


def test_the_limit_holds_when_the_client_is_gone(target: Callable[..., Target], tmp_path: Path) -> None:
    client = client_process(target(), f"host.run(Command(Raw('echo $$ >{tmp_path}/pid; exec sleep 60')), timeout=2)")
    wait_until(lambda: read_pid(tmp_path), 20)
    client.kill()
    client.wait()
    assert not is_gone(read_pid(tmp_path))
    wait_until(lambda: is_gone(read_pid(tmp_path)), 6)


def test_ctrl_c_comes_at_once_and_ends_the_command(host: SshHost, tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_until(lambda: read_pid(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    # A shell starts what runs behind it deaf to SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            host.run(Command(Raw(f"echo $$ >{tmp_path}/pid; exec sleep 60")))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 3
    wait_until(lambda: is_gone(read_pid(tmp_path)))
    assert host.run(Command("true")).ok


def test_a_command_whose_end_was_said_before_it_began_does_not_go_on() -> None:
    """Behind sshd and sudo, on a busy host."""
    token = _token()
    subprocess.run(["sh", "-c", _KILL, "kill", token[:8], token[8:]], check=True, timeout=10)
    text = _marked(Command("echo", "begun"), token)
    late = subprocess.run(["sh", "-c", text], capture_output=True, timeout=10, check=False)
    assert (late.returncode, late.stdout) == (143, b"")
    assert not Path("/tmp", token).exists()


def test_the_end_of_a_command_that_runs_leaves_no_mark() -> None:
    token = _token()
    runs = subprocess.Popen(["sh", "-c", _marked(Command(Raw("echo begun; sleep 60")), token)], stdout=subprocess.PIPE)
    assert runs.stdout and runs.stdout.readline() == b"begun\n"
    subprocess.run(["sh", "-c", _KILL, "kill", token[:8], token[8:]], check=True, timeout=10)
    assert runs.wait(10) != 0
    assert not Path("/tmp", token).exists()


def test_silent_streams_are_ended(host: SshHost, tmp_path: Path) -> None:
    with pytest.raises(CommandTimedOut, match=r"not a byte for 0\.5 s"):
        host.stream(Command(Raw(f"echo $$ >{tmp_path}/pid; exec sleep 60")), idle=0.5)
    wait_until(lambda: is_gone(read_pid(tmp_path)))


def test_stream_fails_like_run(host: SshHost) -> None:
    with pytest.raises(CommandFailed) as caught:
        host.stream(Command(Raw("yes error | head -c 20000000 >&2; echo last >&2; exit 4")))
    assert caught.value.code == 4
    assert caught.value.details.endswith("last")


def test_a_dump_of_half_a_gigabyte_there_and_back(
    start_server: Callable[..., Server], connect: Callable[..., SshHost], tmp_path: Path
) -> None:
    server = start_server("LogLevel DEBUG1")
    host = connect(port=server.port, known_hosts=server.known_hosts)
    source, sink = Noise(DUMP), Hash()
    host.stream(Command("cp", "/dev/stdin", str(tmp_path / "dump")), source=source)  # type: ignore[arg-type]
    assert (tmp_path / "dump").stat().st_size == DUMP
    done = host.stream(Command("cat", str(tmp_path / "dump")), sink=sink)  # type: ignore[arg-type]
    assert sink.hash.hexdigest() == source.hash.hexdigest()
    assert done.out == ""
    assert host.connections == 1
    # paramiko's own rekeying at 2^29 bytes is what kills transfers of this size now and then (paramiko #822).
    assert (server.directory / "log").read_text().count("SSH2_MSG_KEXINIT received") == 1


def test_hundred_megabytes_of_text_in_three_seconds(host: SshHost) -> None:
    host.run(Command("true"))
    command = Command(Raw("yes 'a line of some length, as docker prints them' | head -c 100000000"))

    def seconds() -> float:
        started = time.monotonic()
        assert len(host.run(command).out) == 100_000_000
        return time.monotonic() - started

    # Up to three tries: the machine may be busy with something else.
    assert any(seconds() < 3 for _ in range(3))


def test_follow(host: SshHost, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "two":
            (tmp_path / "go").write_bytes(b"")

    script = f"echo one; echo two >&2; cat {tmp_path}/go; printf 'thr\\377ee\\r\\nend'; exit 5"
    done = host.follow(Command("sh", "-c", script), on_line, timeout=10)
    assert lines == ["one", "two", "thr\ufffdee", "end"]
    assert (done.code, done.out) == (5, "one\ntwo\nthr\ufffdee\nend")


def test_conversation(host: SshHost, tmp_path: Path) -> None:
    session = host.open(Command(Raw('echo ready; while read -r line; do echo "got $line"; done; exit 6')))
    assert session.receive(timeout=5) == "ready"
    session.send("a b")
    assert session.receive(timeout=5) == "got a b"
    with pytest.raises(HostUnreachable, match=r"no answer within 0\.2 s"):
        session.receive(timeout=0.2)
    assert session.close() == 6
    assert session.receive(timeout=5) is None
    kept = [session]
    for _ in range(7):
        kept.append(host.open(Command("true")))
        assert kept[-1].close() == 0


def test_a_conversation_ends_with_itsclient_process(target: Callable[..., Target], tmp_path: Path) -> None:
    script = f"echo $$ >{tmp_path}/pid; exec cat"
    client = client_process(target(), f"s = host.open(Command(Raw('{script}'))); s.receive(timeout=60)")
    wait_until(lambda: read_pid(tmp_path), 20)
    client.kill()
    client.wait()
    wait_until(lambda: is_gone(read_pid(tmp_path)))


def test_interact_without_a_terminal(target: Callable[..., Target]) -> None:
    code = "import sys; sys.exit(host.interact(Command(Raw('cat; echo oops >&2; exit 9'))))"
    client = client_process(target(), code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = client.communicate(b"\x00binary\xff" * 50_000)
    assert (client.returncode, out, err) == (9, b"\x00binary\xff" * 50_000, b"oops\n")


def test_interact_with_a_terminal(target: Callable[..., Target]) -> None:
    master, slave = os.openpty()
    _resize(master, 33, 101)
    wait = "trap 'stty size; exit 9' WINCH; echo set; while :; do sleep 0.1; done"
    script = f"stty size; read -r word; echo got=$word; {wait}"
    code = f"import sys; sys.exit(host.interact(Command('sh', '-c', {script!r})))"
    client = client_process(target(), code, preexec_fn=lambda: os.login_tty(slave))
    os.close(slave)
    shown = _read_until(master, b"33 101")
    os.write(master, b"hello\r")
    shown += _read_until(master, b"set\r\n")
    _resize(master, 44, 77)
    shown += _read_until(master, b"44 77")
    assert client.wait(10) == 9
    assert b"got=hello\r\n" in shown
    os.close(master)


def _resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _read_until(terminal: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        if not select.select([terminal], [], [], 20)[0]:
            pytest.fail(f"{wanted!r} did not come, but {shown!r}")
        shown += os.read(terminal, 1024)
    return shown
