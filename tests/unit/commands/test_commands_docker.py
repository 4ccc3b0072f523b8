"""Command lines of docker, as whole text."""

import pytest

from flotteq_tasks.commands import docker
from flotteq_tasks.commands.shell import Command


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (docker.inspect("a", "b"), "docker inspect --format '{{json .}}' a b"),
        (docker.inspect("a", format="{{.Id}}"), "docker inspect --format '{{.Id}}' a"),
        (docker.image_inspect("r:1"), "docker image inspect --format '{{json .}}' r:1"),
        (docker.push("r:1"), "docker push r:1"),
        (docker.remove(["a"]), "docker rm --force a"),
        (docker.volume_create("v", {"x": "1 2"}), "docker volume create '--label=x=1 2' v"),
        (docker.login("r.example", "me"), "docker login --username me --password-stdin r.example"),
        (docker.manifest("r:1"), "docker manifest inspect --insecure r:1"),
    ],
)
def test_whole_text(command: Command, text: str) -> None:
    assert str(command) == text


def test_a_build_with_everything() -> None:
    command = docker.build(
        "/w/core",
        dockerfile="/w/core/Dockerfile",
        tags=["r/core:v1", "p/core:v1"],
        args={"VERSION": "v1", "A": "x y"},
        labels={"b": "2", "a": "1"},
        ca_bundle="/etc/ca.pem",
        platform="linux/amd64",
    )
    assert str(command) == (
        "docker buildx build --load --progress plain --file /w/core/Dockerfile --tag=r/core:v1 --tag=p/core:v1 "
        "'--build-arg=A=x y' --build-arg=VERSION=v1 --label=a=1 --label=b=2 "
        "--secret id=ca_bundle,src=/etc/ca.pem --platform linux/amd64 /w/core"
    )


def test_a_build_with_little() -> None:
    command = docker.build("/w", dockerfile="/w/Dockerfile", tags=["r:1"], args={}, labels={})
    assert str(command) == "docker buildx build --load --progress plain --file /w/Dockerfile --tag=r:1 /w"
