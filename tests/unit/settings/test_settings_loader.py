"""The loader: precedence, origins, and one clear line for each thing that is wrong."""
# ruff: noqa: E501 - messages are compared whole, one case a line

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flotteq_tasks.model.errors import ExitCode, SettingsError
from flotteq_tasks.settings.loader import environments, explain, find_root, lint_env, load

REPOSITORY = Path(__file__).parents[3]
DELIVERED = REPOSITORY / ".env.example"


def test_reads_tables_defaults_and_env(project):
    settings = project.load()
    assert settings.environment == "production"
    assert settings.root == project.root
    assert settings.host.address == "flotteq.com"
    assert settings.host.port == 22
    assert settings.services["backend"].health.expect == {"status": "ok"}
    assert settings.migrations.command == ("migrate",)
    assert list(settings.services) == ["postgres", "redis", "backend", "frontend-client", "nginx"]
    assert settings.public == {"backend": "api.flotteq.com", "frontend-client": "app.flotteq.com"}
    assert settings.env == {"CORS_ORIGIN": "https://app.flotteq.com"}


@pytest.mark.parametrize("name", ["production", "staging", "sandbox"])
def test_the_repository_itself_is_right(name):
    settings = load(REPOSITORY, name, {})
    assert next(iter(settings.public)) == "backend"
    assert settings.env["CORS_ORIGIN"].startswith("https://app.")
    assert all(f"https://{domain}" in settings.env["CORS_ORIGIN"] for domain in list(settings.public.values())[1:])


def test_reads_no_process_environment(project, monkeypatch):
    monkeypatch.setenv("FLOTTEQ_ENV", "staging")
    monkeypatch.setenv("FLOTTEQ__DEPLOY__DRAIN", "1")
    before = dict(os.environ)
    assert project.load(None).environment == "production"
    assert project.load(None).deploy.drain == 60
    assert dict(os.environ) == before


def test_importing_the_loader_costs_no_third_party_import():
    heavy = "pydantic", "dotenv"
    code = f"import sys, flotteq_tasks.settings.loader; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


class TestEnvironment:
    def test_argument_wins_over_variable_wins_over_default(self, project):
        assert project.load("production", FLOTTEQ_ENV="staging").environment == "production"
        assert project.load(None, FLOTTEQ_ENV="staging").environment == "staging"
        assert project.load(None).environment == "production"

    def test_an_empty_variable_is_not_production(self, project):
        assert project.error(None, FLOTTEQ_ENV="").message == "FLOTTEQ_ENV is empty"
        assert project.load("staging", FLOTTEQ_ENV="").environment == "staging"

    def test_unknown(self, project):
        error = project.error("stagin")
        assert error.message == 'unknown environment "stagin", did you mean "staging"?'
        assert error.hint == "flotteq.toml has: production, staging"
        assert error.exit_code == ExitCode.USAGE

    def test_unknown_from_the_variable(self, project):
        assert project.error(None, FLOTTEQ_ENV="qa").message == 'unknown environment "qa" (FLOTTEQ_ENV)'

    def test_names_of_both_files(self, project):
        project.write("flotteq.local.toml", '[environments.mine.host]\naddress = "local"\n')
        project.write(".env.mine", "")
        assert environments(project.root) == ["production", "staging", "mine"]
        assert project.load("mine").host.address == "local"

    def test_name_that_leads_out_of_the_directory(self, project):
        project.add('[environments."../x".host]\naddress = "a"')
        assert project.errors("../x") == [
            'flotteq.toml: environments."../x": use a-z, 0-9, - and _: files are named after it'
        ]

    def test_host_is_required(self, project):
        project.add("[environments.empty]")
        project.write(".env.empty", "")
        assert project.errors("empty") == ["flotteq.toml: environments.empty.host: required key is missing"]

    def test_address_is_required(self, project):
        project.replace('host = { address = "staging.flotteq.com" }', "host = { port = 23 }")
        assert project.errors("staging") == ["flotteq.toml: environments.staging.host.address: required key is missing"]

    def test_no_table(self, project):
        project.write("flotteq.toml", "environments = 3")
        assert project.errors() == ["flotteq.toml: environments: expected a table, found the integer 3"]
        project.write("flotteq.toml", "environments = { production = [] }")
        assert "flotteq.toml: environments.production: expected a table, found an array" in project.errors()


