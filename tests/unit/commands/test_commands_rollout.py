"""The scripts of a rollout, run here: files for real, docker by a program that answers from a table."""

import json
import os
import threading
from pathlib import Path

import pytest
from unit_support import Docker, execute, fake_program

from flotteq_tasks.commands import rollout, waiting
from flotteq_tasks.commands.shell import Command

REFERENCE = "r.example/team/core:v1"
PINNED = f"{REFERENCE}@sha256:ab"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (rollout.fetch(["a:1", "b:2"], limit=60), [rollout.IMAGE_FORMAT, "60", "a:1", "b:2"]),
        (rollout.activate("/s", "/d"), ["/s", "/d"]),
        (waiting.wait_healthy(["i", "j"], limit=9, settle=3), ["9", "3", "", "i", "j"]),
        (rollout.diagnose("i", lines=50), ["50", "i"]),
        (rollout.probe("p", "edge", ["http://a/"]), ["p", "edge", "http://a/"]),
        (rollout.retire(["i"], grace=30), ["30", "i"]),
        (rollout.keep_edge("/d"), ["/d"]),
    ],
)
def test_values_travel_as_arguments_and_never_in_the_script(command: Command, arguments: list[str]) -> None:
    words = command.argv()
    assert (words[:2], words[3:]) == (["sh", "-c"], ["flotteq", *arguments])


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


def test_the_format_of_an_image_is_json_and_asks_for_nothing_that_may_be_missing() -> None:
    """Docker 29 leaves out empty fields: `.Config.Labels` of an image without labels is an error there."""
    filled = rollout.IMAGE_FORMAT
    optional = ['index . "RepoDigests"', *(f'index .Config "{name}"' for name in ("Entrypoint", "Cmd", "Labels"))]
    for name in (".Id", ".Size", *(f"({one})" for one in optional)):
        filled = filled.replace(f"{{{{json {name}}}}}", "null")
    assert set(json.loads(filled)) == {"id", "digests", "size", "entrypoint", "cmd", "labels"}
