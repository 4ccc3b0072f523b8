"""Every script that is sent to a host is sound for the shell that runs it; the facts script works on this machine."""

import os
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from unit_support import execute, fake_program, shellcheck

import flotteq_tasks.commands
from flotteq_tasks.commands import (
    batch,
    certbot,
    facts,
    keeper,
    nginx,
    ownership,
    pitr,
    postgres,
    redis,
    renewal,
    rollout,
    security,
    swapping,
    waiting,
)
from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.shell import WORK, Command
from flotteq_tasks.model.stack import Database, Project

GROUP = str(os.getgid())
COMPOSE, DATABASE = Compose("fleet", "/srv/fleet"), Database()
PROJECT, APPLICATION = Project("fleet", "fleet.example"), swapping.Application(("core",), "front")
COMMANDS = {
    "facts": facts.read_facts("/d", "p"),
    "containers": facts.read_containers("p"),
    "keeper": keeper.keeper("/s", lease=1),
    "read_lock": keeper.read_lock("/s"),
    "fetch": rollout.fetch(["a"], limit=1),
    "activate": rollout.activate("/s", "/d"),
    "wait_healthy": waiting.wait_healthy(["a"], limit=1),
    "diagnose": rollout.diagnose("a", lines=1),
    "probe": rollout.probe("p", "e", ["a"]),
    "wait_new": waiting.wait_new("p", ["s"], ["i"], limit=1),
    "monitor": rollout.monitor("p", "e", ["d"], ["c"], seconds=1, enough=1, percent=1),
    "alone": rollout.alone("n", Command("true")),
    "batch": batch.batch([Command("true")], "m"),
    "retire": rollout.retire(["a"], grace=1),
    "keep_edge": rollout.keep_edge("/d"),
    "dump": postgres.dump_to_file(COMPOSE, DATABASE, "/p"),
    "set_password": postgres.set_password(COMPOSE, DATABASE),
    "redis cli": redis.cli(COMPOSE, "cache"),
    "redis add": redis.add_password(COMPOSE, "cache"),
    "redis only": redis.only_password(COMPOSE, "cache"),
    "nginx drained": nginx.drained(COMPOSE, ["7"], limit=1),
    "nginx reload": nginx.reload(COMPOSE, generation="", taken=1),
    "nginx healthz": nginx.healthz(COMPOSE),
    "maintenance": nginx.maintenance_on("/d"),
    "swap": swapping.swap(PROJECT, DATABASE, APPLICATION, next="n", kept="k"),
    "settle": swapping.settle(PROJECT, DATABASE, APPLICATION, next="n", kept="k"),
    "pitr prepare": pitr.prepare(PROJECT, DATABASE, megabytes=1),
    "pitr remove": pitr.remove(PROJECT, DATABASE, receiver="r"),
    "pitr look": pitr.look(PROJECT, DATABASE),
    "security": security.look("p", "e", "/d", "/b"),
    "hand over": ownership.hand_over([("1:1", "v")]),
    "connect": ownership.connect("n", "c", alias="a"),
    "disconnect": ownership.disconnect("p", "n", "c"),
    "certificate in use": certbot.current("/d"),
    "certificate links": certbot.links("/d"),
    "certificate rehearsal": renewal.rehearsal("/d", shared="c", rehearse=Command("true")),
    "certificate point": certbot.point("/d", "rel-1"),
    "certificate discard": certbot.discard("/d", "rel-1"),
    "certificate windows": certbot.renewal_windows(COMPOSE, certificates=["c"], directory="https://d"),
    "certificate key": certbot.permissions("/d/key"),
    "certificate job's needs": renewal.ready(),
    "certificate note": renewal.note("/d", "ssl.renew", 0),
    "certificate job": renewal.job(
        "/d", shared="c", names=["a"], renew=Command("true"), reload=Command("true"), stack="fleet-production"
    ),
    "clock and addresses": certbot.clock_and_addresses(),
}
MODULES = [
    import_module(f"flotteq_tasks.commands.{found.name}")
    for found in pkgutil.iter_modules(flotteq_tasks.commands.__path__)
]
# The list of container ids is split on purpose.
IGNORED = dict.fromkeys(("facts", "swap", "settle", "pitr remove", "security"), "SC2086")
# Called by a trap only.
IGNORED["certificate job"] = "SC2329"


def scripts_of(module: object) -> Iterator[tuple[str, str]]:
    """All multi-line shell texts that a module keeps in constants."""
    for name, value in vars(module).items():
        if isinstance(value, str) and name.startswith("_") and not name.startswith("__") and "\n" in value:
            yield name, value


def _parts(command: Command) -> tuple[str, str]:
    words = command.argv()
    place = words.index("-c")
    return words[place - 1], words[place + 1]


