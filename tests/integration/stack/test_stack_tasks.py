"""Every task of `inv --list` that touches the host, once, on the deployed stack."""

import json
import re
import signal
from pathlib import Path

import pytest
from support.stack import API, DOMAINS, SERVICES, VERSION, Stack, difference, wait_for

pytestmark = pytest.mark.stack


def test_status_is_a_table_for_a_narrow_terminal(stack: Stack) -> None:
    done = stack.inv("status", variables={"COLUMNS": "80"}).ok()
    lines = done.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    rows = {words[0]: words for line in lines if (words := line.split())}
    assert set(SERVICES) <= set(rows)
    assert rows["backend"][-1] == API
    assert re.search(r"^certificate  \d+ days left$", done.out, re.M)
    assert re.search(r"^disk +[\d.]+ GiB free of [\d.]+ GiB$", done.out, re.M)


def test_status_as_one_json_document(stack: Stack) -> None:
    found = json.loads(stack.inv("status", "--json").ok().out)
    assert {key: type(value) for key, value in found.items()}.items() >= {
        "ok": bool, "environment": str, "host": str, "version": str, "release": str, "services": list,
        "certificate_days": float, "disk_free": int, "disk_total": int, "domains": list,
    }.items()  # fmt: skip
    assert [one["service"] for one in found["services"]] == list(SERVICES)
    assert {key: type(value) for key, value in found["services"][0].items()}.items() >= {
        "service": str, "version": str, "replicas": int, "wanted": int, "healthy": int, "uptime": float,
        "restarts": int, "domain": str, "problem": str, "ok": bool,
    }.items()  # fmt: skip
    assert [one["domain"] for one in found["domains"]] == list(DOMAINS.values())
    assert 0 < found["certificate_days"] <= 90


def test_ps_lists_each_container(stack: Stack) -> None:
    assert len(stack.inv("ps").ok().out.splitlines()) == 1 + len(SERVICES)


def test_logs_of_one_service(stack: Stack) -> None:
    stack.get(DOMAINS["frontend-partner"], "/?mark=for-the-log")
    done = stack.inv("logs", "--service", "nginx", "--since", "5m").ok()
    assert "for-the-log" in done.out
    assert "postgres" not in done.out
    assert stack.inv("logs", "--service", "nginx", "--since", "2099-01-01T00:00:00").ok().out.strip() == ""


def test_logs_of_two_services_with_a_number_of_lines(stack: Stack) -> None:
    done = stack.inv("logs", "--service", "postgres", "--service", "redis", "--lines", "2").ok()
    names = {line.split()[0] for line in done.out.splitlines() if "|" in line}
    assert {name.split("-")[0] for name in names} <= {"postgres", "redis"}
    assert 0 < len(done.out.splitlines()) <= 4


def test_logs_follow_until_interrupted(stack: Stack) -> None:
    running = stack.inv.spawn("logs", "--service", "nginx", "--follow", "--lines", "1")
    wait_for(lambda: running.heard() or stack.get(API, "/api/health?beat") is None, "the first line")
    stack.get(API, "/api/health?mark=follow")
    wait_for(lambda: "mark=follow" in running.heard(), "the line of the request")
    running.kill(signal.SIGINT)
    running.wait(30).ended(130)
    wait_for(lambda: "compose logs" not in stack.host("ps axww -o args").out.replace("ps axww", ""), "no orphan")


@pytest.mark.parametrize(
    ("task", "hint"),
    [
        (("logs", "--service", "backnd"), "did you mean backend?"),
        (("stop", "--service", "frontend-drivr", "--yes"), "did you mean frontend-driver?"),
        (("exec", "--service", "ngnix", "--command", "true"), "did you mean nginx?"),
        (("scale", "--service", "bakend", "--replicas", "2"), "did you mean backend?"),
        (("volumes.inspect", "uplods_data"), "did you mean uploads_data?"),
        (("secrets.generate", "--rotate", "redis_pasword", "--yes"), "did you mean redis_password?"),
    ],
)
def test_a_name_that_does_not_exist(stack: Stack, task: tuple[str, ...], hint: str) -> None:
    before = stack.snapshot()
    done = stack.inv(*task).ended(2)
    assert hint in done.err
    assert difference(before, stack.snapshot()) == []


