"""Hashes, quoting and the search for templates."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.rendering import resources, templates
from flotteq_tasks.rendering.hashes import content_hash


def test_the_hash_does_not_depend_on_the_order() -> None:
    assert content_hash({"a": b"1", "b": b"2"}) == content_hash({"b": b"2", "a": b"1"})
    assert len(content_hash({})) == 12


@pytest.mark.parametrize("other", [{"a": b"1"}, {"a": b"1", "b": b"3"}, {"a": b"1", "c": b"2"}, {"a": b"1b:12"}])
def test_the_hash_sees_paths_and_contents(other: dict[str, bytes]) -> None:
    assert content_hash(other) != content_hash({"a": b"1", "b": b"2"})


@hypothesis(deadline=None)
@given(st.text())
def test_no_word_can_end_a_directive(text: str) -> None:
    try:
        word = templates.word(text)
    except SettingsError:
        return
    assert word == text and word
    assert not set(word) & set(";{}\"'`\\$# \t\r\n\0")


def test_numbers_are_words() -> None:
    assert templates.word(80) == "80"


def test_the_own_folder_comes_first_and_the_delivered_one_fills_in(tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose/mine.yml").write_text("mine")
    assert resources.find(tmp_path, "compose", "mine.yml").read_text() == "mine"
    delivered = resources.find(tmp_path, "compose", "docker-compose.production.yml")
    assert delivered.parent == resources.packaged("compose")
    with pytest.raises(SettingsError, match=r"compose/other\.yml does not exist"):
        resources.find(tmp_path, "compose", "other.yml")


def test_a_checkout_is_searched_once() -> None:
    root = resources.packaged("nginx").parent
    assert resources.search_path(root, "nginx") == [root / "nginx"]


def test_an_installed_package_brings_its_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages/flotteq_tasks"
    (package / "resources/nginx").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.packaged("nginx") == package / "resources/nginx"
    with pytest.raises(SettingsError, match="the compose/ folder"):
        resources.packaged("compose")


def test_a_build_context_of_the_project_comes_before_the_delivered_one(tmp_path: Path) -> None:
    assert (resources.context(tmp_path, "compose/backup") / "Dockerfile").is_file()
    (tmp_path / "compose" / "backup").mkdir(parents=True)
    assert resources.context(tmp_path, "compose/backup") == tmp_path / "compose/backup"
    assert resources.context(tmp_path, "backend") == tmp_path / "backend"