class TestPrecedence:
    def test_each_layer_wins_over_the_one_below(self, project):
        project.replace("[environments.production.host]", DEPLOY_LAYERS)
        project.write(
            "flotteq.local.toml", "[deploy]\nstop_grace = 5\n[environments.staging.deploy]\npull_timeout = 6\n"
        )
        project.write("overlay.toml", "[deploy]\nmonitor = 4\nstop_grace = 4\npull_timeout = 4\n")
        deploy = project.load("staging", FLOTTEQ__DEPLOY__HEALTH_TIMEOUT="7").deploy
        assert (deploy.retain, deploy.drain, deploy.monitor) == (2, 3, 4)
        assert (deploy.stop_grace, deploy.pull_timeout, deploy.health_timeout) == (5, 6, 7)

    def test_tables_merge_and_arrays_replace(self, project):
        project.write(
            "flotteq.local.toml",
            'migrations = { command = ["a", "b"] }\n[services.backend]\nmemory = "384m"\n'
            '[services.backend.health]\nexpect = { database = "connected" }\n',
        )
        settings = project.load()
        assert settings.migrations.command == ("a", "b")
        assert settings.migrations.service == "backend"
        backend = settings.services["backend"]
        assert (backend.memory, backend.port) == ("384m", 3000)
        assert backend.health.expect == {"status": "ok", "database": "connected"}

    def test_other_environments_do_not_matter(self, project):
        project.add('[environments.broken]\nhost = 3\nnonsense = "x"')
        assert project.load().host.address == "flotteq.com"

    def test_overlay_is_optional(self, project):
        assert project.load("staging").host.port == 22
        assert project.load("staging").absent == "overlay.toml"
        project.write("overlay.toml", "[host]\nport = 2222\n")
        assert project.load("staging").host.port == 2222
        assert (project.load("staging").absent, project.load().absent) == ("", "")

    def test_an_overlay_of_the_local_file_stands_for_the_one_that_is_missing(self, project):
        project.write("flotteq.local.toml", '[environments.staging]\noverlay = "mine.toml"\n')
        project.write("mine.toml", "[host]\nport = 2223\n")
        assert project.load("staging").absent == ""


