"""The scripts that wait for containers, run here; docker is a program that answers from a table."""

from pathlib import Path

import pytest
from unit_support import Docker

from flotteq_tasks.commands import waiting
from flotteq_tasks.commands.shell import Command


def _states(*lines: str) -> str:
    """Answers of docker inspect, one a call; the last stays."""
    answers = "\n".join(f"  {number}) printf '%s\\n' {line!r} ;;" for number, line in enumerate(lines, start=1))
    last = f"  *) printf '%s\\n' {lines[-1]!r} ;;"
    return f"case $(ls {{folder}} | grep -c call[.]) in\n{answers}\n{last}\nesac"


@pytest.mark.parametrize(
    ("states", "code", "said"),
    [
        (["i running healthy 0 0 false"], 0, ""),
        (["i running - 0 0 false"], 0, ""),
        (["i running starting 0 0 false", "i running healthy 0 0 false"], 0, ""),
        (["i created - 0 0 false", "i running healthy 0 0 false"], 0, ""),
        (["i exited starting 0 1 false"], 3, "i exited starting 0 1 false\n"),
        (["i exited - 0 137 true"], 3, "i exited - 0 137 true\n"),
        (["i running starting 1 0 false"], 3, "i running starting 1 0 false\n"),
        (["i running unhealthy 0 0 false"], 3, "i running unhealthy 0 0 false\n"),
        (["i running starting 0 0 false", "i exited - 0 2 false"], 3, "i exited - 0 2 false\n"),
    ],
    ids=["healthy", "no check", "starts", "created", "exited", "killed", "restarted", "unhealthy", "ends later"],
)  # fmt: skip
def test_waiting_ends_when_all_are_healthy_or_one_never_will_be(
    docker: Docker, states: list[str], code: int, said: str
) -> None:
    answer = _states(*states).replace("{folder}", str(docker.folder))
    found, out = docker.run(waiting.wait_healthy(["i"], limit=60), answer)
    assert (found, out if found else "") == (code, said)


def _now() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def test_a_wait_that_settles_counts_from_the_wait_before_it(docker: Docker) -> None:
    states = _states("i running healthy 0 0 false").replace("{folder}", str(docker.folder))
    before = _now()
    since = waiting.healthy_since(docker.run(waiting.wait_healthy(["i"], limit=60), states)[1])
    assert before - 0.02 <= int(since) / 100 <= _now() + 0.02
    long_ago = str(int(since) - 6000)
    assert docker.run(waiting.wait_healthy(["i"], limit=60, settle=60, since=long_ago), states) == (
        0, f"healthy since {long_ago}\n",
    )  # fmt: skip


def test_one_that_is_not_healthy_any_more_settles_anew(docker: Docker) -> None:
    states = _states("i running starting 0 0 false", "i running healthy 0 0 false").replace(
        "{folder}", str(docker.folder)
    )
    before = _now()
    _, out = docker.run(waiting.wait_healthy(["i"], limit=60, settle=1, since="1"), states)
    assert int(waiting.healthy_since(out)) / 100 + 0.01 >= before


def test_a_container_that_dies_while_it_should_settle_is_named(docker: Docker) -> None:
    states = _states("i running healthy 0 0 false", "i exited - 0 137 true").replace("{folder}", str(docker.folder))
    assert docker.run(waiting.wait_healthy(["i"], limit=60, settle=60), states) == (3, "i exited - 0 137 true\n")


def test_the_first_that_failed_is_named_though_others_still_start(docker: Docker) -> None:
    answer = "echo 'a running starting 0 0 false'; echo 'b exited - 0 1 false'; echo 'c running healthy 0 0 false'"
    assert docker.run(waiting.wait_healthy("abc", limit=60), answer) == (3, "b exited - 0 1 false\n")


def test_at_the_limit_the_one_that_still_starts_is_named(docker: Docker) -> None:
    answer = "echo 'a running healthy 0 0 false'; echo 'b running starting 0 0 false'"
    assert docker.run(waiting.wait_healthy("ab", limit=0), answer) == (4, "b running starting 0 0 false\n")


def test_containers_that_vanished_end_the_wait(docker: Docker) -> None:
    assert docker.run(waiting.wait_healthy(["i"], limit=60), "echo 'no such object' >&2; exit 1") == (3, "")


def test_new_containers_are_waited_for_and_those_from_before_are_not(docker: Docker) -> None:
    answer = """case $1 in
      ps) printf '%s\\n' 'old core' 'new core' 'other web' 'foreign scores' 'none ' ;;
      *) shift 3; for id; do echo "$id running healthy 0 0 false"; done ;;
    esac"""
    code, said = docker.run(waiting.wait_new("p", ["core", "web"], ["old"], limit=9), answer)
    assert code == 0 and waiting.healthy_since(said).isdigit()
    assert docker.calls[-1].endswith(" new other")


def test_where_nothing_is_new_nothing_is_waited_for(docker: Docker) -> None:
    assert docker.run(waiting.wait_new("p", ["core"], ["old"], limit=9), "echo old core") == (0, "")
    assert len(docker.calls) == 1
    assert waiting.healthy_since("") == ""


