"""The scripts of the edge's operations, run here with a docker and an nft that write down what they were asked."""

import os
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from unit_support import execute, fake_program, shellcheck

from flotteq_tasks.commands import assets, edge_swap, nginx
from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.shell import Command

COMPOSE = Compose("fleet", "/srv/fleet")
SWAP = edge_swap.swap("/d", "old", "new", {"app.x": "/"}, hold=30, grace=10, within=15)

# A container runs while there is a file of its name; `exec` fails where there is a file NAME.mute.
_DOCKER = """
cd "{state}"
for last; do :; done
case $1 in
  inspect) case $3 in
      *Running*) [ -e "$last.running" ] && echo true || echo false ;;
      *Pid*) [ -e "$last.running" ] && echo 1 || echo 0 ;;
      *) echo '80 443 ' ;;
    esac ;;
  update) echo "$3" >"$last.restart" ;;
  stop) echo "stop $last" >>calls; rm -f "$last.running" ;;
  start) echo "start $last" >>calls; : >"$last.running" ;;
  exec) echo "ask $2" >>calls; [ ! -e "$2.hang" ] || exec sleep 600
    [ ! -e "$2.mute" ] || {{ echo 'https://app.x/: 502'; exit 1; }} ;;
  logs) echo 'emerg: no such directive' ;;
esac
"""
_NFT = """
cd "{state}"
case $1 in
  -f) text=$(cat); echo "$text" >rules; case $text in *elements*) echo hold >>calls ;; *) echo try >>calls ;; esac ;;
  delete) echo release >>calls ;;
esac
"""


def _texts() -> dict[str, str]:
    commands = {
        "swap": SWAP,
        "can hold": edge_swap.can_hold(),
        "assets": assets.keep("/d", [("app", "app-1", "/html/assets")], hours=1),
        "allow": nginx.maintenance_allow("/d", ["10.0.0.0/8"]),
    }
    texts = {name: command.argv()[command.argv().index("-c") + 1] for name, command in commands.items()}
    return {**texts, "answers": f"set -eu\n{edge_swap._ANSWERS}"}


