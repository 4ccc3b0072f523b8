"""Rules for the Compose file, on what ``docker compose config --format json`` says."""
# ruff: noqa: E501 - messages are compared whole, one case a line

from typing import Any

import pytest

from flotteq_tasks.settings.checks import check_compose

FILE = "compose/docker-compose.production.yml"


def service(**more: Any) -> dict[str, Any]:
    return {"image": "a:1", "healthcheck": {"test": ["CMD", "true"]}} | more


def bind(source: str) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": "/x"}


@pytest.fixture
def compose() -> dict[str, Any]:
    return {
        "name": "flotteq",
        "services": {
            "postgres": service(volumes=[{"type": "volume", "source": "postgres_data", "target": "/data"}]),
            "redis": service(),
            "backend": service(volumes=[bind("/opt/flotteq/entrypoint")]),
            "frontend-client": service(),
            "nginx": service(ports=[{"target": 80, "published": "80"}], volumes=[bind("/opt/flotteq/nginx.d")]),
        },
        "volumes": {"postgres_data": {"name": "flotteq_postgres_data", "external": True}},
    }


def test_right(project, compose):
    assert check_compose(project.load(), compose) == []


@pytest.mark.parametrize(
    ("name", "more", "line"),
    [
        ("postgres", {"ports": [{"target": 5432, "published": "5432"}]}, "services.postgres.ports: would publish postgres on port 5432 of the host: only nginx may have ports"),
        ("postgres", {"ports": [{"target": 5432}]}, "services.postgres.ports: would publish postgres on a random port (for 5432) of the host: only nginx may have ports"),
        ("backend", {"ports": [{"target": 1, "published": "1", "host_ip": "127.0.0.1"}]}, "services.backend.ports: would publish backend on port 1 of the host: only nginx may have ports"),
        ("redis", {"network_mode": "host"}, "services.redis.network_mode: would publish redis on the host: only nginx may have ports"),
        ("backend", {"container_name": "api"}, "services.backend.container_name: remove it: a release runs beside the one before, and a name can only be used once"),
        ("backend", {"healthcheck": None}, "services.backend.healthcheck: is missing: a deploy waits for it"),
        ("backend", {"healthcheck": {"disable": True, "test": ["CMD", "true"]}}, "services.backend.healthcheck: is missing: a deploy waits for it"),
        ("redis", {"healthcheck": {"test": ["NONE"]}}, "services.redis.healthcheck: is missing: a deploy waits for it"),
        ("nginx", {"volumes": [bind("/opt/flotteq/my.conf")]}, "services.nginx.volumes[0]: mounts the single file ./my.conf: a replaced file stays old inside, mount its directory"),
        ("nginx", {"volumes": [bind("/x/conf.d"), bind("/x/nginx.conf")]}, "services.nginx.volumes[1]: mounts the single file /x/nginx.conf: a replaced file stays old inside, mount its directory"),
    ],
)  # fmt: skip
def test_broken_rule(project, compose, name, more, line):
    compose["services"][name] |= more
    assert check_compose(project.load(), compose) == [f"{FILE}: {line}"]


def test_http3_needs_its_port(project, compose):
    project.replace("[secrets]", "[edge]\nhttp3 = true\n[secrets]")
    line = 'services.nginx.ports: edge.http3 needs UDP, too: add "443:443/udp"'
    assert check_compose(project.load(), compose) == [f"{FILE}: {line}"]
    compose["services"]["nginx"]["ports"].append({"target": 443, "published": "443", "protocol": "udp"})
    assert check_compose(project.load(), compose) == []


def test_ipv6_needs_a_network_that_has_it(project, compose):
    project.replace("[secrets]", '[edge]\nipv6_subnet = "fd00:1::/64"\n[secrets]')
    compose["networks"] = {"edge": {"name": "e"}, "edge6": {"name": "e6", "enable_ipv6": True}}
    compose["services"]["nginx"]["networks"] = {"edge": None}
    line = 'services.nginx.networks: none has enable_ipv6, as edge.ipv6_subnet wants: "${EDGE_NETWORK:-edge}"'
    assert check_compose(project.load(), compose) == [f"{FILE}: {line}"]
    compose["services"]["nginx"]["networks"] = {"edge6": None}
    assert check_compose(project.load(), compose) == []


def test_a_job_needs_a_profile_and_no_healthcheck(project, compose):
    project.replace("[secrets]", '[services.keeper]\nkind = "job"\nimage = "k:1"\n[secrets]')
    compose["services"]["keeper"] = {"image": "k:1", "profiles": ["ops"]}
    assert check_compose(project.load(), compose) == []
    del compose["services"]["keeper"]["profiles"]
    (line,) = check_compose(project.load(), compose)
    assert line.startswith(f"{FILE}: services.keeper.profiles: is missing")


@pytest.mark.parametrize("name", ["a.sh", "a.pem", "a.yml", "a.json", "prod.env", ".env", ".env.production"])
def test_single_files(project, compose, name):
    compose["services"]["redis"]["volumes"] = [bind(f"/opt/flotteq/{name}")]
    assert len(check_compose(project.load(), compose)) == 1
    compose["services"]["redis"]["volumes"] = [bind(f"/opt/flotteq/secrets/{name}")]
    assert check_compose(project.load(), compose) == []


def test_names(project, compose):
    compose["name"] = "other"
    compose["services"]["frontent-client"] = compose["services"].pop("frontend-client")
    del compose["volumes"]["postgres_data"]["name"]
    assert check_compose(project.load(), compose) == [
        f'{FILE}: name: is "other", flotteq.toml has project.name = "flotteq"',
        f"{FILE}: services: frontend-client is missing, flotteq.toml has services.frontend-client,"
        ' did you mean "frontent-client"?',
        f'{FILE}: services.frontent-client: flotteq.toml has no such service, did you mean "frontend-client"?',
        f"{FILE}: volumes.postgres_data.name: is missing: without it another project name means another, empty volume",
    ]


def test_stateful_and_edge_may_have_a_container_name(project, compose):
    compose["services"]["postgres"]["container_name"] = "db"
    compose["services"]["nginx"]["container_name"] = "edge"
    assert check_compose(project.load(), compose) == []


def test_empty_file(project):
    lines = check_compose(project.load(), {})
    assert len(lines) == 6
