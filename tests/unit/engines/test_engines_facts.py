"""What is read out of the facts script's text."""

from pathlib import Path

import pytest
from unit_support import execute, fake_program

from flotteq_tasks.commands.facts import read_facts
from flotteq_tasks.engines.compose.facts import parse_active, parse_facts, uptime_seconds
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release

TEXT = (Path(__file__).parent / "facts_host.txt").read_text()
CORE = "r.example:5000/team/core:v1@sha256:ab"


def test_everything_of_a_host() -> None:
    assert parse_facts(TEXT) == Facts(
        engine_version="28.5.2+dfsg4",
        compose_version="2.40.3-3",
        disk_free=67123801088,
        disk_total=270553174016,
        inodes_free=16109924,
        memory_free=23219148 * 1024,
        memory_total=24684084 * 1024,
        clock=1795429200.0,
        listening=frozenset({22, 41167, 443}),
        volumes=frozenset({"9be827b549e612772b351816b02c8738e93fce606494d4a1a70c6a7150e671c5", "fleet_store_data"}),
        own_volumes=frozenset({"fleet_store_data"}),
        owners={"fleet_store_data": "999:999"},
        instances=(
            Instance("da57", "fleet-core-5", "core", CORE, "running", "healthy", "2026-11-23T10:16:14.512497176Z", 2,
                     "b8e5", version="v1", networks=("fleet_data", "fleet_web")),
            Instance("81ac", "fleet-migrate", "core", "core:v1", "exited", "", "2026-11-23T10:16:14Z", 0, "",
                     exit_code=137, oom_killed=True, oneoff=True),
            Instance("c891", "odd", "", "sha256:ff", "created", "", "0001-01-01T00:00:00Z", 0, ""),
        ),
        release=Release("20261123T101610Z-v1", "v1", {"core": CORE}),
        active={"core": ("fleet-core-5", "fleet-core-6"), "web-app": ("web-app",)},
        active_release="20261123T101610Z-v1",
        files_release="20261123T101610Z-v1",
        certificates={
            "current": "rel-20261123T100000Z",
            "names/api.fleet.example/current": "rel-20261124T100000Z",
        },
        secrets={"db_password": "0123456789ab", "mail_password": "ffff"},
        scale={"core": 2},
    )  # fmt: skip


def test_a_host_that_tells_nothing_has_no_facts() -> None:
    assert parse_facts("") == Facts(inodes_free=1 << 40)


def test_the_script_run_on_this_machine_can_be_read(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "docker", "echo 'sh: 1: docker: not found' >&2; exit 127")
    facts = parse_facts(execute(read_facts(str(tmp_path), "fleet"), path=tmp_path / "bin").stdout)
    assert facts.disk_total >= facts.disk_free > 0
    assert facts.memory_total >= facts.memory_free > 0
    assert facts.inodes_free > 0 and facts.clock > 1.7e9
    assert (facts.engine_version, facts.instances, facts.release) == ("", (), None)


def test_the_script_finds_release_secrets_scale_and_upstreams(tmp_path: Path) -> None:
    for name, text in {
        "state/current.json": '{"id": "r1", "version": "v1", "images": {}}',
        "state/scale.json": '{"core": 3}\n',
        ".env": "A=1\nFLOTTEQ_RELEASE=r1\n",
        "nginx/upstreams/active.conf": "# release r1\nupstream core {\n    server a-1:80;\n}\n",
        "secrets/db_password.0123": "canary",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "secrets" / "db_password").symlink_to("db_password.0123")
    for place in ("certs", "certs/names", "certs/names/a.example", "certs/names/b.example"):
        (tmp_path / place).mkdir()
    for place in ("certs", "certs/names/a.example"):
        (tmp_path / place / "current").symlink_to("rel-7")
    fake_program(tmp_path / "bin", "docker", "exit 1")
    text = execute(read_facts(str(tmp_path), "fleet"), path=tmp_path / "bin").stdout
    facts = parse_facts(text)
    assert facts.release == Release("r1", "v1", {})
    assert (facts.scale, facts.files_release, facts.active_release) == ({"core": 3}, "r1", "r1")
    assert (facts.active, facts.secrets, facts.certificates) == (
        {"core": ("a-1",)}, {"db_password": "0123"},
        {"current": "rel-7", "names/a.example/current": "rel-7"},
    )  # fmt: skip
    assert "canary" not in text