DEPLOY_LAYERS = """
[deploy]
retain = 2
drain = 2
monitor = 2
stop_grace = 2
pull_timeout = 2

[environments.staging.deploy]
drain = 3
monitor = 3
stop_grace = 3
pull_timeout = 3

[environments.production.host]"""


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "value", "read", "expected"),
        [
            ("FLOTTEQ__DEPLOY__DRAIN", "30", lambda s: s.deploy.drain, 30),
            ("FLOTTEQ__deploy__Drain", "30", lambda s: s.deploy.drain, 30),
            ("FLOTTEQ__SERVICES__FRONTEND_CLIENT__REPLICAS", "2", lambda s: s.services["frontend-client"].replicas, 2),
            ("FLOTTEQ__SERVICES__FRONTEND-CLIENT__REPLICAS", "2", lambda s: s.services["frontend-client"].replicas, 2),
            ("FLOTTEQ__HOST__AGENT", "false", lambda s: s.host.agent, False),
            ("FLOTTEQ__PROJECT__DOMAIN", "x.org", lambda s: s.project.domain, "x.org"),
            ("FLOTTEQ__PROJECT__DOMAIN", '"x.org"', lambda s: s.project.domain, "x.org"),
            ("FLOTTEQ__SERVICES__BACKEND__CPUS", "1.5", lambda s: s.services["backend"].cpus, "1.5"),
            ("FLOTTEQ__SERVICES__BACKEND__SUBDOMAIN", "42", lambda s: s.services["backend"].subdomain, "42"),
            ("FLOTTEQ__MIGRATIONS__COMMAND", '["a", "b"]', lambda s: s.migrations.command, ("a", "b")),
            ("FLOTTEQ__BUILD__ARGS__VITE_X", "1", lambda s: s.build.args, {"VITE_X": "1"}),
            (
                "FLOTTEQ__SERVICES__BACKEND__HEALTH",
                '{path = "/up"}',
                lambda s: (s.services["backend"].health.path, s.services["backend"].health.expect),
                ("/up", {"status": "ok"}),
            ),
            (
                "FLOTTEQ__SERVICES__BACKEND__HEALTH__EXPECT__STATUS",
                "up",
                lambda s: s.services["backend"].health.expect,
                {"status": "up"},
            ),
            ("FLOTTEQ__ACME__EMAIL", "a\nb = 3", lambda s: s.acme.email, "a\nb = 3"),
        ],
    )
    def test_sets(self, project, name, value, read, expected):
        assert read(project.load(**{name: value})) == expected

    @pytest.mark.parametrize(
        "name", ["FLOTTEQ_SSH_KEY", "FLOTTEQ_REGISTRY_PASSWORD", "FLOTTEQ_DEBUG", "FLOTTEQ", "PATH"]
    )
    def test_leaves_others_alone(self, project, name):
        assert project.load(**{name: "x"}) == project.load()

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            (
                "FLOTTEQ__DEPLOY__DRIAN",
                "FLOTTEQ__DEPLOY__DRIAN: unknown key deploy.drian, did you mean FLOTTEQ__DEPLOY__DRAIN?",
            ),
            (
                "FLOTTEQ__DEPLOY_DRAIN",
                "FLOTTEQ__DEPLOY_DRAIN: unknown key deploy_drain, did you mean FLOTTEQ__DEPLOY__DRAIN?",
            ),
            (
                "FLOTTEQ__SERVICES__BACKEND_PORT",
                "FLOTTEQ__SERVICES__BACKEND_PORT: unknown key services.backend_port, did you mean FLOTTEQ__SERVICES__BACKEND__PORT?",
            ),
            (
                "FLOTTEQ__SERVICES__BACKND__PORT",
                "FLOTTEQ__SERVICES__BACKND__PORT: unknown key services.backnd, did you mean FLOTTEQ__SERVICES__BACKEND?",
            ),
            (
                "FLOTTEQ__EDGE__X",
                "FLOTTEQ__EDGE__X: unknown key edge.x, there are: address, http_port, https_port, tls, http3, ipv6_subnet, trusted_proxies, client_header, timeouts, sizes",
            ),
            (
                "FLOTTEQ__EDGE__ADDRESS__X",
                "FLOTTEQ__EDGE__ADDRESS__X: unknown key edge.address.x, edge.address has no keys",
            ),
            (
                "FLOTTEQ__ENVIRONMENTS__PRODUCTION__HOST__PORT",
                "FLOTTEQ__ENVIRONMENTS__PRODUCTION__HOST__PORT: leave the environment out: FLOTTEQ__HOST__PORT",
            ),
        ],
    )
    def test_unknown(self, project, name, line):
        assert project.errors(**{name: "1"}) == [line]

    @pytest.mark.parametrize(
        "name", ["FLOTTEQ__", "FLOTTEQ__ROOT", "FLOTTEQ__ENV__X", "FLOTTEQ__DEPLOY__", "FLOTTEQ____X"]
    )
    def test_what_is_no_setting(self, project, name):
        assert "unknown key" in project.errors(**{name: "1"})[0]

    def test_wrong_type(self, project):
        assert project.errors(FLOTTEQ__DEPLOY__DRAIN="soon") == [
            'FLOTTEQ__DEPLOY__DRAIN: expected an integer, found the string "soon"'
        ]

    def test_wrong_key_inside_a_table(self, project):
        assert project.errors(FLOTTEQ__SERVICES__BACKEND__HEALTH='{pth = "/"}') == [
            'FLOTTEQ__SERVICES__BACKEND__HEALTH: services.backend.health.pth: unknown key, did you mean "path"?'
        ]

    def test_same_setting_twice(self, project):
        assert project.errors(FLOTTEQ__DEPLOY__DRAIN="1", FLOTTEQ__DEPLOY__drain="2") == [
            "FLOTTEQ__DEPLOY__drain: sets deploy.drain again, FLOTTEQ__DEPLOY__DRAIN does already: unset one of them"
        ]

    def test_what_a_variable_leaves_out_is_missing_in_the_file(self, project):
        project.replace('[migrations]\nservice = "backend"\ncommand = ["migrate"]\n', "")
        assert project.errors(FLOTTEQ__MIGRATIONS__SERVICE="backend") == [
            "flotteq.toml: migrations.command: required key is missing"
        ]


