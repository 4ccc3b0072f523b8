"""Decisions as tables: facts in, sentences out."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from unit_support import Events, execute, fleet, instance

from flotteq_tasks.commands import nginx
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, SecretError, SettingsError, Unhealthy, UsageError
from flotteq_tasks.model.events import Warned
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import BuildSettings, Registry, Service, ServiceBuild
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations import images, preflight, repair, secret_store, verification
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.surge import check_containers
from flotteq_tasks.operations.names import known_services, number, share_of_data, since, unknown, words
from flotteq_tasks.operations.status import service_status
from flotteq_tasks.settings import secrets as local_secrets

GIB = 1 << 30
GOOD = {
    "engine_version": "28.5.2", "compose_version": "2.40.3", "disk_free": 20 * GIB, "disk_total": 40 * GIB,
    "inodes_free": 1 << 30, "memory_free": 16 * GIB, "memory_total": 32 * GIB, "clock": 1000.0,
}  # fmt: skip
RELEASE = Release("r1", "v1", {"core": "r/core:v1@sha256:ab"})
DATA = frozenset({"fleet_store_data"})


def _facts(**changes: object) -> Facts:
    return Facts(**{**GOOD, **changes})  # type: ignore[arg-type]


# --- preflight


def test_a_good_host_has_no_problems() -> None:
    assert preflight.check_host(fleet(), _facts(), now=1000.0) == []


@pytest.mark.parametrize(
    ("changes", "what", "fatal"),
    [
        ({"engine_version": "", "docker_error": "sh: docker: not found"},
         "no Docker Engine answers on the host: sh: docker: not found", True),
        ({"engine_version": ""}, "no Docker Engine answers on the host: no answer", True),
        ({"compose_version": "", "compose_error": "unknown flag: --short"},
         "Docker Compose v2 is missing on the host: unknown flag: --short", True),
        ({"compose_version": "2.19.9"}, "Docker Compose 2.19.9 on the host is older than 2.20", True),
        ({"disk_free": GIB}, "only 1.0 GiB are free on the host, a deploy needs 2", True),
        ({"inodes_free": 19_999}, "only 19999 inodes are free on the host's disk", True),
        ({"listening": frozenset({22, 80})}, "port 80 on the host is taken by another program", True),
        ({"listening": frozenset({443})}, "port 443 on the host is taken by another program", True),
        ({"clock": 1061.0}, "the host's clock is 61 s ahead of this machine's", True),
        ({"clock": 939.0}, "the host's clock is 61 s behind this machine's", True),
        ({"release": RELEASE},
         "a release is recorded on this host, but the database's volume fleet_store_data does not exist", True),
    ],
)  # fmt: skip
def test_each_problem_is_one_sentence_and_has_a_fix(changes: dict[str, object], what: str, fatal: bool) -> None:
    found = preflight.check_host(fleet(), _facts(**changes), now=1000.0)
    assert [(one.what, one.fatal) for one in found] == [(what, fatal)]
    assert found[0].fix


def test_an_engine_that_compose_would_refuse_stops_a_deploy() -> None:
    found = preflight.check_host(fleet(), _facts(engine_version="24.0.9"), now=1000.0)
    assert [one.fatal for one in found] == [True]
    assert found[0].what.startswith("Docker Engine 24.0.9 is older than 25.0: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"engine_version": "25.0.0"},
        {"compose_version": "2.20.0"},
        {"compose_version": "10.0"},
        {"disk_free": 2 * GIB},
        {"clock": 1060.0},
        {"clock": 940.0},
        {"listening": frozenset({22, 8080})},
        {"listening": frozenset({80, 443}), "instances": (instance("front"),)},
        {"release": RELEASE, "volumes": DATA},
    ],
    ids=",".join,
)
def test_what_is_just_good_enough_is_no_problem(changes: dict[str, object]) -> None:
    assert preflight.check_host(fleet(), _facts(**changes), now=1000.0) == []


def test_a_stopped_edge_does_not_explain_a_taken_port() -> None:
    facts = _facts(listening=frozenset({80}), instances=(instance("front", state="exited"),))
    assert len(preflight.check_host(fleet(), facts, now=1000.0)) == 1


def test_an_empty_database_may_be_accepted() -> None:
    assert preflight.check_host(fleet(), _facts(release=RELEASE), first_install=True, now=1000.0) == []


def test_several_problems_are_told_at_once() -> None:
    facts = _facts(disk_free=0, inodes_free=0, clock=0.0, listening=frozenset({80, 443}))
    assert len(preflight.check_host(fleet(), facts, now=1000.0)) == 5


# --- what an answer must be


@pytest.mark.parametrize(
    ("status", "body", "expect", "problem"),
    [
        (200, "anything", {}, ""),
        (404, "", {}, "status 404 instead of 200"),
        (301, "", {}, "status 301 instead of 200"),
        (0, "curl: (7) refused", {}, "no answer: curl: (7) refused"),
        (200, "<html>", {"status": "ok"}, "the answer is not JSON"),
        (200, '{"status": "ok"}', {"status": "ok"}, ""),
        (200, '{"status": "bad"}', {"status": "ok"}, "status is 'bad' instead of 'ok'"),
        (200, "{}", {"status": "ok"}, "status is None instead of 'ok'"),
        (200, "[1]", {"status": "ok"}, "status is None instead of 'ok'"),
        (200, '{"a": {"b": 1}}', {"a.b": "1"}, ""),
        (200, '{"a": 1}', {"a.b": "1"}, "a.b is None instead of '1'"),
        (200, '{"a": 2, "b": 3}', {"a": "1", "b": "1"}, "a is 2 instead of '1'; b is 3 instead of '1'"),
        (500, '{"status": "ok"}', {"status": "ok"}, "status 500 instead of 200"),
    ],
)
def test_what_is_wrong_with_an_answer(status: int, body: str, expect: dict[str, str], problem: str) -> None:
    assert verification.problem(status, body, expect) == problem


def test_good_answers_are_required_of_every_domain() -> None:
    good = verification.Answer("core", "api.fleet.example", 200, 0.1)
    bad = verification.Answer("web-app", "fleet.example", 502, 0.1, problem="status 502 instead of 200")
    verification.require([good])
    with pytest.raises(Unhealthy, match=r"fleet\.example.*: status 502 instead of 200"):
        verification.require([good, bad])


# --- names


@pytest.mark.parametrize(
    ("typed", "found"),
    [([], []), (["web-app", "store"], ["store", "web-app"]), (["core,store", "core"], ["store", "core"]), ([""], [])],
)
def test_services_come_in_the_order_of_the_file(typed: list[str], found: list[str]) -> None:
    assert known_services(fleet(), typed) == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cor", "did you mean core?"), ("zzz", "one of: store, cache, core, web-app, front, certbot")],
)
def test_an_unknown_service_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        known_services(fleet(), ["core", name])
    assert (caught.value.message, caught.value.hint) == (f"service '{name}' does not exist", hint)


def test_a_service_that_exists_may_be_the_wrong_kind() -> None:
    with pytest.raises(UsageError):
        known_services(fleet(), ["store"], among=["core"])


def test_other_things_have_names_too() -> None:
    assert unknown("volume", "x", ["y1"]).message == "volume 'x' does not exist"


@pytest.mark.parametrize(("text", "value"), [("4", 4), (" 4 ", 4), ("-1", -1)])
def test_numbers(text: str, value: int) -> None:
    assert number("--replicas", text, least=-1) == value


@pytest.mark.parametrize("text", ["", "four", "1.5", "0x1"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        number("--replicas", text, least=0)
    assert caught.value.message == f"--replicas {text!r} is not a whole number"


def test_a_number_that_is_too_small() -> None:
    with pytest.raises(UsageError, match=r"^--soak -5: at least 0$"):
        number("--soak", "-5", least=0)


@pytest.mark.parametrize("text", ["", "1/7", "7/7", "100%", "2.5%"])
def test_a_share_of_the_data(text: str) -> None:
    assert share_of_data("--data", text) == text


@pytest.mark.parametrize("text", ["abc", "8/7", "0/7", "0%", "101%", "1/0", "7", "50 %"])
def test_what_is_no_share_of_the_data(text: str) -> None:
    with pytest.raises(UsageError, match="is no part of the data"):
        share_of_data("--data", text)


@pytest.mark.parametrize("text", ["", "10m", "2h30m", "2026-11-22", "2026-11-22T14:03:00Z", "1764150000"])
def test_a_beginning_in_time(text: str) -> None:
    assert since("--since", text) == text


@pytest.mark.parametrize("text", ["yesterday", "10 m", "22.11.2026", "-1h"])
def test_what_is_no_beginning_in_time(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        since("--since", text)


def test_a_quotation_without_an_end() -> None:
    assert words("--command", "sh -c 'a b'") == ["sh", "-c", "a b"]
    with pytest.raises(UsageError, match="no closing quotation"):
        words("--command", "it's")


# --- status


@pytest.mark.parametrize(
    ("instances", "problem"),
    [
        ([], "not deployed"),
        ([instance("core"), instance("core", 2)], ""),
        ([instance("core")], "1 of 2 running"),
        ([instance("core", state="exited", exit_code=137)], "exited (exit code 137)"),
        ([instance("core"), instance("core", 2, health="unhealthy")], "fleet-core-2 is unhealthy"),
        ([instance("core"), instance("core", 2, health="starting")], "fleet-core-2 is starting"),
        ([instance("core"), instance("core", 2, health="")], ""),
        ([instance("core"), instance("core", 2, oneoff=True)], "1 of 2 running"),
    ],
)
def test_the_problem_of_a_service(instances: list[Instance], problem: str) -> None:
    facts = _facts(instances=tuple(instances), clock=1795429200.0)
    assert service_status(fleet(), facts, "core", []).problem == problem


def test_what_is_wrong_from_outside_is_a_problem_too() -> None:
    answer = verification.Answer("core", "api.fleet.example", 502, 0.1, problem="status 502 instead of 200")
    facts = _facts(instances=(instance("core"), instance("core", 2)))
    assert service_status(fleet(), facts, "core", [answer]).problem == "status 502 instead of 200"


def test_the_scale_on_the_host_wins_over_the_file() -> None:
    facts = _facts(instances=(instance("core"),), scale={"core": 1})
    assert service_status(fleet(), facts, "core", []).problem == ""


@pytest.mark.parametrize(
    ("found", "version"),
    [
        ([{"image": "r:5000/team/core:v1@sha256:ab"}], "v1"),
        ([{"image": "r/core:v1"}, {"image": "r/core:v2"}], "v1, v2"),
        ([{"image": "r/core:v1"}, {"image": "r/core:v1"}], "v1"),
        ([{"image": "r:5000/core"}], "r:5000/core"),
        ([{"image": "r:5000/core@sha256:ab", "version": "v7"}], "v7"),
        ([{"image": "r/core:v1", "state": "exited"}], "-"),
    ],
)
def test_the_version_of_a_service(found: list[dict[str, object]], version: str) -> None:
    facts = _facts(instances=tuple(instance("core", index, **one) for index, one in enumerate(found)))
    assert service_status(fleet(), facts, "core", []).version == version


def test_the_uptime_is_that_of_the_youngest() -> None:
    young = instance("core", 2, started="1970-01-01T00:15:00Z")
    facts = _facts(instances=(instance("core", started="1970-01-01T00:00:00Z"), young))
    assert service_status(fleet(), facts, "core", []).uptime == 100.0


# --- images


def _built(root: Path) -> Path:
    for name in ("core", "web"):
        (root / name).mkdir()
        (root / name / "Dockerfile").write_text("FROM scratch\n")
    return root


def test_the_whole_command_of_a_build(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    settings = fleet(
        _built(tmp_path),
        build=BuildSettings(args={"A": "all", "B": "b"}, ca_bundle="ca.pem", platform="linux/amd64"),
        registry=Registry("registry.example", "team", push_server="127.0.0.1:5555"),
    )
    assert str(images.build_command(settings, "core", Version("v1"), extra={"A": "mine"})) == (
        f"docker buildx build --load --progress plain --file {tmp_path}/core/Dockerfile "
        "--tag=127.0.0.1:5555/team/fleet-core:v1 --tag=registry.example/team/fleet-core:v1 "
        "--build-arg=A=mine --build-arg=B=b --build-arg=VERSION=v1 "
        "--label=org.opencontainers.image.title=core --label=org.opencontainers.image.version=v1 "
        f"--secret id=ca_bundle,src={tmp_path}/ca.pem --platform linux/amd64 {tmp_path}/core"
    )


def test_a_build_context_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        images.build_command(fleet(tmp_path), "core", Version("v1"), extra={})
    dockerfile = tmp_path / "core" / "Dockerfile"
    assert caught.value.message == f"flotteq.toml: services.core.build: {dockerfile} does not exist"


def test_a_missing_ca_bundle_is_named(tmp_path: Path) -> None:
    settings = fleet(_built(tmp_path), build=BuildSettings(ca_bundle="none.pem"))
    with pytest.raises(SettingsError, match=r"^build\.ca_bundle: .*/none\.pem does not exist$"):
        images.build_command(settings, "core", Version("v1"), extra={})


def test_a_third_party_image_is_not_built() -> None:
    with pytest.raises(SettingsError, match=r"^services\.store has no build$"):
        images.build_command(fleet(), "store", Version("v1"), extra={})


def test_only_services_that_are_built_here_can_be_named() -> None:
    with pytest.raises(UsageError, match=r"^service 'store' cannot be chosen here$"):
        images.built_services(fleet(), ["store"])


def test_without_names_all_are_built_in_order(tmp_path: Path) -> None:
    host = FakeHost({"docker buildx *": "ok\n"})
    found = images.build(host, fleet(_built(tmp_path)), Version("v1"), [], Events().report, extra={})
    assert found == ["registry.example/team/fleet-core:v1", "registry.example/team/fleet-web:v1"]


def test_a_build_that_fails_shows_its_command_and_its_last_lines(tmp_path: Path) -> None:
    out = "".join(f"line {number}\n" for number in range(100))
    host = FakeHost({"docker buildx *": Done(Command(""), 1, out=out)})
    with pytest.raises(CommandFailed) as caught:
        images.build(host, fleet(_built(tmp_path)), Version("v1"), ["core"], Events().report, extra={})
    lines = caught.value.details.splitlines()
    assert caught.value.message == "the build of core failed"
    assert (lines[0].startswith("$ docker buildx build"), lines[1], lines[-1], len(lines)) == (
        True, "line 60", "line 99", 41,
    )  # fmt: skip


def test_an_image_that_was_not_built_is_not_pushed() -> None:
    host = FakeHost({"docker image inspect *": 1})
    with pytest.raises(FlotteqError) as caught:
        images.push(host, fleet(), Version("v1"), ["core"], Events().report)
    assert (caught.value.message, caught.value.hint) == (
        "registry.example/team/fleet-core:v1 has not been built here", "inv build --version v1",
    )  # fmt: skip


def test_the_registrys_password_travels_on_standard_input() -> None:
    host = FakeHost({"docker login *": ""})
    settings = fleet(registry=Registry("registry.example", username="ada"))
    images.login(host, settings, {"FLOTTEQ_REGISTRY_PASSWORD": "canary"})
    assert host.inputs == {"docker login --username ada --password-stdin registry.example": b"canary"}


def test_without_a_user_nobody_logs_in() -> None:
    host = FakeHost()
    images.login(host, fleet(), {})
    assert host.transcript == []


def test_a_missing_password_names_its_variable() -> None:
    settings = fleet(registry=Registry("registry.example", username="ada"))
    with pytest.raises(FlotteqError, match=r"variable FLOTTEQ_REGISTRY_PASSWORD$"):
        images.login(FakeHost(), settings, {}, pushing=True)


def test_build_arguments_typed_by_people() -> None:
    assert images.arguments(["A=1", "B=", "C=x=y"]) == {"A": "1", "B": "", "C": "x=y"}


@pytest.mark.parametrize("pair", ["A", "=1", ""])
def test_what_is_no_build_argument(pair: str) -> None:
    with pytest.raises(UsageError) as caught:
        images.arguments([pair])
    assert caught.value.message == f"--arg {pair!r} is not NAME=VALUE"


# --- secrets

LOCAL = local_secrets.Secret("local value")
MARK = local_secrets.fingerprint("db_password", LOCAL)


def test_what_the_host_has_is_used_and_not_pushed(tmp_path: Path) -> None:
    local_secrets.write(tmp_path, "production", "db_password", LOCAL)
    marks, values = secret_store.settle(fleet(tmp_path), {"db_password": "host", "mail_password": "m", "old": "x"})
    assert (marks, values) == ({"db_password": "host", "mail_password": "m"}, {})


@pytest.mark.parametrize(
    ("on_host", "found"), [({"db_password": "host"}, ["db_password"]), ({"db_password": MARK}, []), ({}, [])],
    ids=["another value", "the same", "none"],
)  # fmt: skip
def test_values_that_differ_from_the_hosts_are_named(tmp_path: Path, on_host: dict[str, str], found: list[str]) -> None:
    local_secrets.write(tmp_path, "production", "db_password", LOCAL)
    assert secret_store.other_values(fleet(tmp_path), on_host) == found


def test_a_local_value_that_cannot_be_used_is_nobodys_concern_where_the_host_has_one(tmp_path: Path) -> None:
    local_secrets.write(tmp_path, "production", "db_password", LOCAL).chmod(0o644)
    assert secret_store.other_values(fleet(tmp_path), {"db_password": "host"}) == []


def test_what_the_host_lacks_comes_from_here(tmp_path: Path) -> None:
    local_secrets.write(tmp_path, "production", "db_password", LOCAL)
    marks, values = secret_store.settle(fleet(tmp_path), {"mail_password": "m"})
    assert (marks, values) == ({"mail_password": "m", "db_password": MARK}, {"db_password": LOCAL})


@pytest.mark.parametrize(
    ("on_host", "missing", "hint"),
    [
        ({}, "db_password, mail_password",
         "inv secrets.generate --env production\ninv secrets.set mail_password --env production"),
        ({"mail_password": "m"}, "db_password", "inv secrets.generate --env production"),
        ({"db_password": "d"}, "mail_password", "inv secrets.set mail_password --env production"),
    ],
)  # fmt: skip
def test_all_missing_secrets_are_named_with_their_remedies(
    tmp_path: Path, on_host: dict[str, str], missing: str, hint: str
) -> None:
    with pytest.raises(SecretError) as caught:
        secret_store.settle(fleet(tmp_path), on_host)
    assert caught.value.message == f"secrets are missing, here and on the host: {missing}"
    assert caught.value.hint == hint


def test_a_pushed_secret_is_a_file_of_the_consumers_group_and_no_word_of_a_command() -> None:
    host = FakeHost({"*": ""})
    assert secret_store.push(host, fleet(), {"db_password": LOCAL}) == {"db_password": MARK}
    file = host.file(f"/srv/fleet/secrets/db_password.{MARK}")
    assert (file.content, file.mode, file.group) == (b"local value", 0o440, "6400")
    assert "local value" not in "\n".join(host.transcript)


def test_a_link_that_was_cut_off_before_its_rename_is_no_obstacle_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "db_password.next").symlink_to("db_password.0001")
    for _ in range(2):
        assert execute(script(secret_store._LINK, str(tmp_path), ["db_password.0002"])).stderr == ""
    assert str((tmp_path / "db_password").readlink()) == "db_password.0002"
    assert not (tmp_path / "db_password.next").is_symlink()


def test_without_values_nothing_is_asked_of_the_host() -> None:
    host = FakeHost()
    assert (secret_store.push(host, fleet(), {}), host.transcript) == ({}, [])


# --- repair

ACTIVE = {"core": ("fleet-core-1",), "web-app": ("fleet-web-app-1",)}
SERVING = (instance("core"), instance("web-app"), instance("store"), instance("front"))
STRAY, ONE_OFF = instance("core", 2), instance("core", 3, oneoff=True)

# It runs beside whatever holds the lock.
STORES = instance("backup", name="fleet-wal-store", oneoff=True)


@pytest.mark.parametrize(
    ("instances", "left"),
    [
        (SERVING, []),
        ((*SERVING, STRAY), ["fleet-core-2"]),
        ((*SERVING, ONE_OFF), ["fleet-core-3"]),
        ((*SERVING, STORES), []),
        ((*SERVING, instance("core", name="fleet-migrate-plan", oneoff=True)), []),
        ((*SERVING, instance("store", 2)), []),
        ((*SERVING, instance("core", 2, state="exited")), ["fleet-core-2"]),
    ],
    ids=["none", "container", "one-off", "stores the log", "a plan", "no rolling service", "stopped"],
)
def test_containers_that_serve_nobody(instances: tuple[Instance, ...], left: list[str]) -> None:
    facts = _facts(instances=instances, active=ACTIVE)
    assert [one.name for one in repair.strays(facts, ["core", "web-app"])] == left


WORKER = {**fleet().services, "worker": Service(kind="rolling", image="fleet-worker", build=ServiceBuild("w"))}


@pytest.mark.parametrize(
    ("beside", "half_done"),
    [((), False), ((instance("worker", 2),), False), ((instance("worker", 2, image="worker:v2"),), True)],
    ids=["alone", "two of them", "left by a deploy that was cut off"],
)
def test_a_service_without_a_public_name_is_not_expected_in_the_edges_file(
    beside: tuple[Instance, ...], half_done: bool
) -> None:
    live = Release("r1", "v1", {"worker": "worker:v1"})
    facts = _facts(
        instances=(*SERVING, instance("worker"), *beside), active=ACTIVE, active_release="r1", release=live,
        files_release="r1",
    )  # fmt: skip
    assert repair.needs_repair(fleet(services=WORKER), facts) is half_done


def test_a_new_container_without_a_port_is_waited_for_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = Engine(_facts()), list[tuple[object, int]]()

    def ask(addresses: object, instances: Sequence[Instance], **_: object) -> tuple[dict[str, object], list[Done]]:
        asked.append((addresses, len(instances)))
        return {}, []

    monkeypatch.setattr(engine, "ask", ask)
    site = Site(fleet(services=WORKER), engine.host, engine, Events().report)
    assert check_containers(site, [instance("worker", 2)]) == []
    assert asked == [({}, 1)]


class Journal:
    """A keeper that only remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, event: str, **fields: object) -> None:
        self.lines.append(f"{event} {json.dumps(fields, sort_keys=True)}")