@pytest.mark.parametrize(
    ("service", "replicas", "sentence"),
    [
        ("backend", "0", "--replicas 0: at least 1"),
        ("backend", "-1", "--replicas -1: at least 1"),
        ("backend", "two", "--replicas 'two' is not a whole number"),
        ("postgres", "2", "postgres runs once"),
        ("nginx", "2", "nginx runs once"),
    ],
)
def test_scale_refuses(stack: Stack, service: str, replicas: str, sentence: str) -> None:
    before = stack.ids()
    assert sentence in stack.inv("scale", "--service", service, f"--replicas={replicas}").ended(2).err
    assert stack.ids() == before


def test_stop_start_and_restart_of_one_service(stack: Stack) -> None:
    before, name = stack.ids(), "frontend-partner"
    stack.inv("stop", "--service", name, "--yes").ok()
    status = json.loads(stack.inv("status", "--json").ended(5).out)
    assert [one["service"] for one in status["services"] if not one["ok"]] == [name]
    assert stack.get(DOMAINS["frontend-client"])[0] == 200
    stack.inv("start", "--service", name).ok()
    wait_for(lambda: stack.get(DOMAINS[name])[0] == 200, "the partner's app to answer")
    started = _started(stack, name)
    stack.inv("restart", "--service", name, "--yes").ok()
    assert _started(stack, name) != started
    assert stack.ids() == before
    stack.inv("status").ok()


def test_exec_passes_output_and_exit_code_through(stack: Stack) -> None:
    done = stack.inv("exec", "--service", "backend", "--command", "node -e 'console.log(6*7); process.exit(7)'")
    assert (done.code, done.out.strip()) == (7, "42")


def test_exec_has_the_secrets_of_the_application(stack: Stack) -> None:
    # Compared inside: the value itself is not to be printed.
    script = "process.exit(process.env.JWT_ACCESS_SECRET.length === 43 ? 0 : 1)"
    stack.inv("exec", "--service", "backend", "--command", f'node -e "{script}"').ok()


def test_psql_runs_one_statement(stack: Stack) -> None:
    done = stack.inv("psql", "--command", "select current_user, current_database()").ok()
    assert re.search(r"flotteq_prod +\| +flotteq_production", done.out)
    assert stack.inv("psql", "--command", "select * from no_such_table").code == 1


def test_redis_cli_runs_one_command(stack: Stack) -> None:
    assert stack.inv("redis-cli", "--command", "ping").ok().out.strip() == "PONG"


def test_volumes(stack: Stack) -> None:
    out = stack.inv("volumes.list").ok().out
    assert {line.split()[0] for line in out.splitlines()[1:]} == {
        "flotteq_postgres_data", "flotteq_redis_data", "flotteq_uploads_data",
    }  # fmt: skip
    described = json.loads(stack.inv("volumes.inspect", "uploads_data").ok().out)
    assert described["Name"] == "flotteq_uploads_data"


def test_env_lint(stack: Stack) -> None:
    assert "means the same" in stack.inv("env.lint").ok().out


def test_nginx_tasks(stack: Stack, tmp_path: Path) -> None:
    stack.inv("nginx.render", "--output", str(tmp_path)).ok()
    assert (tmp_path / "nginx.conf").is_file()
    assert "nginx.conf" in stack.inv("nginx.render").ok().out
    assert "nginx accepts" in stack.inv("nginx.test").ok().out
    before = stack.ids()
    with stack.load(threads=2) as load:
        load.wait_for(20)
        stack.inv("nginx.reload").ok()
        load.wait_for(20)
    assert not load.result.failed, str(load.result)
    assert stack.ids() == before


def test_certificate_tasks(stack: Stack) -> None:
    found = json.loads(stack.inv("ssl.status", "--json").ok().out)
    assert [one["name"] for one in found["names"]] == list(DOMAINS.values())
    before = stack.snapshot()
    assert "good; not due" in stack.inv("ssl.init").ok().out
    assert "good; not due" in stack.inv("ssl.renew").ok().out
    assert difference(before, stack.snapshot()) == []
    assert "the rehearsal passed" in stack.inv("ssl.renew", "--dry-run").ok().out


def test_secret_tasks(stack: Stack) -> None:
    rows = json.loads(stack.inv("secrets.list", "--json").ok().out)
    assert len(rows) == 9
    assert all(re.fullmatch("[0-9a-f]{12}", one["here"]) and one["here"] == one["host"] for one in rows)
    findings = json.loads(stack.inv("secrets.check", "--json").ok().out)["findings"]
    assert {one["what"].split("-")[1] for one in findings} == {"postgres", "redis", "backend"}
    before = stack.snapshot()
    assert stack.inv("secrets.push").ok().out == "the host has every secret already\n"
    assert stack.inv("secrets.generate").ok().out == "every generated secret is there already\n"
    assert difference(before, stack.snapshot()) == []


