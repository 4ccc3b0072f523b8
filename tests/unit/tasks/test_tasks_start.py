"""What `inv` loads, lists and refuses; and rules that hold for the whole package."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.parser import Argument
from invoke.program import Program
from invoke.tasks import Task

from flotteq_tasks.tasks import namespace

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "flotteq_tasks"
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("fabric", "paramiko", "pydantic", "jinja2", "rich", "cryptography", "dns")
TASKS: dict[str, Task] = {
    name: namespace[name] for name in sorted(namespace.task_names)
}  # fmt: skip
TOML = """\
[project]
name = "fleet"
domain = "fleet.example"
[registry]
server = "registry.example"
[services.store]
kind = "stateful"
image = "postgres:15"
[services.cache]
kind = "stateful"
image = "redis:7"
[services.front]
kind = "edge"
image = "nginx:1.30"
[database]
service = "store"
cache = "cache"
[environments.production.host]
address = "local"
"""


def test_starting_loads_nothing_heavy() -> None:
    code = f"import sys, flotteq_tasks.tasks; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_package_alone_does_not_even_load_invoke() -> None:
    code = "import sys, flotteq_tasks; print('invoke' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n"


def test_showing_a_result_loads_no_operation_that_did_not_make_it() -> None:
    """A task that reads a lock must not pay for certificates and audits."""
    code = "import sys, flotteq_tasks.console.results; print([n for n in sys.modules if '.operations.' in n])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_another_repository_can_take_the_namespace() -> None:
    import flotteq_tasks

    assert flotteq_tasks.namespace is namespace


ARGUMENTS = [(name, argument) for name, task in TASKS.items() for argument in task.get_arguments()]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=[f"{name} {one.name}" for name, one in ARGUMENTS])
def test_every_flag_has_help(name: str, argument: Argument) -> None:
    assert argument.help, f"{name} --{argument.name}"


@pytest.mark.parametrize(
    ("name", "argument"),
    [pair for pair in ARGUMENTS if pair[1].kind is str and pair[1].default],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_the_help_of_a_flag_says_its_default(name: str, argument: Argument) -> None:
    assert f"(default: {argument.default})" in argument.help, f"{name} --{argument.name}"


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=[f"{name} {one.name}" for name, one in ARGUMENTS])
def test_help_can_be_printed_in_every_locale(name: str, argument: Argument) -> None:
    """Invoke prints it as it is: where the terminal's encoding lacks a character, there is a traceback instead."""
    assert argument.help.isascii() and (TASKS[name].__doc__ or "").isascii()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_does_in_a_short_first_sentence(name: str) -> None:
    text = (TASKS[name].__doc__ or "").strip()
    first = text.split("\n")[0]
    sentence = re.split(r"(?<=\.)\s", first)[0]
    assert first.endswith("."), f"{name}: {first}"
    assert 0 < len(sentence) <= 100, f"{name}: {len(sentence)} characters"


CORE_FLAGS = {
    name for argument in Program().core_args() for name in argument.names if len(name) > 1
} | {name for argument in Program().task_args() for name in argument.names}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_no_flag_is_one_of_invokes_own_but_version(name: str) -> None:
    own = {flag for argument in TASKS[name].get_arguments() for flag in argument.names}
    assert own & CORE_FLAGS <= {"version"}


@pytest.mark.parametrize("name", TASKS)
def test_no_flag_has_a_short_form(name: str) -> None:
    assert [flag for one in TASKS[name].get_arguments() for flag in one.names if len(flag) == 1] == []