class TestWrongTables:
    @pytest.mark.parametrize(
        ("old", "new", "line"),
        [
            ("port = 3000", "prot = 3000", 'services.backend.prot: unknown key, did you mean "port"?'),
            ("port = 3000", 'port = "3000"', 'services.backend.port: expected an integer, found the string "3000"'),
            ("port = 3000", "port = 3000.0", "services.backend.port: expected an integer, found the number 3000.0"),
            ("port = 3000", "port = true", "services.backend.port: expected an integer, found true"),
            ("port = 3000", "port = [3000]", "services.backend.port: expected an integer, found an array"),
            ("port = 3000", "port = 2020-01-01", "services.backend.port: expected an integer, found the date 2020-01-01"),
            ('name = "flotteq"', "name = 1", "project.name: expected a string, found the integer 1"),
            ('name = "flotteq"', "name = 2020-01-01", "project.name: expected a string, found the date 2020-01-01"),
            ('name = "flotteq"\n', "", "project.name: required key is missing"),
            ('server = "ghcr.io"', 'insecure = "no"\nserver = "a"', 'registry.insecure: expected true or false, found the string "no"'),
            ('command = ["migrate"]', 'command = "migrate"', 'migrations.command: expected an array, found the string "migrate"'),
            ('command = ["migrate"]', "command = [1]", "migrations.command[0]: expected a string, found the integer 1"),
            ('{ context = "backend" }', '"backend"', 'services.backend.build: expected a table, found the string "backend"'),
            ('expect = { status = "ok" }', "expect = { status = true }", "services.backend.health.expect.status: expected a string, found true"),
            ('kind = "edge"', 'kind = "egde"', 'services.nginx.kind: expected "rolling", "stateful", "edge", "tool" or "job", found the string "egde"'),
            ('[registry]\n', '[acme]\nlayout = "eech"\n[registry]\n', 'acme.layout: expected "one" or "each", found the string "eech"'),
            ('[registry]\n', '[acme]\nlayuot = "each"\n[registry]\n', 'acme.layuot: unknown key, did you mean "layout"?'),
            ('[registry]\nserver = "ghcr.io"', '[registy]\nserver = "ghcr.io"', 'registy: unknown key, did you mean "registry"?'),
        ],
    )  # fmt: skip
    def test_line(self, project, old, new, line):
        project.replace(old, new)
        assert f"flotteq.toml: {line}" in project.errors()

    def test_unknown_key_without_a_near_one(self, project):
        project.replace("[registry]", "[edge]\nzzz = 1\n[registry]")
        assert project.errors() == [
            "flotteq.toml: edge.zzz: unknown key, there are: address, http_port, https_port, tls, http3, ipv6_subnet, trusted_proxies, client_header, timeouts, sizes"
        ]

    @pytest.mark.parametrize("key", ["env = { A = '1' }", "root = '/'", "environment = 'x'"])
    def test_what_the_loader_fills_in_cannot_be_set(self, project, key):
        project.write("flotteq.local.toml", key)
        assert project.errors()[0].startswith(f"flotteq.local.toml: {key.split()[0]}: unknown key")

    def test_the_file_is_the_one_the_value_came_from(self, project):
        project.replace("port = 3000", "prot = 3000")
        project.write("overlay.toml", "[host]\nport = true\n")
        project.write("flotteq.local.toml", "[environments.staging.edge]\nhttp_port = 0.5\n[limits]\napi_rate = 'x'\n")
        assert project.errors("staging", FLOTTEQ__EDGE__HTTPS_PORT="x") == [
            "overlay.toml: host.port: expected an integer, found true",
            'flotteq.toml: services.backend.prot: unknown key, did you mean "port"?',
            "flotteq.local.toml: environments.staging.edge.http_port: expected an integer, found the number 0.5",
            'FLOTTEQ__EDGE__HTTPS_PORT: expected an integer, found the string "x"',
            'flotteq.local.toml: limits.api_rate: expected an integer, found the string "x"',
        ]

    def test_a_misspelt_service_in_an_environment(self, project):
        project.replace(
            'domain = "staging.flotteq.com" }', 'domain = "s.com" }\nservices = { backnd = { memory = "1g" } }'
        )
        assert project.errors("staging") == [
            "flotteq.toml: environments.staging.services.backnd.kind: required key is missing, did you mean services.backend?",
            "flotteq.toml: environments.staging.services.backnd.image: required key is missing, did you mean services.backend?",
        ]  # fmt: skip

    def test_everything_at_once(self, project):
        project.replace("port = 3000", "prot = 3000")
        project.write(".env.production", "A=pa$word\nA=1\n")
        assert project.errors(FLOTTEQ__X="1") == [
            "FLOTTEQ__X: unknown key x, there are: project, host, registry, services, edge, acme, limits, server, build,"
            " secrets, database, backup, schedule, migrations, deploy, audit",
            'flotteq.toml: services.backend.prot: unknown key, did you mean "port"?',
            ".env.production: line 1: A: Compose expands $ where python-dotenv does not: put the value in single quotes",
            ".env.production: line 2: A: is set twice, line 1 has it too: remove one",
        ]

    def test_rules_across_keys_name_the_file_too(self, project):
        project.write("flotteq.local.toml", '[environments.production.services.frontend-client]\nsubdomain = "api"\n')
        error = project.error()
        assert error.message == (
            "flotteq.local.toml: environments.production.services.frontend-client.subdomain: "
            "api.flotteq.com is already the domain of services.backend"
        )
        assert error.hint == "docs/SETTINGS.md describes every key"