@pytest.mark.parametrize("name", COMMANDS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    dialect, text = _parts(COMMANDS[name])
    assert shellcheck(text, dialect, ignore=IGNORED.get(name, "")) == ""


@pytest.mark.parametrize(
    ("module", "name", "text"),
    [(module.__name__.rpartition(".")[2], name, text) for module in MODULES for name, text in scripts_of(module)],
)
def test_no_script_was_forgotten(module: str, name: str, text: str) -> None:
    """A new script must be checked, too: those that are built into no command above are checked as they stand."""
    line = max((line.strip() for line in text.splitlines()), key=len)
    if any(line in word for command in COMMANDS.values() for word in command.argv()):
        return
    dialect = "bash" if module == "keeper" else "sh"
    work = WORK if "$work" in text else ""
    assert shellcheck(f"set -eu\n{work}{text}", dialect) == "", f"{module}.{name}"


def test_the_whole_of_the_facts_command() -> None:
    words = facts.read_facts("/srv/a b", "fleet").argv()
    assert (words[:2], words[3:5], words[6:]) == (["bash", "-c"], ["flotteq", "fleet"], ["/srv/a b"])
    assert words[5].startswith('{"id":{{json .Id}},')


SECTIONS = [
    "clock", "engine", "compose", "disk", "inodes", "memory", "listening", "volumes", "owners", "containers", "release",
    "files", "active", "certificates", "secrets", "scale",
]  # fmt: skip


def test_the_facts_of_a_bare_machine_have_every_section(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "docker", "echo 'sh: docker: not found' >&2; exit 127")
    done = execute(facts.read_facts(str(tmp_path / "not" / "there"), "fleet"), path=tmp_path / "bin")
    found = re.findall(r"^@@ (\w+)$", done.stdout, re.M)
    assert (done.returncode, [name for name in found if name in SECTIONS]) == (0, SECTIONS)


def test_the_facts_ask_docker_for_this_project_only(tmp_path: Path) -> None:
    fake_program(
        tmp_path / "bin", "docker", f'echo "$*" >> {tmp_path}/calls; case $1 in ps) echo id1; echo id2 ;; esac'
    )
    execute(facts.read_facts(str(tmp_path), "fleet"), path=tmp_path / "bin")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "ps --all --quiet --no-trunc --filter label=com.docker.compose.project=fleet" in calls
    assert next(call for call in calls if call.startswith("inspect")).endswith(" id1 id2")


@pytest.mark.parametrize("missing", ["fullchain.pem", "privkey.pem"])
def test_a_certificate_without_its_other_half_is_not_used(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "certs" / "rel-2"
    folder.mkdir(parents=True)
    for name in {"fullchain.pem", "privkey.pem"} - {missing}:
        (folder / name).write_text("x")
    assert execute(certbot.point(str(tmp_path), "rel-2", readers=GROUP)).returncode == 1
    assert not (tmp_path / "certs" / "current").is_symlink()


def _certificate(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "certs" / name
    folder.mkdir(parents=True)
    for file in ("fullchain.pem", "privkey.pem"):
        (folder / file).write_text(name)


def test_the_link_moves_and_the_oldest_certificates_go(tmp_path: Path) -> None:
    for name in ("placeholder", "rel-1", "rel-2", "rel-3", "rel-4"):
        _certificate(tmp_path, name)
        assert execute(certbot.point(str(tmp_path), name, keep=2, readers=GROUP)).returncode == 0
    present = sorted(path.name for path in (tmp_path / "certs").iterdir())
    assert (present, os_link(tmp_path)) == (["current", "placeholder", "rel-3", "rel-4"], "rel-4")
    assert execute(certbot.current(str(tmp_path))).stdout == "rel-4\n"


def test_a_certificate_of_one_name_has_a_place_of_its_own_and_nothing_else_is_touched(tmp_path: Path) -> None:
    for name in ("placeholder", "names/a.example/rel-1", "names/rel-2.example/rel-1", "rel-1"):
        _certificate(tmp_path, name)
    for place, target in (("", "placeholder"), ("names/a.example", "rel-1"), ("names/rel-2.example", "rel-1")):
        done = execute(certbot.point(str(tmp_path), target, place=place, keep=0, readers=GROUP))
        assert (done.returncode, done.stderr) == (0, "")
    assert certbot.parse_links(execute(certbot.links(str(tmp_path))).stdout) == {
        "current": "placeholder", "names/a.example/current": "rel-1", "names/rel-2.example/current": "rel-1",
    }  # fmt: skip
    assert not (tmp_path / "certs" / "rel-1").exists()
    assert str(certbot.forget("/d", "names/a.example")) == "rm -rf -- /d/certs/names/a.example"


def test_the_certificate_in_use_is_kept_however_old(tmp_path: Path) -> None:
    for name in ("rel-1", "rel-2", "rel-3"):
        _certificate(tmp_path, name)
    assert execute(certbot.point(str(tmp_path), "rel-1", keep=1, readers=GROUP)).returncode == 0
    assert (tmp_path / "certs" / "rel-1").is_dir()


def os_link(tmp_path: Path) -> str:
    """Where the link points."""
    return str((tmp_path / "certs" / "current").readlink())


@pytest.mark.parametrize(("target", "stays"), [("rel-1", True), ("rel-2", False)], ids=["in use", "not in use"])
def test_only_an_unused_certificate_is_discarded(tmp_path: Path, target: str, stays: bool) -> None:
    _certificate(tmp_path, "rel-1")
    _certificate(tmp_path, "rel-2")
    execute(certbot.point(str(tmp_path), "rel-1", readers=GROUP))
    execute(certbot.discard(str(tmp_path), target))
    assert (tmp_path / "certs" / target).is_dir() is stays


def test_without_certificates_none_is_in_use(tmp_path: Path) -> None:
    assert execute(certbot.current(str(tmp_path))).stdout == ""


def test_challenges() -> None:
    assert str(certbot.forget_challenge("/srv/a b", "tok")) == (
        "rm -f '/srv/a b/certbot/www/.well-known/acme-challenge/tok'"
    )


def test_maintenance_is_one_file(tmp_path: Path) -> None:
    flag = tmp_path / "nginx" / "state" / "maintenance.on"
    execute(nginx.maintenance_on(str(tmp_path)))
    assert flag.is_file()
    execute(nginx.maintenance_off(str(tmp_path)))
    assert not flag.exists()


def test_healthz_whole_text() -> None:
    address = "http://127.0.0.1:8081/healthz"
    assert str(nginx.healthz(COMPOSE)) == (
        f"{COMPOSE.exec('nginx', [])} sh -c 'curl -fsS {address} || wget -q -O - {address}'"
    )