class Engine(ComposeEngine):
    """Tells the facts of a table, and remembers what it is asked to do."""

    def __init__(self, *facts: Facts) -> None:
        super().__init__(FakeHost({"*": ""}), fleet())
        self.answers, self.done = list(facts), list[str]()

    def facts(self) -> Facts:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def activate(self, release_id: str) -> None:
        self.done.append(f"activate {release_id}")

    def retire(self, instances: object) -> None:
        assert isinstance(instances, list)
        self.done.append("retire " + " ".join(one.name for one in instances))


def _repair(*facts: Facts, files: dict[str, str] | None = None) -> tuple[list[str], list[str], list[str]]:
    engine, events, journal = Engine(*facts), Events(), Journal()
    assert isinstance(engine.host, FakeHost)
    engine.host.files.update(files or {})
    repair.repair(Site(fleet(), engine.host, engine, events.report), journal)  # type: ignore[arg-type]
    return engine.done, journal.lines, events.texts(Warned)


CLEAN = _facts(instances=SERVING, active=ACTIVE, active_release="r1", files_release="r1", release=RELEASE)
SAID = ["an earlier operation did not end; repairing"]


@pytest.mark.parametrize(
    "facts",
    [CLEAN, _facts(), _facts(active_release="none", active={"core": ("core",)})],
    ids=["live", "bare", "edge only"],
)
def test_where_nothing_is_half_done_nothing_is_done(facts: Facts) -> None:
    assert _repair(facts) == ([], [], [])


