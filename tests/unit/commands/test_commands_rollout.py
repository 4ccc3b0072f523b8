"""The scripts of a rollout, run here: files for real, docker by a program that answers from a table."""

import json
import os
import threading
from pathlib import Path

import pytest
from unit_support import execute, fake_program

from flotteq_tasks.commands import rollout
from flotteq_tasks.commands.shell import Command

REFERENCE = "r.example/team/core:v1"
PINNED = f"{REFERENCE}@sha256:ab"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (rollout.fetch(["a:1", "b:2"], limit=60), [rollout.IMAGE_FORMAT, "60", "a:1", "b:2"]),
        (rollout.activate("/s", "/d"), ["/s", "/d"]),
        (rollout.wait_healthy(["i", "j"], limit=9, settle=3), ["9", "3", "", "i", "j"]),
        (rollout.diagnose("i", lines=50), ["50", "i"]),
        (rollout.probe("p", "edge", ["http://a/"]), ["p", "edge", "http://a/"]),
        (rollout.retire(["i"], grace=30), ["30", "i"]),
        (rollout.keep_edge("/d"), ["/d"]),
    ],
)
def test_values_travel_as_arguments_and_never_in_the_script(command: Command, arguments: list[str]) -> None:
    words = command.argv()
    assert (words[:2], words[3:]) == (["sh", "-c"], ["flotteq", *arguments])