@pytest.mark.parametrize(("name", "text"), _texts().items(), ids=list(_texts()))
def test_shellcheck_has_nothing_to_say(name: str, text: str) -> None:
    assert shellcheck(text, "sh") == "", name


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host on which the old container runs."""
    for name, body in (("docker", _DOCKER), ("nft", _NFT)):
        fake_program(tmp_path / "bin", name, body.format(state=tmp_path))
    (tmp_path / "old.running").touch()
    return tmp_path


def _swap(host: Path, *, hold: int = 30, within: int = 15) -> tuple[CompletedProcess[str], list[str]]:
    checks = {"app.x": "/", "api.x": "/up"}
    command = edge_swap.swap(str(host), "old", "new", checks, hold=hold, grace=10, within=within)
    done = execute(command, path=host / "bin")
    calls = host / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_connections_wait_from_before_the_stop_until_the_new_one_answers(host: Path) -> None:
    done, calls = _swap(host)
    assert calls == ["hold", "stop old", "start new", "ask new", "release"], done.stderr
    word, stopped, ready = done.stdout.split()
    assert (done.returncode, word) == (0, "swapped") and 0 <= int(stopped) <= int(ready)


def test_the_rule_ends_by_itself_and_spares_what_goes_elsewhere(host: Path) -> None:
    _swap(host)
    rules = (host / "rules").read_text()
    assert "elements = { 80 timeout 30s, 443 timeout 30s }" in rules
    assert rules.count("fib daddr type local tcp dport @ports tcp flags & (syn | ack) == syn drop") == 2
    assert "hook prerouting priority raw" in rules and "hook output priority raw" in rules
    assert "table inet flotteq_hold {}\ndelete table inet flotteq_hold\n" in rules, (
        "one that was left must not be in the way"
    )


def test_a_new_one_that_does_not_answer_is_taken_back(host: Path) -> None:
    (host / "new.mute").touch()
    done, calls = _swap(host)
    assert done.returncode == edge_swap.BACK
    assert calls == ["hold", "stop old", "start new", "ask new", "stop new", "start old", "ask old", "release"]
    assert "https://app.x/: 502" in done.stdout and "emerg: no such directive" in done.stdout


def test_an_engine_that_never_answers_for_the_new_one_is_not_waited_for(host: Path) -> None:
    (host / "new.hang").touch()
    done, calls = _swap(host, within=1)
    assert done.returncode == edge_swap.BACK, done.stderr
    assert calls[3:] == ["ask new", "stop new", "start old", "ask old", "release"]


def test_when_neither_answers_the_code_says_so_and_nobody_waits(host: Path) -> None:
    (host / "new.mute").touch()
    (host / "old.mute").touch()
    done, calls = _swap(host)
    assert (done.returncode, calls[-1]) == (edge_swap.DOWN, "release")


@pytest.mark.parametrize(("mute", "lives", "rests"), [("", "new", "old"), ("new.mute", "old", "new")])
def test_an_engine_that_starts_again_starts_the_one_that_serves(host: Path, mute: str, lives: str, rests: str) -> None:
    if mute:
        (host / mute).touch()
    _swap(host)
    assert (host / f"{lives}.restart").read_text() == "always\n"
    assert (host / f"{rests}.restart").read_text() == "no\n"


def test_without_nft_nothing_is_held(host: Path) -> None:
    done, calls = _swap(host, hold=0)
    assert (done.returncode, calls) == (0, ["stop old", "start new", "ask new"])


def test_a_swap_that_is_done_is_not_done_again(host: Path) -> None:
    (host / "old.running").rename(host / "new.running")
    done, calls = _swap(host)
    assert (done.returncode, done.stdout, calls) == (0, "", [])


def test_a_signal_does_not_leave_half_a_swap(host: Path) -> None:
    fake_program(host / "bin", "flock", "kill -TERM $PPID; kill -HUP $PPID; kill -INT $PPID")
    done, calls = _swap(host)
    assert (done.returncode, calls[-1]) == (0, "release")


@pytest.mark.parametrize(
    ("nft", "code", "said"),
    [
        ("cat >/dev/null", 0, ""),
        ("cat >/dev/null; echo 'Operation not permitted' >&2; exit 1", 1, "Operation not permitted"),
    ],
)
def test_whether_connections_can_be_held(tmp_path: Path, nft: str, code: int, said: str) -> None:
    fake_program(tmp_path / "bin", "nft", nft)
    fake_program(tmp_path / "bin", "id", "echo 0")
    done = execute(edge_swap.can_hold(), path=tmp_path / "bin")
    assert done.returncode == code and said in done.stdout


def test_only_root_can_hold_connections(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "id", "echo 1000")
    done = execute(edge_swap.can_hold(), path=tmp_path / "bin")
    assert (done.returncode, done.stdout) == (1, "the user is not root\n")


def test_the_further_container_is_made_and_not_started() -> None:
    words = COMPOSE.spare("front", count=2).argv()
    assert words[-7:] == [
        "up", "--no-start", "--no-deps", "--no-build", "--no-recreate", "--scale=front=2", "front",
    ]  # fmt: skip


def test_the_new_image_checks_the_files_on_the_host() -> None:
    words = edge_swap.test(COMPOSE, service="front", name="fleet-front-check").argv()
    assert words[-7:] == ["front", "nginx", "-e", "stderr", "-t", "-q", "-c", "/etc/nginx/flotteq/nginx.conf"][-7:]
    assert "--rm" in words and "fleet-front-check" in words


def _image(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tmp_path / "image" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # `docker cp CONTAINER:/html/assets/. TARGET`
    missing = "Error response from daemon: Could not find the file /nowhere in container core-1"
    full = "write $3index-AbCd1234.js: no space left on device"
    fake_program(
        tmp_path / "bin", "docker",
        f'case $2 in app-*) cp -R {tmp_path}/image/. "$3" ;; full-*) echo "{full}" >&2; exit 1 ;; '
        f'*) echo "{missing}" >&2; exit 1 ;; esac',
    )  # fmt: skip


def _keep(tmp_path: Path, *sources: tuple[str, str, str]) -> CompletedProcess[str]:
    command: Command = assets.keep(str(tmp_path), sources, hours=48)
    return execute(command, path=tmp_path / "bin")


def _kept(tmp_path: Path) -> dict[str, str]:
    root = tmp_path / "assets"
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_files_of_several_releases_lie_side_by_side(tmp_path: Path) -> None:
    _image(tmp_path, {"index-AAAAAAA1.js": "one", "fonts/a-BBBBBBB1.woff2": "f"})
    assert _keep(tmp_path, ("app", "app-1", "/html/assets")).stdout == "kept app 2\n"
    (tmp_path / "image" / "index-AAAAAAA1.js").rename(tmp_path / "image" / "index-AAAAAAA2.js")
    assert _keep(tmp_path, ("app", "app-2", "/html/assets")).returncode == 0
    assert sorted(_kept(tmp_path)) == [
        "app/assets/fonts/a-BBBBBBB1.woff2", "app/assets/index-AAAAAAA1.js", "app/assets/index-AAAAAAA2.js",
    ]  # fmt: skip


def test_age_counts_from_when_a_file_was_last_live(tmp_path: Path) -> None:
    _image(tmp_path, {"still-AAAAAAA1.js": "x"})
    kept = tmp_path / "assets/app/assets"
    kept.mkdir(parents=True)
    long_ago, yesterday = time.time() - 49 * 3600, time.time() - 25 * 3600
    for name, when in (("gone-AAAAAAA1.js", long_ago), ("day-AAAAAAA1.js", yesterday), ("still-AAAAAAA1.js", long_ago)):
        (kept / name).write_text(name)
        os.utime(kept / name, (when, when))
    os.utime(tmp_path / "image/still-AAAAAAA1.js", (long_ago, long_ago))
    _keep(tmp_path, ("app", "app-1", "/html/assets"))
    assert sorted(path.name for path in kept.iterdir()) == ["day-AAAAAAA1.js", "still-AAAAAAA1.js"]


def test_a_copy_that_fails_is_no_image_without_the_directory(tmp_path: Path) -> None:
    _image(tmp_path, {"a-AAAAAAA1.js": "x"})
    done = _keep(tmp_path, ("app", "full-1", "/html/assets"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "app: write" in done.stderr and "no space left on device" in done.stderr
    assert not list((tmp_path / "assets").glob(".*.next"))


def test_an_image_without_the_directory_is_said(tmp_path: Path) -> None:
    _image(tmp_path, {"a-AAAAAAA1.js": "x"})
    done = _keep(tmp_path, ("other", "core-1", "/nowhere"), ("app", "app-1", "/html/assets"))
    assert (done.returncode, done.stdout) == (0, "none other\nkept app 1\n")
    assert not (tmp_path / "assets/other").exists()


def test_a_link_in_an_image_does_not_reach_the_host(tmp_path: Path) -> None:
    _image(tmp_path, {"a-AAAAAAA1.js": "x"})
    (tmp_path / "image" / "passwd.js").symlink_to("/etc/passwd")
    (tmp_path / "image" / "etc").symlink_to("/etc")
    _keep(tmp_path, ("app", "app-1", "/html/assets"))
    assert sorted(_kept(tmp_path)) == ["app/assets/a-AAAAAAA1.js"]


def test_the_list_of_addresses_is_what_nginx_reads(tmp_path: Path) -> None:
    execute(nginx.maintenance_allow(str(tmp_path), ["203.0.113.7", "2001:db8::/32"]))
    allow = tmp_path / "nginx/state/maintenance.allow"
    assert allow.read_text() == "203.0.113.7 yes;\n2001:db8::/32 yes;\n"
    execute(nginx.maintenance_allow(str(tmp_path), []))
    assert allow.read_text() == ""
