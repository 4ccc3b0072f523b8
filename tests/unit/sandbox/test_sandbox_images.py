"""Keys of content, and which images come from where."""

import json
from pathlib import Path

import pytest

from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import CommandTimedOut
from flotteq_tasks.operations.sandbox import images, recipes
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.images import ensure_images
from flotteq_tasks.operations.sandbox.recipes import content_key

REPOSITORY = Path(__file__).parents[3]
FOUND = json.dumps([{"Id": "sha256:abc"}])
HUB = "docker buildx imagetools inspect debian:trixie-slim"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "deep" / "run").write_text("#!/bin/sh\n")
    return tmp_path


def test_the_key_changes_with_content_names_and_executable_bits(folder: Path) -> None:
    keys = [content_key(folder), content_key(folder, "base id")]
    (folder / "deep" / "run").chmod(0o755)
    keys.append(content_key(folder))
    (folder / "deep" / "run").rename(folder / "run")
    keys.append(content_key(folder))
    (folder / "run").write_text("other")
    keys.append(content_key(folder))
    assert len(set(keys)) == len(keys)
    assert content_key(folder) == keys[-1]


@pytest.mark.parametrize("recipe", recipes.RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_has_its_folder(recipe: recipes.Recipe) -> None:
    folder = REPOSITORY / "sandbox" / recipe.name
    assert (folder / "Dockerfile").is_file()
    assert (folder / "requirements.txt").is_file() == bool(recipe.wheels)


def test_what_the_vps_pulls_is_what_flotteq_toml_names() -> None:
    served = {recipe.served.removeprefix("library/") for recipe in recipes.RECIPES if recipe.served}
    text = (REPOSITORY / "flotteq.toml").read_text()
    assert [reference for reference in served if f'image = "{reference}"' not in text] == []


def test_a_second_run_asks_nobody_and_builds_nothing(tmp_path: Path) -> None:
    host = FakeHost({"docker context show": "default\n", "docker image inspect *": FOUND})
    lines: list[str] = []
    made = ensure_images(Docker(host), REPOSITORY, tmp_path, lines.append)
    assert not lines
    assert made.served["library/postgres:15"].startswith("flotteq-sandbox/postgres:")
    assert made.node.startswith("flotteq-sandbox/node:")
    assert made.frontend.startswith("flotteq-sandbox/nginx:")
    assert {command.split()[1] for command in host.transcript} == {"context", "image"}


def hub_host(answer: object) -> FakeHost:
    return FakeHost(
        {
            "docker context show": "default\n",
            "docker image inspect *": 1,
            HUB: answer,
            "docker pull *": "",
            "docker buildx build *": "",
        }
    )


def test_where_docker_hub_answers_official_images_are_used(tmp_path: Path) -> None:
    host = hub_host("Name: debian")
    made = ensure_images(Docker(host), REPOSITORY, tmp_path, lambda _: None)
    assert made.official
    assert made.served["library/redis:7"] == "redis:7"
    assert (made.node, made.frontend) == ("node:20", "nginx:1.30-alpine")
    builds = [command.split("--tag ")[1].split(":")[0] for command in host.transcript if "buildx build" in command]
    assert sorted(builds) == ["flotteq-sandbox/base", "flotteq-sandbox/host", "flotteq-sandbox/services"]
    assert "docker pull --quiet debian:trixie-slim" in host.transcript


@pytest.mark.parametrize("answer", [1, CommandTimedOut("8 s")], ids=["refused", "no answer"])
def test_where_it_does_not_the_stand_ins_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    host = hub_host(answer)
    monkeypatch.setattr(images._Builder, "_rootfs", lambda _self, base: f"rootfs:{base.suite}")
    monkeypatch.setattr(images._Builder, "_fetch_wheels", lambda *_: None)
    monkeypatch.setattr(images, "_ensure_tools", lambda *_: None)
    lines: list[str] = []
    made = ensure_images(Docker(host), REPOSITORY, tmp_path, lines.append)
    assert not made.official
    assert lines[0] == "no Docker Hub: images from packages"
    assert not [command for command in host.transcript if "docker pull" in command]
    assert len([command for command in host.transcript if "buildx build" in command]) == 2 + len(recipes.RECIPES)
    assert not (tmp_path / "build").exists()


def test_purging_takes_what_was_built_and_what_was_pushed() -> None:
    listing = (
        "docker image ls --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}' "
        "'--filter=reference=flotteq-sandbox/*' "
        "'--filter=reference=127.0.0.1:5555/*' '--filter=reference=127.0.0.1:5555/*/*'"
    )
    newer = "127.0.0.1:5555/flotteq/api v1 sha256:2\n"
    older = "127.0.0.1:5555/flotteq/api <none> sha256:1\n"
    host = FakeHost({listing: [f"flotteq-sandbox/host 1 <none>\n{older}{newer}", older], "docker image rm *": ""})
    images.remove_images(Docker(host), ["127.0.0.1:5555"], lambda _: None)
    assert [one for one in host.transcript if " rm " in one] == [
        "docker image rm --force 127.0.0.1:5555/flotteq/api:v1 flotteq-sandbox/host:1",
        "docker image rm --force 127.0.0.1:5555/flotteq/api@sha256:1",
    ]