class Docker:
    """A program called docker. ``answer`` is shell code that sees docker's arguments; calls are written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"

    def run(self, command: Command, answer: str) -> tuple[int, str]:
        body = f'n=$(mktemp {self.folder}/call.XXXXXX); echo "$*" >> {self.log}\n{answer}'
        fake_program(self.folder / "bin", "docker", body)
        done = execute(command, path=self.folder / "bin")
        return done.returncode, done.stdout

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    # The scripts pause between tries: not here.
    fake_program(tmp_path / "bin", "sleep", "exit 0")
    return Docker(tmp_path)


IMAGE = 'case "$*" in "pull "*) exit 0 ;; "image inspect --format "*) shift 4; for _; do echo "{}"; done ;; esac'


def test_images_are_pulled_and_described(docker: Docker) -> None:
    assert docker.run(rollout.fetch([REFERENCE, "b:2"], limit=9), IMAGE) == (
        0,
        f"image {REFERENCE} {{}}\nimage b:2 {{}}\n",
    )
    assert sorted(call for call in docker.calls if call.startswith("pull")) == [
        "pull b:2", f"pull {REFERENCE}",
    ]  # fmt: skip


def test_layers_that_were_fetched_are_named_and_the_manifest_tells_their_sizes(docker: Docker) -> None:
    answer = """case "$*" in
      "pull "*) printf '%s: Already exists\\n%s: Pull complete\\n' bbbbbbbbbbbb aaaaaaaaaaaa ;;
      "manifest inspect "*) printf '{"layers":\\n[]}\\n' ;;
      "image inspect --format "*) echo '{}' ;;
    esac"""
    code, out = docker.run(rollout.fetch(["b:2"], limit=9), answer)
    assert (code, out) == (0, 'layers b:2 aaaaaaaaaaaa {"layers":[]}\nimage b:2 {}\n')


def test_a_pinned_image_that_is_there_is_not_asked_for_again(docker: Docker) -> None:
    assert docker.run(rollout.fetch([PINNED], limit=9), IMAGE) == (0, f"image {PINNED} {{}}\n")
    assert not [call for call in docker.calls if call.startswith("pull")]


def test_a_pinned_image_that_is_missing_is_pulled(docker: Docker) -> None:
    answer = f'case "$*" in "image inspect {PINNED}") exit 1 ;; "pull "*) ;; *) echo "{{}}" ;; esac'
    assert docker.run(rollout.fetch([PINNED], limit=9), answer) == (0, f"image {PINNED} {{}}\n")
    assert f"pull {PINNED}" in docker.calls


def test_an_image_by_tag_is_asked_for_even_when_it_is_there(docker: Docker) -> None:
    docker.run(rollout.fetch([REFERENCE], limit=9), IMAGE)
    assert f"pull {REFERENCE}" in docker.calls


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        ("Error response from daemon: manifest for x not found: manifest unknown", 1),
        ("pull access denied for x", 1),
        ("unauthorized: authentication required", 1),
        ("dial tcp: lookup r.example: no such host", 1),
        ("unexpected EOF", 3),
        ("connection reset by peer", 3),
    ],
)
def test_a_broken_transfer_is_tried_three_times_an_answer_once(docker: Docker, said: str, tries: int) -> None:
    command = rollout.fetch([REFERENCE], limit=9)
    assert docker.run(command, f"echo first line >&2; echo '{said}' >&2; exit 1") == (0, f"failed {REFERENCE} {said}\n")
    assert len([call for call in docker.calls if call.startswith("pull")]) == tries


def test_one_that_fails_does_not_hide_the_others(docker: Docker) -> None:
    answer = f'case "$*" in "pull b:2") echo denied; exit 1 ;; esac\n{IMAGE}'
    code, out = docker.run(rollout.fetch(["a:1", "b:2", "c:3"], limit=9), answer)
    assert (code, out) == (0, "failed b:2 denied\nimage a:1 {}\nimage c:3 {}\n")


def test_a_pull_that_hangs_is_ended(docker: Docker) -> None:
    code, out = docker.run(
        rollout.fetch(["a:1"], limit=1), '[ "$1" = pull ] || exit 1; echo "denied so far"; exec /bin/sleep 30'
    )
    assert (code, out) == (0, "failed a:1 denied so far\n")


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
    found, out = docker.run(rollout.wait_healthy(["i"], limit=60), answer)
    assert (found, out if found else "") == (code, said)


def _now() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def test_a_wait_that_settles_counts_from_the_wait_before_it(docker: Docker) -> None:
    states = _states("i running healthy 0 0 false").replace("{folder}", str(docker.folder))
    before = _now()
    since = rollout.healthy_since(docker.run(rollout.wait_healthy(["i"], limit=60), states)[1])
    assert before - 0.02 <= int(since) / 100 <= _now() + 0.02
    long_ago = str(int(since) - 6000)
    assert docker.run(rollout.wait_healthy(["i"], limit=60, settle=60, since=long_ago), states) == (
        0, f"healthy since {long_ago}\n",
    )  # fmt: skip


def test_one_that_is_not_healthy_any_more_settles_anew(docker: Docker) -> None:
    states = _states("i running starting 0 0 false", "i running healthy 0 0 false").replace(
        "{folder}", str(docker.folder)
    )
    before = _now()
    _, out = docker.run(rollout.wait_healthy(["i"], limit=60, settle=1, since="1"), states)
    assert int(rollout.healthy_since(out)) / 100 + 0.01 >= before


def test_a_container_that_dies_while_it_should_settle_is_named(docker: Docker) -> None:
    states = _states("i running healthy 0 0 false", "i exited - 0 137 true").replace("{folder}", str(docker.folder))
    assert docker.run(rollout.wait_healthy(["i"], limit=60, settle=60), states) == (3, "i exited - 0 137 true\n")


def test_the_first_that_failed_is_named_though_others_still_start(docker: Docker) -> None:
    answer = "echo 'a running starting 0 0 false'; echo 'b exited - 0 1 false'; echo 'c running healthy 0 0 false'"
    assert docker.run(rollout.wait_healthy("abc", limit=60), answer) == (3, "b exited - 0 1 false\n")


def test_at_the_limit_the_one_that_still_starts_is_named(docker: Docker) -> None:
    answer = "echo 'a running healthy 0 0 false'; echo 'b running starting 0 0 false'"
    assert docker.run(rollout.wait_healthy("ab", limit=0), answer) == (4, "b running starting 0 0 false\n")


def test_containers_that_vanished_end_the_wait(docker: Docker) -> None:
    assert docker.run(rollout.wait_healthy(["i"], limit=60), "echo 'no such object' >&2; exit 1") == (3, "")


def test_new_containers_are_waited_for_and_those_from_before_are_not(docker: Docker) -> None:
    answer = """case $1 in
      ps) case $* in *service=core\\ *) printf 'old\\nnew\\n' ;; *) echo other ;; esac ;;
      *) shift 3; for id; do echo "$id running healthy 0 0 false"; done ;;
    esac"""
    code, said = docker.run(rollout.wait_new("p", ["core", "web"], ["old"], limit=9), answer)
    assert code == 0 and rollout.healthy_since(said).isdigit()
    assert docker.calls[-1].endswith(" new other")


def test_where_nothing_is_new_nothing_is_waited_for(docker: Docker) -> None:
    assert docker.run(rollout.wait_new("p", ["core"], ["old"], limit=9), "echo old") == (0, "")
    assert len(docker.calls) == 1
    assert rollout.healthy_since("") == ""


def test_a_probe_without_an_edge_says_so(docker: Docker) -> None:
    assert docker.run(rollout.probe("p", "edge", ["http://a/"]), "exit 0") == (rollout.NO_EDGE, "")


@pytest.mark.parametrize(("code", "after"), [(0, []), (7, ["rm --force x"])])
def test_a_one_off_container_leaves_nothing_of_its_name(docker: Docker, code: int, after: list[str]) -> None:
    run = rollout.alone("x", Command("docker", "run", "--rm", "a b"))
    assert docker.run(run, f"[ $1 != run ] || exit {code}")[0] == code
    assert docker.calls == ["rm --force x", "run --rm a b", *after]


def test_a_diagnosis_is_the_state_and_then_both_streams_of_the_log(docker: Docker) -> None:
    answer = "case $1 in inspect) echo '{\"A\":1}' ;; logs) echo out; echo err >&2 ;; esac"
    assert docker.run(rollout.diagnose("i", lines=7), answer) == (0, '{"A":1}\nout\nerr\n')
    assert docker.calls[-1] == "logs --timestamps --tail 7 i"


def test_a_probe_prints_body_and_code_on_one_line_each(docker: Docker) -> None:
    answer = 'case $1 in ps) echo id-edge ;; exec) shift 2; exec "$@" ;; esac'
    fake_program(docker.folder / "bin", "curl", "printf '{\"a\":\\n1} 200'")
    code, out = docker.run(rollout.probe("p", "edge", ["http://a:1/x", "http://b:1/"]), answer)
    assert (code, out) == (0, 'probe http://a:1/x {"a": 1} 200\nprobe http://b:1/ {"a": 1} 200\n')


def test_a_probe_that_fails_does_not_end_the_others(docker: Docker) -> None:
    answer = 'case $1 in ps) echo id-edge ;; exec) shift 2; exec "$@" ;; esac'
    fake_program(docker.folder / "bin", "curl", "echo 'curl: (7) refused'; exit 7")
    code, out = docker.run(rollout.probe("p", "edge", ["http://a/", "http://b/"]), answer)
    assert (code, out) == (0, "probe http://a/ curl: (7) refused \nprobe http://b/ curl: (7) refused \n")


def test_containers_are_stopped_and_removed(docker: Docker) -> None:
    assert docker.run(rollout.retire(["i", "j"], grace=9), '[ "$1" != container ]') == (0, "")
    assert docker.calls[:2] == ["stop --time 9 i j", "rm --force i j"]


def test_containers_that_are_gone_already_are_no_failure(docker: Docker) -> None:
    assert docker.run(rollout.retire(["i"], grace=9), "exit 1") == (0, "")


def test_a_container_that_stays_is_named(docker: Docker) -> None:
    assert docker.run(rollout.retire(["i", "j"], grace=9), '[ "$1" != container ] || { echo id-j; exit 1; }') == (
        1,
        "not removed: id-j\n",
    )


def test_files_are_copied_with_their_modes_over_the_old_ones(tmp_path: Path) -> None:
    source, target = tmp_path / "a b", tmp_path / "target"
    (source / "deep er").mkdir(parents=True)
    (source / ".env").write_text("new")
    (source / "deep er" / "run").write_text("x")
    (source / "deep er" / "run").chmod(0o750)
    target.mkdir()
    (target / ".env").write_text("old")
    (target / "stays").write_text("s")
    assert execute(rollout.activate(str(source), str(target))).returncode == 0
    found = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
    assert found == {".env": "new", "deep er/run": "x", "stays": "s"}
    assert (target / "deep er" / "run").stat().st_mode & 0o777 == 0o750


def test_a_reader_sees_the_old_file_or_the_new_one_and_nothing_between(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    size = 1 << 20
    (source / "f").write_bytes(b"n" * size)
    (target / "f").write_bytes(b"o" * size)
    before = os.open(target / "f", os.O_RDONLY)
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            data = (target / "f").read_bytes()
            seen.add(bytes({*data}) if len(data) == size else b"partial")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert execute(rollout.activate(str(source), str(target))).returncode == 0
    finally:
        done.set()
        watcher.join()
    assert seen <= {b"o", b"n"}
    # Who had the old file open still reads the old one: it was replaced, not written over.
    assert os.read(before, 1) == b"o"
    os.close(before)


def test_activating_what_was_never_staged_fails_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    assert execute(rollout.activate(str(tmp_path / "none"), str(tmp_path))).returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def _edge(tmp_path: Path, content: str) -> Path:
    (tmp_path / "nginx" / "upstreams").mkdir(parents=True, exist_ok=True)
    (tmp_path / "nginx" / "upstreams" / "active.conf").write_text(content)
    (tmp_path / "state").mkdir(exist_ok=True)
    return tmp_path / "state" / "edge.before"


def test_the_edge_as_it_is_is_kept_in_place_of_an_older_copy(tmp_path: Path) -> None:
    kept = _edge(tmp_path, "now")
    kept.mkdir()
    (kept / "stale.conf").write_text("x")
    assert execute(rollout.keep_edge(str(tmp_path))).returncode == 0
    found = {str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*") if path.is_file()}
    assert found == {"upstreams/active.conf": "now"}


def test_a_copy_of_the_edge_that_fails_half_way_never_looks_whole(tmp_path: Path) -> None:
    kept = _edge(tmp_path, "now")
    kept.mkdir()
    (kept / "before").write_text("x")
    body = 'mkdir -p "$3/upstreams"; echo half > "$3/upstreams/active.conf"; exit 1'
    fake_program(tmp_path / "bin", "cp", body)
    assert execute(rollout.keep_edge(str(tmp_path)), path=tmp_path / "bin").returncode == 1
    assert not kept.exists()


def test_the_format_of_an_image_is_json() -> None:
    filled = rollout.IMAGE_FORMAT
    for name in (".Id", ".RepoDigests", ".Size", ".Config.Entrypoint", ".Config.Cmd", ".Config.Labels"):
        filled = filled.replace(f"{{{{json {name}}}}}", "null")
    assert set(json.loads(filled)) == {"id", "digests", "size", "entrypoint", "cmd", "labels"}