@pytest.mark.parametrize("name", TASKS)
def test_no_task_runs_another_before_or_after_it(name: str) -> None:
    assert (TASKS[name].pre, TASKS[name].post) == ([], [])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project on this machine. A program that would change it leaves a trace: there is one docker, and it tells."""
    (tmp_path / "flotteq.toml").write_text(TOML)
    (tmp_path / ".env.production").write_text("A=1\n")
    (tmp_path / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/docker.log\nexit 1\n')
    docker.chmod(0o755)
    return tmp_path


def inv(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `inv` in a directory, away from the environment of this process."""
    environment = {
        "PATH": f"{project}/bin:/usr/bin:/bin", "HOME": str(project), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8",
        **variables,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "invoke", *words], cwd=project, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deploy"], "--version is missing"),
        (["releases.diff", "v1", "--second="], "--second is empty"),
        (["deploy", "--version", "v1", "--env", ""], "--env is empty"),
        (["rollback", "--to="], "--to is empty"),
        (["restore.db", "--from", ""], "--from is empty"),
        (["scale", "--service", "front"], "--replicas is missing"),
        (["secrets.set", "--help"], "--name has no value: '--help' is an option"),
        (["--dry", "scale", "--service", "front", "--replicas", "2"], "--dry: this task has no dry run"),
        (["--dry", "down", "--yes"], "--dry: this task has no dry run"),
        (["deploy", "--version"], "needed value and was not given one"),
        (["deploy", "--version", "v1", "--bogus"], "No idea what '--bogus' is!"),
        (["scale", "--service", "front", "--replicas", "four"], "--replicas 'four' is not a whole number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_typed_wrong_runs_nothing(project: Path, words: list[str], said: str) -> None:
    done = inv(project, *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (project / "docker.log").exists()


@pytest.mark.parametrize("name", ["deploy", "exec", "restore.all"])
def test_a_missing_value_is_answered_with_the_tasks_own_help(project: Path, name: str) -> None:
    assert f"inv --help {name}\n" in inv(project, name).stderr


@pytest.mark.parametrize("name", ["deploy", "build", "exec", "scale", "status"])
def test_help_is_shown_behind_the_task_too(project: Path, name: str) -> None:
    done = inv(project, name, "--help")
    assert (done.returncode, "Options:" in done.stdout) == (0, True)


def test_without_a_project_the_error_says_what_is_missing(project: Path) -> None:
    (project / "flotteq.toml").unlink()
    done = inv(project, "config.show")
    assert (done.returncode, done.stdout) == (2, "")
    assert "flotteq.toml" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_goes_away_gets_no_traceback(project: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "invoke", "config.show"]
    done = subprocess.run(words, cwd=project, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["down"], 2),
        (["stop"], 2),
    ],
)
def test_without_a_terminal_nothing_is_destroyed(project: Path, words: list[str], code: int) -> None:
    done = inv(project, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Nobody is here to answer; nothing was changed" in done.stderr
    assert "--yes" in done.stderr
    assert not (project / "docker.log").exists()


def test_an_error_as_json_is_one_document_on_standard_output(project: Path) -> None:
    done = inv(project, "deploy", "--version", "latest", "--json")
    document = json.loads(done.stdout)
    assert (document["ok"], document["error"]["code"], done.returncode) == (False, 2, 2)
    assert document["error"]["message"].startswith("--version: 'latest'")
    assert "'latest'" in done.stderr


def test_settings_are_shown_as_json(project: Path) -> None:
    done = inv(project, "config.show", "--json")
    rows = {row["key"]: row["value"] for row in json.loads(done.stdout)}
    assert (done.returncode, rows["project.domain"], rows["host.port"]) == (0, "fleet.example", 22)


@pytest.mark.parametrize("name", ["lock.status", "migrate", "nginx.test", "nginx.render", "status", "disk"])
def test_what_reports_can_report_as_json(name: str) -> None:
    assert "json" in {argument.name for argument in TASKS[name].get_arguments()}


def test_a_wrong_setting_names_its_key_and_exits_with_2(project: Path) -> None:
    (project / "flotteq.toml").write_text(TOML.replace('kind = "edge"', 'kind = "egde"'))
    done = inv(project, "config.show")
    assert done.returncode == 2
    assert "services.front.kind" in done.stderr


def test_the_list_fits_a_terminal_of_80_columns(project: Path) -> None:
    done = inv(project, "--list", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    for name in TASKS:
        shown = name.removesuffix(".run") if name == "deploy.run" else name
        assert re.search(rf"^\s+{re.escape(shown)}\b", done.stdout, re.M), name


def test_the_list_as_json_has_every_task(project: Path) -> None:
    done = inv(project, "--list", "--list-format", "json")
    document = json.loads(done.stdout)
    names = {task["name"] for task in document["tasks"]}
    assert {"status", "build", "psql"} <= names
    assert "deploy" in {one["name"] for one in document["collections"]}


# --- rules for the whole package


def _code(path: Path) -> str:
    """The source without docstrings and comments, so that prose may name what code may not use."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.unparse(tree)


CODE = {path.relative_to(PACKAGE).as_posix(): _code(path) for path in SOURCES}


def test_the_package_was_found() -> None:
    assert len(CODE) > 80


@pytest.mark.parametrize(
    "pattern",
    [
        r"AutoAddPolicy",
        r"fabric\.task",
        r"(?<!\.)\bprint\(",
        r"connection\.(run|sudo)\([^)]*env=",
        r"\.cd\(",
        r"\.prefix\(",
        r"\bos\.system\(",
        r"shell=True",
    ],
)
def test_what_must_not_stand_in_the_code(pattern: str) -> None:
    assert [path for path, code in CODE.items() if re.search(pattern, code)] == []


def test_no_environment_is_given_to_a_connection() -> None:
    found = [
        path for path, code in CODE.items() if path.startswith("host/") and re.search(r"Connection\([^)]*env=", code)
    ]
    assert found == []


def test_only_tasks_import_invoke() -> None:
    pattern = re.compile(r"^\s*(from|import) invoke\b", re.M)
    # The host layer gives Fabric, which stands on Invoke, its configuration.
    found = [path for path, code in CODE.items() if pattern.search(code) and not path.startswith(("tasks/", "host/"))]
    assert found == []


def test_only_the_host_layer_imports_ssh_libraries() -> None:
    pattern = re.compile(r"^\s*(from|import) (fabric|paramiko)\b", re.M)
    assert [path for path, code in CODE.items() if pattern.search(code) and not path.startswith("host/")] == []


@pytest.mark.parametrize("path", SOURCES, ids=[path.relative_to(PACKAGE).as_posix() for path in SOURCES])
def test_no_file_grows_beyond_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_the_entry_of_invoke_has_no_logic() -> None:
    assert len((ROOT / "tasks.py").read_text().splitlines()) <= 6


def test_nothing_of_the_stack_is_written_into_the_code() -> None:
    words = re.compile(r"flotteq-(backend|frontend)", re.I)
    found = {path: words.findall(code) for path, code in CODE.items() if words.search(code)}
    assert {path for path in found if not path.startswith("operations/sandbox/")} == set()