class TestFiles:
    def test_bad_syntax(self, project):
        project.write("flotteq.toml", '[project]\nname = "flotteq"\ndomain\n')
        assert project.errors() == ["flotteq.toml: line 3: expected '=' after a key in a key/value pair"]

    def test_bad_syntax_at_the_end(self, project):
        project.write("flotteq.local.toml", "[project]\nname =")
        assert project.errors()[0].startswith("flotteq.local.toml: line 2: ")

    def test_bad_syntax_in_the_overlay(self, project):
        project.write("overlay.toml", "= 1")
        assert project.errors("staging")[0].startswith("overlay.toml: line 1: ")

    def test_not_text(self, project):
        (project.root / "flotteq.toml").write_bytes(b"a = '\xff'")
        assert project.errors() == ["flotteq.toml: is not UTF-8 text (byte 5)"]

    def test_missing(self, project):
        (project.root / "flotteq.toml").unlink()
        error = project.error()
        assert error.message == f"flotteq.toml: not found in {project.root}"
        assert error.hint == "run inv inside the project; docs/SETTINGS.md describes the file"

    def test_overlay_of_wrong_type(self, project):
        project.replace('overlay = "overlay.toml"', "overlay = 3")
        assert project.errors("staging") == [
            "flotteq.toml: environments.staging.overlay: expected a string, found the integer 3"
        ]

    def test_env_file_missing(self, project):
        (project.root / ".env.production").unlink()
        error = project.error()
        assert error.message == f".env.production: not found in {project.root}"
        assert error.hint == f"cp {DELIVERED} .env.production"
        assert DELIVERED.is_file()

    def test_the_projects_own_example_is_the_one_to_copy(self, project):
        (project.root / ".env.production").rename(project.root / ".env.example")
        assert project.error().hint == "cp .env.example .env.production"

    def test_env_file_not_text(self, project):
        (project.root / ".env.production").write_bytes(b"A=\xff")
        assert project.errors() == [".env.production: is not UTF-8 text (byte 2)"]

    def test_secret_in_the_env_file(self, project):
        project.write(".env.production", "DB_PASSWORD=geheim\n")
        assert project.errors() == [
            ".env.production: line 1: DB_PASSWORD: belongs to secrets: inv secrets.set db_password"
        ]

    def test_line_that_bash_reads_differently_is_no_error(self, project):
        project.write(".env.production", 'A={"a":"b c"}\n')
        assert project.load().env == {"A": '{"a":"b c"}'}


