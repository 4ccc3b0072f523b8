"""The checks that a commit must pass, and the package as another project installs it."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def _run(*words: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("lint-imports", "--no-cache"),
    ],
    ids=" ".join,
)
def test_the_code_passes(words: tuple[str, ...]) -> None:
    done = _run(str(BIN / words[0]), *words[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shell_scripts_pass_shellcheck() -> None:
    scripts = [
        path
        for folder in ("scripts", "compose/entrypoint", ".ci", "hooks")
        for path in sorted((ROOT / folder).iterdir())
        if path.is_file() and path.read_text().startswith("#!")
    ]
    assert len(scripts) >= 5
    done = _run(str(BIN / "shellcheck"), "-x", *map(str, scripts))
    assert done.returncode == 0, done.stdout


COMPOSE_LINT = (str(BIN / "compose-lint"), "check", "--strict-config", "--fail-on", "low")


def test_the_compose_file_passes_compose_lint() -> None:
    done = _run(*COMPOSE_LINT, "compose/docker-compose.production.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_lint_still_finds_what_is_wrong(tmp_path: Path) -> None:
    text = (ROOT / "compose/docker-compose.production.yml").read_text()
    assert text.count("cap_drop: [ALL]") == 1
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace("cap_drop: [ALL]", "privileged: true"))
    done = _run(*COMPOSE_LINT, "--config", ".compose-lint.yml", str(broken))
    assert (done.returncode, "privileged" in done.stdout) == (1, True), done.stdout + done.stderr


def test_the_dockerfiles_pass_hadolint_and_every_exception_is_needed() -> None:
    files = [
        str(path)
        for folder in ("compose", "sample", "sandbox")
        for path in sorted((ROOT / folder).glob("*/Dockerfile"))
    ]
    assert len(files) >= 10
    program, rules = str(BIN / "hadolint"), ROOT / ".hadolint.yaml"
    done = _run(program, "--config", str(rules), *files)
    assert done.returncode == 0, done.stdout
    bare = json.loads(_run(program, "--config", os.devnull, "--no-fail", "--format", "json", *files).stdout)
    assert {one["code"] for one in bare} == set(re.findall(r"DL\d+", rules.read_text()))


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    long = {
        path.name: count
        for path in (ROOT / "flotteq_tasks").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_the_lock_files_name_no_place_to_download_from() -> None:
    locks = [
        *ROOT.glob("requirements*.lock"),
        *(ROOT / "sample").glob("*.json"),
        *(ROOT / "sandbox/graders").glob("*.*"),
    ]
    assert len(locks) >= 6
    for path in locks:
        name = path.name
        assert not re.search(r"https?://\S*(registry|pypi|simple)", path.read_text()), name


def test_another_project_can_use_the_installed_package(tmp_path: Path) -> None:
    done = _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), ".")
    assert done.returncode == 0, done.stderr
    installed, project = tmp_path / "installed", tmp_path / "project"
    zipfile.ZipFile(next(tmp_path.glob("flotteq_tasks-*.whl"))).extractall(installed)
    project.mkdir()
    (project / "tasks.py").write_text("from flotteq_tasks import namespace\n")
    for name in ("flotteq.toml", ".env.production"):
        (project / name).write_text((ROOT / name).read_text())
    env = {"PYTHONPATH": str(installed), "FLOTTEQ_ENV": "production"}
    listed = _run(str(BIN / "inv"), "--list", cwd=project, env=env)
    assert listed.returncode == 0 and "deploy.run (deploy)" in listed.stdout, listed.stderr
    # The templates come with the package.
    rendered = _run(str(BIN / "inv"), "nginx.render", cwd=project, env=env)
    assert "servers/backend.conf" in rendered.stdout, rendered.stderr
    assert (installed / "flotteq_tasks" / "py.typed").is_file()
    assert len(list(installed.glob("flotteq_tasks-*.dist-info/licenses/LICENSE"))) == 1
    refused = _run(str(BIN / "inv"), "sandbox.up", cwd=project, env=env)
    assert (refused.returncode, "needs a checkout" in refused.stderr) == (2, True), refused.stderr
    (project / ".env.production").unlink()
    missing = _run(str(BIN / "inv"), "env.lint", cwd=project, env=env)
    example = installed / "flotteq_tasks" / "resources" / ".env.example"
    assert f"cp {example} .env.production" in missing.stderr and example.is_file()