def test_lock_status_of_a_free_host(stack: Stack) -> None:
    assert "is not locked" in stack.inv("lock.status").ok().out


def test_config_show_says_where_each_value_comes_from(stack: Stack) -> None:
    rows = {one["key"]: one for one in json.loads(stack.inv("config.show", "--json").ok().out)}
    assert rows["host.port"]["value"] == stack.sandbox.ssh_port
    assert rows["host.port"]["origin"].endswith("environment.toml")
    done = stack.inv("config.show", "--json", variables={"FLOTTEQ__LIMITS__API_RATE": "7"}).ok()
    rows = {one["key"]: one for one in json.loads(done.out)}
    assert (rows["limits.api_rate"]["value"], rows["limits.api_rate"]["origin"]) == (7, "FLOTTEQ__LIMITS__API_RATE")


def test_doctor_finds_nothing_wrong(stack: Stack) -> None:
    found = json.loads(stack.inv("doctor", "--json").ok().out)
    assert found["ok"] is True
    looked_at = {one["what"] for one in found["findings"]}
    assert {
        "host", "engine on host", "compose on host", "clock on host", "secrets", "registry", "edge files",
        "certificate", "live",
    } <= looked_at  # fmt: skip


def test_doctor_names_what_would_fail_only_later(stack: Stack) -> None:
    place = "/opt/flotteq/nginx/http/tls.conf"
    stack.host(f"cp {place} /tmp/tls.conf; echo 'bogus_directive on;' >> {place}")
    try:
        registry = {"FLOTTEQ__REGISTRY__SERVER": "127.0.0.1:9"}
        done = stack.inv("doctor", "--json", variables=registry)
    finally:
        stack.host(f"mv /tmp/tls.conf {place}")
    found = {one["what"]: one for one in json.loads(done.out)["findings"] if not one["ok"]}
    assert done.code == 5
    assert "bogus_directive" in found["edge files"]["found"]
    assert "127.0.0.1:9 refuses the host" in found["registry"]["found"]
    assert set(found) == {"edge files", "registry"}


def test_ssh_to_the_host(stack: Stack) -> None:
    assert stack.inv("sandbox.ssh", "--command", "hostname").ok().out.strip() == "vps"


def test_shell_reads_its_commands_from_a_pipe(stack: Stack) -> None:
    assert stack.inv("shell", "--service", "redis", stdin="echo $((6*7))\n").ok().out.strip() == "42"


@pytest.mark.parametrize(
    ("task", "code", "said"),
    [
        (("plan", "--version", VERSION), (0, 10), VERSION),
        (("deploy", "--version", VERSION, "--dry-run"), (0,), ""),
        (("deploy.status",), (0,), "is not locked"),
        (("history",), (0,), f"deploy {VERSION}"),
        (("releases.list",), (0,), VERSION),
        (("disk",), (0,), "volumes"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and isinstance(value[0], str) else "",
)
def test_tasks_that_only_look(stack: Stack, task: tuple[str, ...], code: tuple[int, ...], said: str) -> None:
    before = stack.snapshot()
    done = stack.inv(*task)
    assert done.code in code, str(done)
    assert said in done.out
    assert difference(before, stack.snapshot()) == []


def test_migrate_when_nothing_is_pending(stack: Stack) -> None:
    before = stack.snapshot()
    assert "5 migrations are applied" in stack.inv("migrate").ok().out
    assert difference(before, stack.snapshot()) == []


def test_down_and_deploy_again_keeps_the_data(stack: Stack) -> None:
    stack.inv("psql", "--command", "insert into vehicles (plate) values ('DOWN-AND-UP')").ok()
    version = stack.health()["version"]
    stack.inv("down", "--yes").ok()
    assert stack.ids() == {}
    assert "flotteq_postgres_data" in stack.host("docker volume ls --quiet").out
    stack.inv("status").ended(5)
    done = stack.inv("deploy", "--version", str(version)).ok()
    assert f"{version} live in" in done.out
    assert stack.status()["ok"] is True
    assert "DOWN-AND-UP" in stack.get(API, "/api/vehicles")[2].decode()


def test_version_that_was_live_before(stack: Stack) -> None:
    stack.inv("deploy", "--version", VERSION, "--skip-backup", "--skip-migrations", "--json").ok()
    assert stack.health()["version"] == VERSION


def _started(stack: Stack, service: str) -> str:
    return next(str(one["started"]) for one in stack.containers() if one["service"] == service)