def test_containers_that_serve_nobody_are_removed() -> None:
    facts = _facts(instances=(*SERVING, STRAY), active=ACTIVE, active_release="r1", files_release="r1", release=RELEASE)
    assert _repair(facts) == (
        ["activate r1", "retire fleet-core-2"], ['repair {"removed": ["fleet-core-2"]}'], SAID,
    )  # fmt: skip


def test_files_of_a_release_that_never_went_live_are_replaced() -> None:
    facts = _facts(instances=SERVING, active=ACTIVE, active_release="r1", files_release="r2", release=RELEASE)
    assert _repair(facts) == (["activate r1"], [], SAID)


SWITCHED = _facts(
    instances=(*SERVING, STRAY), active={"core": ("fleet-core-2",), "web-app": ("fleet-web-app-1",)},
    active_release="r2", files_release="r2", release=RELEASE,
)  # fmt: skip


def test_a_switch_that_was_never_verified_is_taken_back() -> None:
    back = _facts(instances=(*SERVING, STRAY), active=ACTIVE, active_release="r1", files_release="r2", release=RELEASE)
    done, lines, said = _repair(SWITCHED, back)
    assert (done, said) == (["activate r1", "retire fleet-core-2"], SAID)
    assert lines == ['repair {"switched_back": "r2"}', 'repair {"removed": ["fleet-core-2"]}']