class TestFindRoot:
    def test_walks_up(self, project):
        below = project.root / "a" / "b"
        below.mkdir(parents=True)
        assert find_root(below) == project.root.resolve()
        assert find_root(project.root) == project.root.resolve()

    def test_nothing_above(self, tmp_path):
        with pytest.raises(SettingsError) as caught:
            find_root(tmp_path)
        assert caught.value.message == f"no flotteq.toml in {tmp_path.resolve()} or above it"
        assert caught.value.hint == "run inv inside the project, or write a flotteq.toml: docs/SETTINGS.md describes it"


class TestExplain:
    def test_origins(self, project):
        project.write("overlay.toml", "[host]\nport = 2222\n")
        project.write("flotteq.local.toml", "[deploy]\ndrain = 5\n[environments.staging.deploy]\nretain = 3\n")
        rows = explain(project.root, "staging", {"FLOTTEQ__HOST__USER": "ops"})
        found = {path: (value, origin) for path, value, origin in rows}
        assert len(found) == len(rows)
        assert found["project.name"] == ("flotteq", "flotteq.toml")
        assert found["project.domain"] == ("staging.flotteq.com", "environments.staging")
        assert found["project.directory"] == ("/opt/flotteq", "default")
        assert found["host.port"] == (2222, "overlay.toml")
        assert found["host.agent"] == (True, "default")
        assert found["host.user"] == ("ops", "FLOTTEQ__HOST__USER")
        assert found["deploy.drain"] == (5, "flotteq.local.toml")
        assert found["deploy.retain"] == (3, "flotteq.local.toml")
        assert found["migrations.command"] == (("migrate",), "flotteq.toml")
        assert found["services.postgres.subdomain"] == (None, "default")
        assert found["services.backend.health.expect.status"] == ("ok", "flotteq.toml")
        assert found["build.args"] == ({}, "default")
        assert found["env.CORS_ORIGIN"] == ("https://app.staging.flotteq.com", ".env.staging")

    def test_a_scalar_over_a_table_forgets_the_table(self, project):
        project.write("flotteq.local.toml", "[services.backend]\nhealth = 3\n")
        assert project.errors() == [
            "flotteq.local.toml: services.backend.health: expected a table, found the integer 3"
        ]


class TestLintEnv:
    def test_errors_and_warnings(self, project):
        project.write(".env.staging", "DB_PASSWORD=x\nA=a b\n")
        problems = lint_env(project.root, None, {"FLOTTEQ_ENV": "staging"})
        assert [(str(problem), problem.severity) for problem in problems] == [
            (".env.staging: line 1: DB_PASSWORD: belongs to secrets: inv secrets.set db_password", "error"),
            (".env.staging: line 2: A: bash reads another value: put it in single quotes, without spaces around =", "warning"),
        ]  # fmt: skip

    def test_process_environment_by_default(self, project, monkeypatch):
        project.write(".env.staging", "A\n")
        monkeypatch.setenv("FLOTTEQ_ENV", "staging")
        assert [problem.filename for problem in lint_env(project.root, None)] == [".env.staging"]

    def test_works_while_other_settings_are_wrong(self, project):
        project.replace("port = 3000", "prot = 3000")
        assert lint_env(project.root, "production", {}) == []

    def test_missing(self, project):
        (project.root / ".env.production").unlink()
        with pytest.raises(SettingsError) as caught:
            lint_env(project.root, None, {})
        assert caught.value.hint == f"cp {DELIVERED} .env.production"
