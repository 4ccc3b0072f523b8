"""The Compose engine against a scripted host."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from unit_support import DIGEST, fleet, instance

from flotteq_tasks.commands import rollout, waiting
from flotteq_tasks.commands.batch import together
from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.facts import read_containers, read_facts
from flotteq_tasks.commands.shell import Command, Raw
from flotteq_tasks.engines.base import Change, Image, Staged
from flotteq_tasks.engines.compose import files
from flotteq_tasks.engines.compose.engine import RESOLVED, ComposeEngine, _image
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, PreflightFailed, SettingsError, Unhealthy
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import Acme, Project, Settings

FACTS = str(read_facts("/srv/fleet", "fleet"))
CONTAINERS = str(read_containers("fleet"))
BASE = (
    "docker compose --project-name fleet --project-directory /srv/fleet --env-file /srv/fleet/.env "
    "--file /srv/fleet/docker-compose.production.yml --ansi never --progress plain"
)
OTHER = "sha256:" + "b" * 64


def _facts(*instances: Instance) -> str:
    lines = [
        json.dumps(
            {
                "id": one.id, "name": f"/{one.name}", "image": one.image, "state": one.state, "health": one.health,
                "started": one.started, "restarts": one.restarts, "exit_code": 0, "oom_killed": False,
                "labels": {
                    "com.docker.compose.service": one.service, "com.docker.compose.config-hash": one.config_hash,
                    "com.docker.compose.oneoff": str(one.oneoff),
                },
            }
        )
        for one in instances
    ]  # fmt: skip
    return "@@ containers\n" + "\n".join(lines) + "\n"


def _engine(script: dict[object, object], settings: Settings | None = None) -> ComposeEngine:
    return ComposeEngine(FakeHost(script), settings or fleet())


def _host(engine: ComposeEngine) -> FakeHost:
    assert isinstance(engine.host, FakeHost)
    return engine.host


# --- pinning


@pytest.mark.parametrize(
    ("reference", "digests", "pinned"),
    [
        ("r:5000/team/core:v1", [f"r:5000/team/core@{DIGEST}"], f"r:5000/team/core:v1@{DIGEST}"),
        ("r:5000/core", [f"r:5000/core@{DIGEST}"], f"r:5000/core@{DIGEST}"),
        ("nginx:1.30", [f"other/nginx@{OTHER}", f"nginx@{DIGEST}"], f"nginx:1.30@{DIGEST}"),
        ("docker.io/library/nginx:1.30", [f"nginx@{DIGEST}"], f"docker.io/library/nginx:1.30@{DIGEST}"),
        ("docker.io/certbot/certbot:v5", [f"certbot/certbot@{DIGEST}"], f"docker.io/certbot/certbot:v5@{DIGEST}"),
        ("core:v1", [], "sha256:image"),
        ("core:v1", [f"elsewhere/core@{DIGEST}"], "sha256:image"),
        (f"core:v1@{DIGEST}", [f"core@{DIGEST}", f"core@{OTHER}"], f"core:v1@{DIGEST}"),
        (f"core:v1@{DIGEST}", [f"core@{OTHER}"], f"core:v1@{DIGEST}"),
    ],
    ids=["registry", "no tag", "several names", "hub", "hub's user", "never pushed", "other registry", "as asked",
         "as asked, the host knows another"],
)  # fmt: skip
def test_an_image_is_pinned_by_the_digest_of_its_own_repository(
    reference: str, digests: list[str], pinned: str
) -> None:
    assert _image(reference, {"id": "sha256:image", "digests": digests}, "?").pinned == pinned


def test_an_image_tells_its_size_and_how_it_starts() -> None:
    raw = {"id": "i", "digests": None, "size": 7, "entrypoint": ["a"], "cmd": ["b", "c"]}
    assert _image("x:1", raw, {"sha256:a": 5}) == Image(
        "x:1", "i", 7, layers={"sha256:a": 5}, entrypoint=("a",), cmd=("b", "c")
    )


def test_an_image_without_entrypoint_and_command() -> None:
    raw = {"id": "i", "digests": [], "size": None, "entrypoint": None, "cmd": None}
    assert _image("x:1", raw, None) == Image("x:1", "i", 0, layers=None)


# --- fetching


def _fetch(*lines: str, references: dict[str, str] | None = None) -> dict[str, Image]:
    wanted = references or {"core": "r/core:v1", "web-app": "r/web:v1", "store": "postgres:15"}
    command = str(rollout.fetch(sorted(set(wanted.values())), limit=900))
    return _engine({command: "\n".join(lines) + "\n"}).fetch(wanted)


def _ok(reference: str) -> str:
    return f"image {reference} " + json.dumps({"id": "i", "digests": [f"{reference.rpartition(':')[0]}@{DIGEST}"]})


def test_every_service_gets_its_image_and_equal_references_are_asked_for_once() -> None:
    images = _fetch(_ok("r/core:v1"), references={"core": "r/core:v1", "web-app": "r/core:v1"})
    assert {name: image.pinned for name, image in images.items()} == {
        "core": f"r/core:v1@{DIGEST}", "web-app": f"r/core:v1@{DIGEST}",
    }  # fmt: skip


LAYERS = [{"digest": "sha256:" + "a" * 64, "size": 5}, {"digest": "sha256:" + "b" * 64, "size": 7}]


def test_what_had_to_be_fetched_is_told_by_layer() -> None:
    said = f"layers r/core:v1 {'a' * 12} {json.dumps({'layers': LAYERS})}"
    images = _fetch(said, _ok("r/core:v1"), _ok("r/web:v1"), references={"core": "r/core:v1", "web-app": "r/web:v1"})
    assert {name: image.layers for name, image in images.items()} == {"core": {"sha256:" + "a" * 64: 5}, "web-app": {}}


def test_a_list_of_manifests_does_not_tell_what_was_fetched() -> None:
    images = _fetch(f"layers r/core:v1 {'a' * 12} {{}}", _ok("r/core:v1"), references={"core": "r/core:v1"})
    assert images["core"].layers is None


NO_MANIFEST = "Error response from daemon: manifest for r/core:v1 not found: manifest unknown: manifest unknown"


@pytest.mark.parametrize(
    "said",
    [
        NO_MANIFEST,
        "Error response from daemon: manifest unknown",
        "name unknown: repository name not known to registry",
        'failed to resolve reference "r/core:v1": r/core:v1: not found',
    ],
)
def test_a_version_that_is_not_in_the_registry(said: str) -> None:
    with pytest.raises(PreflightFailed) as caught:
        _fetch(f"failed r/core:v1 {said}", f"failed r/web:v1 {said}", _ok("postgres:15"))
    error = caught.value
    assert error.message == ("version v1 of core, web-app is not in the registry registry.example; nothing was changed")
    assert error.hint == "inv build --version v1 && inv push --version v1"
    assert error.details == f"r/core:v1: {said}\nr/web:v1: {said}"


@pytest.mark.parametrize(
    "said",
    [
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        'error getting credentials - err: exec: "docker-credential-desktop": executable file not found in $PATH',
        "pull access denied for r/core, repository does not exist or may require 'docker login'",
        "dial tcp: lookup r: no such host",
        "",
    ],
)
def test_a_registry_that_cannot_be_asked_is_not_a_missing_version(said: str) -> None:
    with pytest.raises(PreflightFailed) as caught:
        _fetch(f"failed r/core:v1 {said}", _ok("r/web:v1"), _ok("postgres:15"))
    assert caught.value.message == "images of core could not be fetched; nothing was changed"
    assert caught.value.hint == "is the registry reachable from the host, and is it logged in? `inv doctor`"


def test_a_third_party_image_that_is_missing_cannot_be_built_here() -> None:
    said = "manifest for postgres:15 not found: manifest unknown"
    with pytest.raises(PreflightFailed, match=r"^images of store could not be fetched; nothing was changed$"):
        _fetch(_ok("r/core:v1"), _ok("r/web:v1"), f"failed postgres:15 {said}")


def test_two_different_causes_are_not_called_a_missing_version() -> None:
    with pytest.raises(PreflightFailed, match=r"^images of core, web-app could not be fetched; nothing was changed$"):
        _fetch(f"failed r/core:v1 {NO_MANIFEST}", "failed r/web:v1 unexpected EOF", _ok("postgres:15"))


# --- what differs

IMAGES = {
    "store": "postgres:15", "cache": "redis:7", "core": "core:v2", "web-app": "web:v1", "front": "n", "certbot": "c",
}  # fmt: skip
RUNNING = tuple(instance(name, image=image) for name, image in IMAGES.items())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"image": "core:v1"}, "image"),
        ({"config_hash": "old"}, "configuration"),
        ({"image": "core:v1", "config_hash": "old"}, "image"),
        ({"state": "exited"}, "not running"),
        ({"oneoff": True}, "not running"),
        ({"health": "unhealthy"}, None),
    ],
)
def test_why_a_service_is_replaced(changed: dict[str, object], reason: str | None) -> None:
    there = [instance("core", **{"image": "core:v2", **changed}) if one.service == "core" else one for one in RUNNING]
    found = _engine({}).changes(_staged(), Facts(instances=tuple(there)))
    assert found == ([Change("core", reason)] if reason else [])


def _staged() -> Staged:
    return Staged(Release("r2", "v2", IMAGES), {}, dict.fromkeys(IMAGES, "hash-1"))


def test_one_old_container_among_new_ones_is_a_change() -> None:
    there = (*RUNNING, instance("core", 2, image="core:v1"))
    assert _engine({}).changes(_staged(), Facts(instances=there)) == [Change("core", "image")]


# --- starting and stopping


WAIT = str(waiting.wait_healthy(["id-core-1"], limit=5))
DIAGNOSE = str(rollout.diagnose("id-core-1", lines=50))


def _answer(code: int, out: str) -> Done:
    return Done(Command(""), code, out=out)


UP = f"{BASE} up --detach --no-deps --no-build --no-recreate --scale=core=2 core"
WAIT_NEW = str(waiting.wait_new("fleet", ["core"], ["id-core-1"], limit=5))
BEFORE = Facts(instances=(instance("core", 1),))


def test_new_containers_are_started_beside_the_old_ones_and_found_by_id() -> None:
    after = _facts(instance("core", 1), instance("core", 2), instance("store", 1))
    engine = _engine({UP: "", WAIT_NEW: "", CONTAINERS: after})
    assert [one.id for one in engine.start_beside({"core": 1}, BEFORE)] == ["id-core-2"]
    assert _host(engine).transcript == [UP, WAIT_NEW, CONTAINERS]


def test_a_start_that_fails_is_an_error_of_its_own() -> None:
    with pytest.raises(CommandFailed, match="exit code 1"):
        _engine({UP: 1}).start_beside({"core": 1}, BEFORE)


def test_a_new_container_that_does_not_become_healthy_is_diagnosed() -> None:
    engine = _engine({
        UP: "", WAIT_NEW: _answer(3, "id-core-2 exited - 0 1 false\n"),
        FACTS: _facts(instance("core", 1), instance("core", 2, state="exited")),
        str(rollout.diagnose("id-core-2", lines=50)): '{"Status":"exited","ExitCode":1}\nlog line\n',
    })  # fmt: skip
    with pytest.raises(Unhealthy, match="core: its process ended with exit code 1"):
        engine.start_beside({"core": 1}, BEFORE)


def test_services_are_started_in_place_and_waited_for() -> None:
    engine = _engine({FACTS: _facts(instance("store"), instance("core"), instance("store", 2, oneoff=True)), "*": ""})
    engine.start(["store"])
    assert _host(engine).transcript == [
        f"{BASE} up --detach --no-deps --no-build --no-recreate store",
        FACTS,
        str(waiting.wait_healthy(["id-store-1"], limit=5)),
    ]


def test_services_are_replaced_only_when_it_is_said() -> None:
    engine = _engine({FACTS: _facts(instance("store")), "*": ""})
    engine.start(["store"], replace=True)
    assert _host(engine).transcript[0] == f"{BASE} up --detach --no-deps --no-build store"


@pytest.mark.parametrize("call", ["wait", "retire"])
def test_nothing_is_asked_of_the_host_for_no_containers(call: str) -> None:
    engine = _engine({})
    engine.wait_healthy([], limit=5) if call == "wait" else engine.retire([])
    assert _host(engine).transcript == []


@pytest.mark.parametrize(
    ("waited", "message"),
    [
        (_answer(3, "id-core-1 exited - 0 1 false\n"), "core: its process ended with exit code 1"),
        (_answer(3, "id-core-1 running starting 2 0 false\n"), "core: its process ended with exit code 1"),
        (_answer(4, "id-core-1 running starting 0 0 false\n"), "core: not healthy within 5 s"),
    ],
)
def test_a_container_that_does_not_become_healthy_is_diagnosed(waited: Done, message: str) -> None:
    engine = _engine({WAIT: waited, DIAGNOSE: '{"Status":"exited","ExitCode":1}\nlog line\n'})
    with pytest.raises(Unhealthy) as caught:
        engine.wait_healthy([instance("core")], limit=5)
    assert caught.value.message == message
    assert caught.value.details.endswith("last 1 log lines:\nlog line")


def test_restarts_are_passed_on_to_the_diagnosis() -> None:
    waited = _answer(3, "id-core-1 running starting 2 0 false\n")
    engine = _engine({WAIT: waited, DIAGNOSE: '{"Status":"running"}\n'})
    with pytest.raises(Unhealthy, match=r"^core: its process ended and was started again$"):
        engine.wait_healthy([instance("core")], limit=5)


def test_containers_that_vanish_during_the_wait_are_an_error() -> None:
    with pytest.raises(CommandFailed):
        _engine({WAIT: 3}).wait_healthy([instance("core")], limit=5)


MIGRATE = Command(
    Raw(
        f"{BASE} run --rm --no-deps --no-TTY --quiet-pull --name fleet-migrate "
        "--entrypoint /opt/entrypoint/secrets-to-env core migrate up"
    )
)
ALONE = f"* flotteq fleet-migrate {MIGRATE}"
REMOVE = "docker rm --force fleet-migrate"


def test_a_command_runs_once_in_a_container_of_its_own() -> None:
    engine = _engine({ALONE: "done"})
    assert engine.run_once("core", ["migrate", "up"], name="fleet-migrate", limit=9).out == "done"
    assert len(_host(engine).transcript) == 1


def test_a_one_off_container_whose_command_failed_is_removed() -> None:
    engine = _engine({ALONE: 7, REMOVE: 1})
    with pytest.raises(CommandFailed) as caught:
        engine.run_once("core", ["migrate", "up"], name="fleet-migrate", limit=9)
    assert caught.value.code == 7
    assert _host(engine).transcript[-1] == REMOVE


PROBE = rollout.probe("fleet", "front", ["http://a:1/x", "http://b:1/", "http://c/"])
SETTLED = waiting.wait_healthy(["id-core-1"], limit=5, settle=1)


ADDRESSES = {"a": "http://a:1/x", "b": "http://b:1/", "c": "http://c/"}


def test_addresses_are_asked_from_inside_the_edge() -> None:
    out = 'probe http://a:1/x {"a": 1} 200\nprobe http://b:1/ curl: (7) refused  000\nnoise\n'
    answers, others = _engine({str(PROBE): out, "look": "seen\n"}).ask(ADDRESSES, [], meanwhile=[Command("look")])
    assert answers == {"a": (200, '{"a": 1}'), "b": (0, "curl: (7) refused"), "c": (0, "no answer")}
    assert [one.out for one in others] == ["seen\n"]


def test_a_container_that_died_since_is_diagnosed_instead_of_its_refused_connection() -> None:
    engine = _engine({
        str(SETTLED): lambda command, _: Done(command, 3, out="id-core-1 exited - 0 1 false\n"),
        DIAGNOSE: '{"Status":"exited","ExitCode":1}\nlog line\n',
    })  # fmt: skip
    with pytest.raises(Unhealthy, match="core: its process ended with exit code 1"):
        engine.ask(ADDRESSES, [instance("core")])


def test_what_was_started_together_settles_from_the_moment_it_was_healthy() -> None:
    settled = waiting.wait_healthy(["id-core-2"], limit=5, settle=1, since="123456")
    engine = _engine({
        UP: "", WAIT_NEW: "healthy since 123456\n", CONTAINERS: _facts(instance("core", 1), instance("core", 2)),
        str(settled): "healthy since 123456\n", str(PROBE): "",
    })  # fmt: skip
    engine.ask(ADDRESSES, engine.start_beside({"core": 1}, BEFORE))
    assert str(settled) in _host(engine).transcript


def test_without_an_edge_nothing_can_be_asked() -> None:
    with pytest.raises(FlotteqError, match=r"^fake: the edge is not running$"):
        _engine({str(PROBE): rollout.NO_EDGE, "*": ""}).ask(ADDRESSES, [instance("core")])


def test_volumes_carry_the_project() -> None:
    engine = _engine({"*": ""})
    engine.activate("r2", volumes=["fleet_data"])
    assert _host(engine).transcript[-1] == "docker volume create --label=com.flotteq.project=fleet fleet_data"


# --- files

RELEASE = Release(
    "r2",
    "v2",
    {"core": f"r/core:v2@{DIGEST}", "store": "postgres:15"},
    secrets={"db_password": "0123"},
    replicas={"core": 3},
)
COMMON = """\
CERTBOT_MEMORY=256m
CERTBOT_CPUS=1.0
CERTBOT_PIDS=256
"""
GOLDEN = f"""\
CORS_ORIGIN=https://fleet.example
GREETING='a b $x'
STORE_IMAGE=postgres:15
STORE_MEMORY=256m
STORE_CPUS=1.0
STORE_PIDS=256
CACHE_MEMORY=256m
CACHE_CPUS=1.0
CACHE_PIDS=256
CORE_IMAGE=r/core:v2@{DIGEST}
CORE_MEMORY=256m
CORE_CPUS=1.0
CORE_PIDS=256
CORE_REPLICAS=3
WEB_APP_MEMORY=256m
WEB_APP_CPUS=1.0
WEB_APP_PIDS=256
WEB_APP_REPLICAS=1
FRONT_MEMORY=256m
FRONT_CPUS=1.0
FRONT_PIDS=256
{COMMON}\
DB_PASSWORD_FILE=./secrets/db_password.0123
FLOTTEQ_RELEASE=r2
DB_USER=fleet
DB_NAME=fleet
BACKUP_NAME=fleet-production
BACKUP_DIRECTORY=/var/backups/fleet
BACKUP_FLOOR=512
BACKUP_STALL=120
BACKUP_LIMIT=14400
BACKUP_JOBS=1
BACKUP_WORKERS=0
BACKUP_DUTY=0.25
BACKUP_KEEP='3 7 5 12 2'
ACME_CA_BUNDLE=
"""
ENV = {"CORS_ORIGIN": "https://fleet.example", "GREETING": "a b $x"}


def test_the_whole_env_file_of_a_release() -> None:
    assert files.release_files(fleet(env=ENV), RELEASE)[".env"].content.decode() == GOLDEN


def test_a_private_certificate_authority_is_named() -> None:
    values = files.environment(fleet(acme=Acme(ca_file="ca.pem")), RELEASE)
    assert values["ACME_CA_BUNDLE"] == "/etc/letsencrypt/acme-ca.pem"


def test_ipv6_is_another_network() -> None:
    values = files.environment(fleet(edge=EdgeSettings(ipv6_subnet="fd00:1::/64")), RELEASE)
    assert (values["EDGE_NETWORK"], values["EDGE_IPV6_SUBNET"]) == ("edge6", "fd00:1::/64")


def test_what_the_release_says_wins_over_the_env_file() -> None:
    values = files.environment(fleet(env={"DB_USER": "mallory", "CORE_REPLICAS": "99"}), RELEASE)
    assert (values["DB_USER"], values["CORE_REPLICAS"]) == ("fleet", "3")


def test_the_files_of_a_release_and_their_modes() -> None:
    found = files.release_files(fleet(), RELEASE)
    assert {path: file.mode for path, file in found.items()} == {
        "docker-compose.production.yml": 0o644,
        ".env": 0o640,
        "entrypoint/redis-with-password": 0o755,
        "entrypoint/secrets-to-env": 0o755,
    }


def test_the_delivered_compose_file_is_used_as_it_is() -> None:
    source = Path(__file__).parents[3] / "compose" / "docker-compose.production.yml"
    assert files.release_files(fleet(), RELEASE)["docker-compose.production.yml"].content == source.read_bytes()


def test_the_projects_own_compose_file_wins(tmp_path: Path) -> None:
    own = tmp_path / "stack" / "own.yml"
    (own.parent / "entrypoint").mkdir(parents=True)
    own.write_text("name: own\n")
    (own.parent / "entrypoint" / "start").write_text("#!/bin/sh\n")
    project = Project(name="fleet", domain="fleet.example", compose_file="stack/own.yml")
    found = files.release_files(fleet(tmp_path, project=project), RELEASE)
    assert sorted(found) == [".env", "entrypoint/start", "own.yml"]
    assert found["own.yml"].content == b"name: own\n"


def test_a_compose_file_that_does_not_exist_is_named() -> None:
    project = Project(name="fleet", domain="fleet.example", compose_file="stack/none.yml")
    with pytest.raises(SettingsError, match=r"none\.yml does not exist"):
        files.release_files(fleet(project=project), RELEASE)


ROOT = "/srv/fleet/releases/r2/files"
STAGED = Compose("fleet", "/srv/fleet", "releases/r2/files/docker-compose.production.yml", "releases/r2/files/.env")
RESOLVE = str(together([STAGED.config(), STAGED.hashes()], RESOLVED))


def _resolved(config: str, hashes: str = "", *, code: int = 0, err: str = "") -> str:
    return f"{config}\n{RESOLVED} err\n{err}\n{RESOLVED} {code}\n" + (
        "" if code else f"{hashes}\n{RESOLVED} err\n\n{RESOLVED} 0\n"
    )


READ = {"*--profile ops config *": _resolved('{"name": "fleet"}', "core hash-1\nstore hash-2\n")}


def test_staging_uploads_the_files_beside_the_live_ones_and_records_their_hashes() -> None:
    engine = _engine(READ)
    staged = engine.stage(RELEASE)
    assert _host(engine).transcript == [
        "write /srv/fleet/releases/r2/files/.env",
        "write /srv/fleet/releases/r2/files/docker-compose.production.yml",
        "write /srv/fleet/releases/r2/files/entrypoint/redis-with-password",
        "write /srv/fleet/releases/r2/files/entrypoint/secrets-to-env",
        RESOLVE,
    ]
    content = _host(engine).file("/srv/fleet/releases/r2/files/docker-compose.production.yml").content
    assert staged.release.files["docker-compose.production.yml"] == sha256(content).hexdigest()
    assert (staged.release.id, staged.release.images) == (RELEASE.id, RELEASE.images)
    assert (staged.config, staged.marks) == ({"name": "fleet"}, {"core": "hash-1", "store": "hash-2"})


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"validating {ROOT}/docker-compose.production.yml: services.a is wrong",
         "validating compose/docker-compose.production.yml: services.a is wrong"),
        ("yaml: line 3: did not find expected ','", "yaml: line 3: did not find expected ','"),
    ],
)  # fmt: skip
def test_a_compose_file_that_compose_cannot_read_is_named_as_it_lies_here(
    said: str, shown: str, tmp_path: Path
) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "docker-compose.production.yml").write_text("x: [")
    host = FakeHost({"*--profile ops config *": _resolved("", code=15, err=f"warning\n{said}\n")})
    with pytest.raises(SettingsError) as caught:
        ComposeEngine(host, fleet(tmp_path)).stage(RELEASE)
    error = caught.value
    assert error.message == f"compose/docker-compose.production.yml: Compose cannot read it: {shown}"
    assert error.hint.startswith("edit compose/docker-compose.production.yml;")
    assert error.exit_code == 2 and "/srv/fleet" not in error.message + error.hint + error.details


def test_two_releases_with_the_same_settings_have_the_same_hashes() -> None:
    first, second = (_engine(READ).stage(replace(RELEASE, id=name)).release for name in ("r2", "r3"))
    assert first.files == second.files


def test_the_order_of_secrets_makes_no_other_file() -> None:
    first = replace(RELEASE, secrets={"b": "1", "a": "2"})
    again = Release.from_json(first.to_json())
    assert list(again.secrets) != list(first.secrets)
    assert files.release_files(fleet(), again)[".env"] == files.release_files(fleet(), first)[".env"]


def test_activation_copies_the_staged_files_and_hands_on_what_others_said() -> None:
    engine = _engine({"echo hello": "hello", "*": ""})
    done = engine.activate("r2", then=[Command("echo", "hello")])
    assert _host(engine).transcript[0] == str(rollout.activate("/srv/fleet/releases/r2/files", "/srv/fleet"))
    assert [one.out for one in done] == ["hello"]