VOLUMES = """
fleet_labelled =fleet =
fleet_composed = =fleet
fleet_by_hand = =
fleet_old_name = =production
fleet_staging_own_after_all =fleet =
fleet_staging_labelled =fleet_staging =
fleet_staging_composed = =fleet_staging
fleet_staging_by_hand = =
fleet_test_by_hand = =
other_labelled =other =
ab12cd = =
"""


def test_volumes_of_a_project_whose_name_begins_alike_are_not_its_own(tmp_path: Path) -> None:
    lines = "".join(f"{line} {tmp_path}/a b\n" for line in VOLUMES.strip().splitlines())
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "file").touch()
    (tmp_path / "volumes").write_text(lines)
    listed = "printf '=\\n=fleet_test\\n=fleet\\n'"
    answer = f"case $1 in volume) cat {tmp_path}/volumes ;; ps) {listed} ;; *) exit 1 ;; esac"
    fake_program(tmp_path / "bin", "docker", answer)
    facts = parse_facts(execute(read_facts(str(tmp_path), "fleet"), path=tmp_path / "bin").stdout)
    own = {"labelled", "composed", "by_hand", "old_name", "staging_own_after_all"}
    assert facts.own_volumes == {f"fleet_{one}" for one in own}
    assert set(facts.owners) == facts.own_volumes
    assert len(facts.volumes) == 11


@pytest.mark.parametrize(
    ("section", "said", "version", "error"),
    [
        ("engine", "26.1.5+dfsg1", "26.1.5+dfsg1", ""),
        ("engine", "WARNING: something\n26.1.5", "26.1.5", ""),
        ("engine", "Cannot connect to the Docker daemon", "", "Cannot connect to the Docker daemon"),
        ("engine", "sh: 1: docker: not found", "", "sh: 1: docker: not found"),
        ("engine", "", "", ""),
        ("compose", "v2.40.3", "2.40.3", ""),
        (
            "compose",
            "unknown flag: --short\n\nUsage:  docker [OPTIONS]\n\nRun 'docker --help' for more information",
            "",
            "unknown flag: --short",
        ),
    ],
)
def test_versions_and_what_is_said_instead(section: str, said: str, version: str, error: str) -> None:
    facts = parse_facts(f"\n@@ {section}\n{said}\n")
    field = "docker" if section == "engine" else "compose"
    assert (getattr(facts, f"{section}_version"), getattr(facts, f"{field}_error")) == (version, error)


@pytest.mark.parametrize(
    ("text", "active"),
    [
        ("", {}),
        ("upstream a {\n}\n", {"a": ()}),
        ("upstream a {\n    server x-1:80;\n}\nupstream b {\n    server y-1:80 resolve;\n    server y-2:81;\n}\n",
         {"a": ("x-1",), "b": ("y-1", "y-2")}),
        ("# server z:1\nupstream a {\n    # server old:80;\n    server new:80;\n}\n", {"a": ("new",)}),
    ],
)  # fmt: skip
def test_upstreams_that_serve(text: str, active: dict[str, tuple[str, ...]]) -> None:
    assert parse_active(text) == active


def test_the_upstreams_as_they_are_rendered_can_be_read() -> None:
    golden = Path(__file__).parents[1] / "rendering" / "golden" / "upstreams" / "active.conf"
    assert parse_active(golden.read_text()) == {
        "core": ("fleet-core-7", "fleet-core-8"), "home": ("home",), "shop": ("fleet-shop-2",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("started", "now", "seconds"),
    [
        ("1970-01-01T00:00:10.512497176Z", 20.0, 9.487503),
        ("1970-01-01T00:00:10Z", 70.0, 60.0),
        ("1970-01-01T01:00:10+01:00", 20.0, 10.0),
        ("1970-01-01T00:00:10.5Z", 5.0, 0.0),
        ("0001-01-01T00:00:00Z", 0.0, 62135596800.0),
    ],
)
def test_seconds_since_a_start(started: str, now: float, seconds: float) -> None:
    assert uptime_seconds(started, now) == pytest.approx(seconds)