GIB = 1 << 30
GROUPS = {1: ("4:memory", "cgroup/memory", "total_rss"), 2: ("0:", "cgroup", "anon")}


def _seen(folder: Path, command: Command, used: list[int], *, version: int = 2) -> Command:
    """The command where the kernel tells this memory of the processes 0, 1 and so on."""
    group, place, name = GROUPS[version]
    for pid, size in enumerate(used):
        process, stat = folder / f"proc/{pid}", folder / f"{place}/docker/{pid}"
        process.mkdir(parents=True)
        stat.mkdir(parents=True)
        (process / "cgroup").write_text(f"9:cpu:/elsewhere\n{group}:/docker/{pid}\n")
        (stat / "memory.stat").write_text(f"cache 999999999\n{name} {size}\n")
    shell, option, text, *words = command.argv()
    text = text.replace("/sys/fs/cgroup", f"{folder}/cgroup").replace("/proc/$pid", f"{folder}/proc/$pid")
    return Command(shell, option, text, *words)


def _running(docker: Docker, used: list[int], *, most: int = GIB, end: str = "") -> str:
    """Docker's answers: a process after the other, the last stays or ends."""
    lines = [f"i running healthy 0 0 false {pid} {most}" for pid, _ in enumerate(used)]
    return _states(*lines, *([end] if end else [])).replace("{folder}", str(docker.folder))


RISING = [number << 20 for number in range(800, 1600, 16)]
SETTLE = waiting.wait_healthy(["i"], limit=60, settle=1)


@pytest.mark.parametrize("version", GROUPS)
def test_memory_at_rest_ends_the_wait_once_the_time_has_passed(docker: Docker, tmp_path: Path, version: int) -> None:
    used = [100 << 20, 101 << 20]
    before = _now()
    code, said = docker.run(_seen(tmp_path, SETTLE, used, version=version), _running(docker, used))
    assert (code, before + 1 <= _now() < before + 2.5) == (0, True)
    assert waiting.healthy_since(said).isdigit()


@pytest.mark.parametrize("version", GROUPS)
def test_one_whose_memory_grows_is_waited_for_until_it_dies(docker: Docker, tmp_path: Path, version: int) -> None:
    died = "i exited - 0 137 true 0 0"
    command = _seen(tmp_path, SETTLE, RISING, version=version)
    assert docker.run(command, _running(docker, RISING, end=died)) == (3, f"{died}\n")


def test_one_whose_memory_grows_until_the_limit_of_time_is_named(docker: Docker, tmp_path: Path) -> None:
    command = _seen(tmp_path, waiting.wait_healthy(["i"], limit=0, settle=1), RISING)
    code, said = docker.run(command, _running(docker, RISING))
    assert (code, said.split()[:3]) == (waiting.GROWING, ["i", "running", "healthy"])


def _timed(*phases: tuple[float, str]) -> str:
    """Docker's answers until so many seconds from now; the last stays."""
    now = _now()
    tests = "".join(f"[ $t -ge {int((now + end) * 100)} ] || {{ echo '{line}'; exit; }}\n" for end, line in phases)
    return f"t=$(sed 's/ .*//; s/[.]//' /proc/uptime)\n{tests}echo '{DIED}'"


DIED = "i exited - 0 137 true 0 0"


def test_one_that_stands_still_near_its_limit_is_not_at_rest(docker: Docker, tmp_path: Path) -> None:
    answer = _timed((3, f"i running healthy 0 0 false 0 {GIB}"))
    assert docker.run(_seen(tmp_path, SETTLE, [950 << 20]), answer) == (3, f"{DIED}\n")


def test_one_that_ends_between_two_looks_is_not_at_rest(docker: Docker, tmp_path: Path) -> None:
    """Docker still calls it running and healthy when the kernel does not know its process any more."""
    answer = _timed((0.5, f"i running healthy 0 0 false 0 {GIB}"), (3, f"i running healthy 0 0 false 1 {GIB}"))
    assert docker.run(_seen(tmp_path, SETTLE, [100 << 20]), answer) == (3, f"{DIED}\n")


def test_growth_that_stays_far_from_the_limit_is_none(docker: Docker, tmp_path: Path) -> None:
    command = _seen(tmp_path, SETTLE, RISING)
    assert docker.run(command, _running(docker, RISING, most=1000 * GIB))[0] == 0


def test_without_a_limit_nothing_can_be_exceeded(docker: Docker, tmp_path: Path) -> None:
    assert docker.run(_seen(tmp_path, SETTLE, RISING), _running(docker, RISING, most=0))[0] == 0


def test_where_the_kernel_does_not_tell_three_seconds_must_pass(docker: Docker, tmp_path: Path) -> None:
    before = _now()
    assert docker.run(_seen(tmp_path, SETTLE, []), _running(docker, [0]))[0] == 0
    assert _now() - before >= 3
