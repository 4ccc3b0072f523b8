"""The Compose file as delivered: what every container of it may not do. Exceptions stand here with their reason."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose/docker-compose.production.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# It reads the files of every owner, and no other user could be given that.
ROOT_USERS = {"backup": ["DAC_READ_SEARCH"]}
REACHED = {
    # The edge's ports are in one of these two.
    "edge": {"nginx"},
    "edge6": set(),
    "web": {"nginx", "backend", "frontend-client", "frontend-partner", "frontend-driver", "frontend-internal"},
    "data": {"postgres", "redis", "backend", "backup", "wal-receiver"},
    "egress": {"backend", "certbot", "backup"},
}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_a_privilege(name: str) -> None:
    body = SERVICES[name]
    assert body["cap_drop"] == ["ALL"]
    assert body.get("cap_add", []) == ROOT_USERS.get(name, [])
    assert body["security_opt"] == ["no-new-privileges:true"]
    assert body["read_only"] is True
    assert not {"privileged", "network_mode", "pid", "ipc", "userns_mode", "devices", "cgroup_parent"} & set(body)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_user_of_its_own(name: str) -> None:
    user = (
        SERVICES[name]["user"].rpartition(":-")[2].rstrip("}")
        if ":-" in SERVICES[name]["user"]
        else SERVICES[name]["user"]
    )
    assert (user.split(":")[0] in ("0", "root")) == (name in ROOT_USERS)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_limited(name: str) -> None:
    body = SERVICES[name]
    variable = name.upper().replace("-", "_")
    for key, suffix in (("mem_limit", "MEMORY"), ("cpus", "CPUS"), ("pids_limit", "PIDS")):
        assert body[key].startswith(f"${{{variable}_{suffix}:-"), key
    assert body["logging"]["options"].keys() == {"max-size", "max-file"}


def test_each_network_has_its_members_and_only_those_with_a_way_out_have_one() -> None:
    members = {one: [name.removeprefix("${EDGE_NETWORK:-").rstrip("}") for name in body["networks"]]
               for one, body in SERVICES.items()}  # fmt: skip
    found = {name: {one for one, there in members.items() if name in there} for name in COMPOSE["networks"]}
    assert found == REACHED
    inner = {name for name, body in COMPOSE["networks"].items() if body.get("internal")}
    assert inner == {"web", "data"}


def test_only_consumers_of_a_secret_are_in_the_group_that_may_read_them() -> None:
    reading = {name for name, body in SERVICES.items() if body.get("secrets")}
    grouped = {
        name for name, body in SERVICES.items()
        if "6400" in body.get("group_add", []) or body["user"].startswith("6400")
    }  # fmt: skip
    assert grouped == reading


def test_nobody_is_given_the_engine_or_the_hosts_directories() -> None:
    for name, body in SERVICES.items():
        for mount in body.get("volumes", []):
            source = mount.split(":")[0] if not mount.startswith("${") else "./backups"
            assert "docker.sock" not in mount, name
            assert not source.startswith("/"), f"{name} mounts {source}"
