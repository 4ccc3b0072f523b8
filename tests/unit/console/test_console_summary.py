"""The page of a run on GitHub Actions."""

from pathlib import Path

import pytest

from flotteq_tasks.console.console import Console
from flotteq_tasks.console.errors import show_error
from flotteq_tasks.console.results import show_deployed
from flotteq_tasks.model.errors import FlotteqError, PutBack
from flotteq_tasks.operations.deploy import Deployed

DONE = Deployed("v1.2.0", "r2", ("core",), 32.4, (), verified_tls=False)
ON_GITHUB = {"GITHUB_ACTIONS": "true"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    return tmp_path / "page.md"


def test_a_deploy_is_its_result_and_its_steps(page: Path) -> None:
    console = Console.detect(ON_GITHUB)
    console.report.clock = lambda: 0.0
    with console.report.step("images") as note:
        note.text = "5 of core|web"
    show_deployed(console, DONE)
    assert page.read_text() == (
        "### ✓ v1.2.0 live in 32 s · 0 domains answer\n\n"
        "| step | time | |\n|---|---:|---|\n| images | 0.0 s | 5 of core\\|web |\n\n"
    )


def test_a_failure_is_its_sentence_its_hint_and_the_steps_before_it(page: Path) -> None:
    console = Console.detect(ON_GITHUB)
    console.report.clock = lambda: 0.0
    with pytest.raises(PutBack), console.report.step("containers"):
        raise PutBack("core: <b>down</b>\n\nas before", hint="inv status\ninv doctor")
    show_error(PutBack("core: <b>down</b>\n\nas before", hint="inv status\ninv doctor"), json=False)
    assert page.read_text() == (
        "### ✗ failed (exit code 3)\n\n"
        "<pre>core: &lt;b&gt;down&lt;/b&gt;\nas before\ntry: inv status\ntry: inv doctor</pre>\n\n"
        "| step | time | |\n|---|---:|---|\n| containers | 0.0 s | **failed** |\n\n"
    )


def test_each_task_of_a_call_has_its_own_steps(page: Path) -> None:
    console = Console.detect(ON_GITHUB)
    with console.report.step("images"):
        pass
    show_deployed(console, DONE)
    show_deployed(console, DONE)
    assert page.read_text().count("| images |") == 1


def test_elsewhere_no_page_is_written(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    show_deployed(Console.detect({}), DONE)
    show_error(FlotteqError("x"), json=False)
    assert not page.exists()


def test_a_page_that_cannot_be_written_does_not_fail_a_deploy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/nowhere/at/all")
    show_deployed(Console.detect(ON_GITHUB), DONE)
    assert capsys.readouterr().out.startswith("v1.2.0 live in 32 s")
