"""Bad input that concerns the host: one clear sentence, the right exit code, and nothing changed on the host."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cli import Cli
from support.stack import Stack, difference

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("unchanged")]

DEPLOY = ("deploy", "--version", "v9.9.9")
COMPOSE = "compose/docker-compose.production.yml"

# All but the live release's manifests.
_HIDE = """
cd /opt/flotteq/releases
live=$(sed -n 's/^ *"id": "\\(.*\\)",*$/\\1/p' ../state/current.json)
[ -d "$live" ]
for file in */manifest.json; do
  [ "$file" = "$live/manifest.json" ] || mv "$file" "${file%.json}.away"
done
"""
_SHOW = """
cd /opt/flotteq/releases
for file in */manifest.away; do
  [ ! -e "$file" ] || mv "$file" "${file%.away}.json"
done
"""


@pytest.fixture
def unchanged(stack: Stack) -> Iterator[None]:
    """Whatever the test does, the host is afterwards as it was."""
    before = stack.snapshot()
    yield
    assert difference(before, stack.snapshot()) == []


def test_version_that_is_not_in_the_registry(stack: Stack) -> None:
    done = stack.inv(*DEPLOY).ended(1)
    assert "version v9.9.9 of backend" in done.err
    assert "is not in the registry" in done.err
    assert "try: inv build --version v9.9.9" in done.err


@pytest.mark.parametrize("version", ["latest", "", "v 1", "-v1", "v1;reboot"])
def test_version_that_is_none(stack: Stack, version: str) -> None:
    assert "--version" in stack.inv("deploy", f"--version={version}").ended(2).err


def test_connection_refused(stack: Stack) -> None:
    with socket.socket() as taken:
        # Bound but not listening: nobody else gets the port meanwhile.
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        done = stack.inv(*DEPLOY, variables={"FLOTTEQ__HOST__PORT": port}).ended(69)
    assert f"cannot connect to deploy@127.0.0.1:{port}" in done.err
    assert "refused" in done.err


def test_host_that_accepts_and_says_nothing(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        done = stack.inv("status", variables={"FLOTTEQ__HOST__PORT": port}, timeout=90).ended(69)
    assert f"cannot connect to deploy@127.0.0.1:{port}" in done.err


def test_host_name_that_does_not_exist(stack: Stack) -> None:
    done = stack.inv("status", variables={"FLOTTEQ__HOST__ADDRESS": "vps.invalid"}, timeout=90).ended(69)
    assert "vps.invalid" in done.sentence or "vps.invalid" in done.err


def test_key_that_the_host_does_not_know(stack: Stack, tmp_path: Path) -> None:
    key = _new_key(tmp_path)
    done = stack.inv(*DEPLOY, variables={"FLOTTEQ__HOST__KEY_FILE": str(key)}).ended(77)
    assert "the login was refused" in done.err


def test_host_key_that_is_not_known(stack: Stack, tmp_path: Path) -> None:
    done = stack.inv(*DEPLOY, variables={"FLOTTEQ__HOST__KNOWN_HOSTS": str(tmp_path / "none")}).ended(77)
    assert "is not in known_hosts" in done.err
    assert "try: inv host.trust --env sandbox" in done.err


def test_host_key_that_changed(stack: Stack, tmp_path: Path) -> None:
    kind, other, *_ = _new_key(tmp_path).with_suffix(".pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{stack.sandbox.ssh_port} {kind} {other}\n")
    done = stack.inv(*DEPLOY, variables={"FLOTTEQ__HOST__KNOWN_HOSTS": str(known)}).ended(77)
    assert "its host key changed" in done.err
    assert done.err.count("SHA256:") == 2


def test_host_trust_writes_what_was_confirmed(stack: Stack, tmp_path: Path) -> None:
    known = {"FLOTTEQ__HOST__KNOWN_HOSTS": str(tmp_path / "known_hosts")}
    assert "add --yes" in stack.inv("host.trust", variables=known).ended(2).err
    assert not (tmp_path / "known_hosts").exists()
    assert "SHA256:" in stack.inv("host.trust", "--yes", variables=known).ok().out
    stack.inv("status", variables=known).ok()


def test_user_without_sudo(stack: Stack) -> None:
    done = stack.inv(*DEPLOY, variables={"FLOTTEQ__HOST__USER": "nosudo"}).ended(77)
    assert "sudo" in done.err
    assert "nosudo" in done.err


def test_no_docker_on_the_host(stack: Stack) -> None:
    with _on_host(stack, "mv /usr/bin/docker /usr/bin/docker.away", "mv /usr/bin/docker.away /usr/bin/docker"):
        done = stack.inv(*DEPLOY).ended(1)
    assert "no Docker Engine answers on the host" in done.err
    assert "https://docs.docker.com/engine/install/" in done.err


def test_compose_too_old(stack: Stack) -> None:
    wrapper = "/usr/local/bin/docker"
    lines = ("#!/bin/sh", '[ "$1 $2" != "compose version" ] || { echo 2.10.2; exit 0; }', 'exec /usr/bin/docker "$@"')
    quoted = " ".join(f"'{line}'" for line in lines)
    with _on_host(stack, f"printf '%s\\n' {quoted} >{wrapper}; chmod 755 {wrapper}", f"rm -f {wrapper}"):
        done = stack.inv(*DEPLOY).ended(1)
    assert "Docker Compose 2.10.2 on the host is older than 2.20" in done.err


def test_disk_nearly_full(stack: Stack) -> None:
    # What is on the host lies hidden below for a moment; the small file system says what a full one would say.
    small = "mount -t tmpfs -o size=64m,mode=755 small /opt/flotteq"
    with _on_host(stack, small, "umount -l /opt/flotteq"):
        done = stack.inv(*DEPLOY).ended(1)
        found = stack.inv("doctor").ended(5)
    assert "only 0.1 GiB are free on the host" in done.err
    assert "docker image prune" in done.err
    assert "only 0.1 GiB are free on the host" in found.out


@pytest.mark.parametrize(("seconds", "sentence"), [("+300", "ahead of"), ("-300", "behind")])
def test_clock_that_is_wrong(stack: Stack, seconds: str, sentence: str) -> None:
    wrapper = "/usr/local/bin/date"
    lines = f"#!/bin/sh\nexec /usr/bin/date --date '{seconds} seconds' \"$@\"\n"
    with _on_host(stack, f"cat >{wrapper}; chmod 755 {wrapper}", f"rm -f {wrapper}", lines):
        done = stack.inv(*DEPLOY).ended(1)
    # Seconds may pass between the looks at the two clocks.
    assert re.search(rf"the host's clock is (29|30)\d s {sentence} this machine's", done.err)
    assert "timedatectl set-ntp true" in done.err


def test_nothing_to_roll_back_to(stack: Stack) -> None:
    with _on_host(stack, _HIDE, _SHOW):
        done = stack.inv("rollback").ended(1)
    assert "there is no earlier good release to go back to" in done.sentence
    assert "good releases on the host: none" in done.err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("healthcheck: {disable: true}", "services.frontend-client.healthcheck: is missing: a deploy waits for it"),
        ("container_name: client", "services.frontend-client.container_name: remove it"),
        ('ports: ["8080:80"]', "services.frontend-client.ports: would publish frontend-client on port 8080"),
    ],
    ids=["no healthcheck", "container_name", "ports"],
)
def test_compose_file_that_cannot_roll(stack: Stack, tmp_path: Path, line: str, sentence: str) -> None:
    inv = _project(stack, tmp_path, "compose")
    file, head = tmp_path / COMPOSE, "  frontend-client:\n    <<: *frontend\n"
    assert head in file.read_text()
    file.write_text(file.read_text().replace(head, f"{head}    {line}\n"))
    done = inv("deploy", "--version", str(stack.health()["version"])).ended(2)
    assert f"{COMPOSE}: {sentence}" in done.err


@pytest.mark.parametrize("template", ["snippets/headers.conf", "upstreams/active.conf.j2"])
@pytest.mark.parametrize("task", [("deploy", "--version"), ("plan", "--version"), ("nginx.reload",)], ids=" ".join)
def test_template_that_nginx_refuses(stack: Stack, tmp_path: Path, task: tuple[str, ...], template: str) -> None:
    """Refused before any file of the edge is replaced: one that starts again reads what lies there."""
    inv = _project(stack, tmp_path, "nginx")
    with (tmp_path / "nginx" / template).open("a") as file:
        file.write("more_headers 'X-Mine: 1';\n")
    words = (*task, str(stack.health()["version"])) if len(task) > 1 else task
    done = inv(*words).ended(1)
    assert f"nginx refuses what nginx/{template} gives; nothing was changed" in done.sentence
    assert 'unknown directive "more_headers"' in done.err
    assert stack.host("ls -d /opt/flotteq/state/edge.check /opt/flotteq/state/edge.plan", check=False).out == ""


def test_hook_that_hangs(stack: Stack, tmp_path: Path) -> None:
    inv = _project(stack, tmp_path)
    hook = tmp_path / "hooks" / "pre-deploy"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\necho waiting for a message\nsleep 604.8\n")
    hook.chmod(0o755)
    done = inv(*DEPLOY, variables={"FLOTTEQ__DEPLOY__HOOK_TIMEOUT": "2"}).ended(1)
    assert "hooks/pre-deploy did not end within 2 s and was stopped" in done.sentence
    assert "deploy.hook_timeout in flotteq.toml" in done.err
    assert subprocess.run(["pgrep", "--full", "sleep 604.8"], check=False).returncode == 1
    assert "is not locked" in stack.inv("lock.status").ok().out


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (None, 0o600, "secrets are missing, here and on the host: smtp_password"),
        (b"", 0o600, "secret smtp_password is empty"),
        (b"two\nlines", 0o600, "smtp_password"),
        (b"ends-with-newline\n", 0o600, "smtp_password"),
        (b"readable-by-all", 0o644, "readable by others (mode 0644)"),
    ],
    ids=["missing", "empty", "two lines", "newline at the end", "readable by others"],
)
def test_secret_that_cannot_be_used(stack: Stack, content: bytes | None, mode: int, sentence: str) -> None:
    file, away = stack.secret_file("smtp_password"), "/opt/flotteq/secrets"
    kept = file.read_bytes()
    # The host must not have it: its own value would count.
    with _on_host(stack, f"mv {away}/smtp_password {away}/.away", f"mv {away}/.away {away}/smtp_password"):
        try:
            file.unlink()
            if content is not None:
                file.write_bytes(content)
                file.chmod(mode)
            done = stack.inv(*DEPLOY).ended(2)
        finally:
            file.unlink(missing_ok=True)
            file.write_bytes(kept)
            file.chmod(0o600)
    assert sentence in done.err
    assert "try: " in done.err
    assert not content or content.decode().strip() not in done.err + done.out


@pytest.mark.parametrize(("given", "sentence"), [("", "is empty"), ("two\nlines\n", "line break")])
def test_secret_that_is_not_stored(stack: Stack, given: str, sentence: str) -> None:
    before = stack.secret("smtp_password")
    assert sentence in stack.inv("secrets.set", "smtp_password", stdin=given).ended(2).err
    assert stack.secret("smtp_password") == before


@pytest.mark.parametrize(
    "words",
    [
        ("stop",), ("stop", "--service", "nginx"), ("restart",), ("down",),
        ("secrets.generate", "--rotate", "db_password"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_nobody_is_there_to_confirm(stack: Stack, words: tuple[str, ...]) -> None:
    done = stack.inv(*words, variables={"CI": "true"}).ended(2)
    assert "Nobody is here to answer; nothing was changed" in done.err
    assert "--yes" in done.err
    # An answer in a pipe is nobody's word either.
    stack.inv(*words, stdin="yes\nsandbox\n").ended(2)


def test_errors_as_json(stack: Stack) -> None:
    done = stack.inv("status", "--json", variables={"FLOTTEQ__HOST__USER": "nosudo"}).ended(77)
    assert '"code": 77' in done.out
    assert '"ok": false' in done.out


def test_errors_on_github(stack: Stack) -> None:
    done = stack.inv(*DEPLOY, variables={"GITHUB_ACTIONS": "true", "CI": "true"}).ended(1)
    assert "::error::version v9.9.9 of backend" in done.err


def _new_key(directory: Path) -> Path:
    path = directory / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def _project(stack: Stack, directory: Path, *copied: str) -> Cli:
    """The same project in a directory of its own, to change the folders that are copied."""
    for entry in stack.project.iterdir():
        if entry.name in copied:
            shutil.copytree(entry, directory / entry.name)
        else:
            (directory / entry.name).symlink_to(entry)
    return Cli(directory, stack.inv.variables, stack.inv.log)


@contextmanager
def _on_host(stack: Stack, begin: str, end: str, stdin: str = "") -> Iterator[Callable[[], None]]:
    """Change something on the host for the length of a block."""
    stack.host(f"set -e\n{begin}", stdin=stdin.encode())
    try:
        yield lambda: None
    finally:
        stack.host(end)
