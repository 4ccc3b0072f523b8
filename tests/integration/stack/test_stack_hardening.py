"""No container has a privilege, each reaches only whom it needs: after a restart, and on a host from before, too."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.stack import REPOSITORY, SERVICES, VERSION, Stack, wait_for, without_failure

pytestmark = pytest.mark.stack

QUICK = ("--soak", "0", "--skip-backup", "--skip-migrations")
COMPOSE = "compose/docker-compose.production.yml"
UPLOADS = "/var/lib/docker/volumes/flotteq_uploads_data/_data"

# What the kernel says of every process of a container, not what was asked for.
_PROCESSES = """
for id in $(docker ps --quiet); do
  name=$(docker inspect --format '{{.Name}}' "$id")
  for pid in $(docker top "$id" -eo pid | tail -n +2); do
    # What a healthcheck is to become is runc at first, which drops its rights before it starts the program.
    case $(cat "/proc/$pid/comm" 2>/dev/null) in runc:*) continue ;; esac
    awk -v name="${name#/}" '/^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):/ {found = found " " $1 $2}
      END {print name found}' "/proc/$pid/status" 2>/dev/null || true
  done
done
"""
_RESTART = "docker ps --quiet | xargs docker restart --time 20 >/dev/null"
_OLD_OWNERS = f"""
chown -R 0:0 {UPLOADS} /opt/flotteq/certbot /opt/flotteq/certs
echo old >{UPLOADS}/from-before; chmod 600 {UPLOADS}/from-before
rm -rf /opt/flotteq/cache
docker network disconnect flotteq_web "$(docker ps --quiet --filter label=com.docker.compose.service=nginx)"
"""


@pytest.fixture(scope="module", autouse=True)
def live(stack: Stack) -> None:
    stack.inv("deploy", "--version", VERSION, *QUICK, "--allow-stateful", "--yes").ok()


def test_every_service_comes_back_from_a_restart_without_a_privilege(stack: Stack) -> None:
    """Some start once with too few capabilities, on an empty volume, and never again."""
    before = _health(stack)
    stack.host(_RESTART, timeout=300)
    wait_for(lambda: set(_health(stack).values()) == {"healthy"}, "every container to be healthy", timeout=120)
    assert sorted(_health(stack)) == sorted(before)
    wait_for(lambda: stack.status()["ok"], "the site to answer")
    assert stack.health()["database"] == "connected"


def test_the_kernel_grants_no_process_anything(stack: Stack) -> None:
    lines = [line.split() for line in stack.host(_PROCESSES).out.splitlines()]
    names = {name for name, *_ in lines}
    assert len(names) == len(SERVICES)
    for name, *found in lines:
        values = dict(one.split(":") for one in found)
        assert int(values["CapEff"], 16) == int(values["CapBnd"], 16) == 0, name
        assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2"), name
        assert values["Uid"] != "0", name


def test_every_container_has_its_limits_and_a_root_that_cannot_be_written(stack: Stack) -> None:
    for one in _inspected(stack):
        host = one["HostConfig"]
        assert host["ReadonlyRootfs"], one["Name"]
        assert host["PidsLimit"] > 0 and host["Memory"] > 0 and host["NanoCpus"] > 0, one["Name"]
        assert host["LogConfig"]["Config"].keys() == {"max-size", "max-file"}, one["Name"]
    refused = stack.host(f"docker exec --user 0 {_container(stack, 'backend')} touch /x", check=False)
    assert "Read-only file system" in refused.err


def test_who_shares_no_network_is_not_reached(stack: Stack) -> None:
    store = _address(stack, "postgres", "flotteq_data")
    outside = stack.host("getent hosts registry.flotteq-sandbox").out.split()[0]
    reached = {
        "backend to the database": _reaches(stack, "backend", store, 5432),
        "backend to the outside": _reaches(stack, "backend", outside, 5000),
        "app to the database": _reaches(stack, "frontend-client", store, 5432),
        "app to the database by its name": _reaches(stack, "frontend-client", "postgres", 5432),
        "app to the outside": _reaches(stack, "frontend-client", outside, 5000),
        "edge to the database": _reaches(stack, "nginx", store, 5432),
        "database to the outside": _reaches(stack, "postgres", outside, 5000),
        "cache to the outside": _reaches(stack, "redis", outside, 5000),
    }
    assert [what for what, found in reached.items() if found] == ["backend to the database", "backend to the outside"]


def test_the_audit_finds_nothing_open_and_what_is_opened(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "out.sarif"
    done = stack.inv("audit.security", "--ports", "5432,6379,3000", "--sarif", str(file), "--json")
    found = json.loads(done.out)
    assert [(one["id"], one["found"]) for one in found["checks"] if one["open"]] == []
    done.ok()
    assert {one["id"] for one in found["checks"] if one["accepted"]} >= {"CIS-5.14", "CIS-5.15"}
    results = json.loads(file.read_text())["runs"][0]["results"]
    assert results and all(one["suppressions"] for one in results)

    labels = "--label com.docker.compose.project=flotteq --label com.docker.compose.oneoff=False"
    odd = f"docker run --detach --rm --name odd {labels} --privileged"
    stack.host(f"chmod 444 /opt/flotteq/secrets/smtp_password.*; {odd} --entrypoint sleep nginx:1.30 600")
    try:
        said = stack.inv("audit.security", "--ports", "5432").ended(5).out
    finally:
        stack.host("docker rm --force odd; chmod 440 /opt/flotteq/secrets/smtp_password.*")
    wrong = [line.split()[1] for line in said.splitlines() if line.startswith("!!")]
    assert {"CIS-4.1", "CIS-5.4", "CIS-5.5", "CIS-5.13", "CIS-5.26", "CIS-5.29", "FILES-secrets"} <= set(wrong)


@pytest.fixture
def before_hardening(stack: Stack) -> Iterator[dict[str, str]]:
    """The variable that names a Compose file as it was: one network, capabilities, root where the image wants it."""
    folder = stack.project / "before"
    shutil.copytree(REPOSITORY / "compose/entrypoint", folder / "entrypoint", dirs_exist_ok=True)
    file = folder / Path(COMPOSE).name
    file.write_text(yaml.safe_dump(_softened(yaml.safe_load((REPOSITORY / COMPOSE).read_text()))))
    yield {"FLOTTEQ__PROJECT__COMPOSE_FILE": f"before/{file.name}"}
    shutil.rmtree(folder)


def test_a_host_from_before_moves_over_and_back_without_a_failed_request(
    stack: Stack, before_hardening: dict[str, str]
) -> None:
    stack.inv("deploy", "--version", VERSION, *QUICK, "--allow-stateful", "--yes", variables=before_hardening).ok()
    stack.host(_OLD_OWNERS)
    assert _networks(stack, "postgres") == {"flotteq_network"}
    stores = {name: stack.ids()[f"flotteq-{name}-1"] for name in ("postgres", "redis")}

    said = stack.inv("plan", "--version", VERSION).ended(10)
    assert "postgres joins flotteq_data while it runs" in said.out + said.err
    assert "nginx joins flotteq_web while it runs" in said.out + said.err
    assert "flotteq_uploads_data belongs to 0:0" in said.out + said.err
    assert _networks(stack, "postgres") == {"flotteq_network"}, "a plan changes nothing"

    with without_failure(stack.load(threads=4)):
        stack.inv("deploy", "--version", VERSION, *QUICK).ok()
        # The databases were not replaced, and see nobody any more who does not need them.
        assert {name: stack.ids()[f"flotteq-{name}-1"] for name in stores} == stores
        assert _networks(stack, "postgres") == _networks(stack, "redis") == {"flotteq_data"}
        stack.inv("nginx.upgrade").ok()
    assert _reaches(stack, "backend", "postgres", 5432)
    stack.host(f"docker exec {_container(stack, 'backend')} sh -c 'cat uploads/from-before && rm uploads/from-before'")

    with without_failure(stack.load(threads=4)):
        stack.inv("deploy", "--version", VERSION, *QUICK, variables=before_hardening).ok()
        stack.inv("deploy", "--version", VERSION, *QUICK).ok()
    stack.inv("ssl.renew", "--dry-run").ok()
    stack.inv("deploy", "--version", VERSION, *QUICK, "--allow-stateful", "--yes").ok()
    assert stack.status()["ok"] is True


def _softened(compose: dict[str, Any]) -> dict[str, Any]:
    for name, body in compose["services"].items():
        for key in ("read_only", "cap_drop", "pids_limit"):
            body.pop(key)
        if name not in ("redis", "wal-receiver", "backup"):
            body.pop("user", None)
            body.pop("tmpfs", None)
        if name in ("postgres", "nginx"):
            body.pop("group_add")
        body["networks"] = {"nginx": ["flotteq_network", "edge"], "certbot": ["edge"]}.get(name, ["flotteq_network"])
    compose["services"]["nginx"]["volumes"] = [
        one for one in compose["services"]["nginx"]["volumes"] if not one.startswith("./cache")
    ]
    compose["networks"] = {"flotteq_network": {"name": "flotteq_network"}, "edge": {"name": "flotteq_edge"}}
    return compose


def _health(stack: Stack) -> dict[str, str]:
    return {one["name"]: one["health"] for one in stack.containers()}


def _inspected(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.host("docker ps --quiet | xargs docker inspect").out)
    assert len(found) == len(SERVICES)
    return found


def _container(stack: Stack, service: str) -> str:
    words = f"docker ps --format '{{{{.Names}}}}' --filter label=com.docker.compose.service={service}"
    return stack.host(words).out.split()[0]


def _networks(stack: Stack, service: str) -> set[str]:
    found = json.loads(stack.host(f"docker inspect {_container(stack, service)}").out)[0]
    return set(found["NetworkSettings"]["Networks"])


def _address(stack: Stack, service: str, network: str) -> str:
    found = json.loads(stack.host(f"docker inspect {_container(stack, service)}").out)[0]
    return str(found["NetworkSettings"]["Networks"][network]["IPAddress"])


def _reaches(stack: Stack, service: str, address: str, port: int) -> bool:
    words = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"
    return stack.host(f"docker exec {_container(stack, service)} {words}", check=False).ok