RESTORING = replace(CLEAN, restoring={"set": "s1", "next": "fleet_restored_1", "kept": "fleet_before_1"})


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("state before\n", "a restore of set s1 did not end; the live database is as it was"),
        (
            "state swapped\nunhealthy\n",
            "a restore of set s1 did not end; its database is live: inv restore.undo brings back the one from before; "
            "the application does not answer: the maintenance page stays",
        ),
    ],
)
def test_a_restore_that_did_not_end_is_brought_to_one(output: str, said: str) -> None:
    engine, events, journal = Engine(RESTORING), Events(), Journal()
    engine.host = FakeHost({re.compile("swap.lock"): output, "*": ""})
    repair.repair(Site(fleet(), engine.host, engine, events.report), journal)  # type: ignore[arg-type]
    assert events.texts(Warned) == [*SAID, said]
    assert journal.lines == ['repair {"restore": "a restore of set s1"}']


def test_what_is_half_done_is_named() -> None:
    assert repair.needs_repair(fleet(), RESTORING)
    assert repair.remedy(fleet(), RESTORING).startswith("a restore of set s1: inv deploy.abort brings it to an end")
    assert repair.remedy(fleet(), SWITCHED) == "inv deploy.resume goes on, inv deploy.abort takes it back"


def test_files_of_the_edge_that_were_cut_off_half_way_make_way_for_those_from_before() -> None:
    kept = replace(CLEAN, edge_kept=True)
    engine = Engine(kept, CLEAN)
    engine.host = host = FakeHost({re.compile("kill -HUP"): [nginx.REFUSED, "1 2"], "*": ""})
    repair.repair(Site(fleet(), host, engine, Events().report), Journal())  # type: ignore[arg-type]
    told = ("kill -HUP", "/srv/fleet/state/edge.before", 'rm -rf "$1/state/edge.before"')
    done = [next((one for one in reversed(told) if one in entry), "") for entry in host.transcript]
    assert [one for one in done if one] == ["kill -HUP", told[1], "kill -HUP", told[2], told[2]]


def test_after_a_reload_that_took_its_time_the_host_is_looked_at_again() -> None:
    engine = Engine(replace(CLEAN, edge_kept=True), replace(CLEAN, edge_kept=True, clock=1061.0))
    engine.host = host = FakeHost({re.compile("kill -HUP"): "1 2", "*": ""})
    facts = repair.repair(Site(fleet(), host, engine, Events().report), Journal())  # type: ignore[arg-type]
    assert facts.clock == 1061.0


def test_a_release_that_was_recorded_stays() -> None:
    second = Release("r2", "v2", {})
    after = _facts(instances=(*SERVING, STRAY), active=SWITCHED.active, active_release="r2", files_release="r2",
                   release=second)  # fmt: skip
    done, lines, _ = _repair(SWITCHED, after, files={"/srv/fleet/releases/r2/manifest.json": second.to_json()})
    assert done == ["activate r2", "retire fleet-core-1"]
    assert lines[0] == 'repair {"recorded": "r2"}'
