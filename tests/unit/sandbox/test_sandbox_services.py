"""What stands around the VPS."""

import re

import pytest

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import Answer, FakeHost
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.images import Images
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.sandbox.services import acme_certificates, push_server, serve_images

NAMES = Names("box")
IMAGES = Images(
    "vps:1", "services:1", "node:1", "nginx:1", "postgres:1", "debian:1", {"library/redis:7": "redis:1"}, official=False
)
SAME = re.compile(r"^docker exec box-registry cmp")


def registry(same: Answer) -> FakeHost:
    return FakeHost(
        {
            "docker exec box-registry curl *": "",
            "docker image inspect redis:1": '[{"Id": "sha256:0123456789abcdef"}]',
            SAME: same,
            "docker *": "",
        }
    )


def test_what_the_registry_has_is_not_pushed_again() -> None:
    host = registry(0)
    serve_images(Docker(host), NAMES, "127.0.0.1:5555", IMAGES, lambda _: None)
    assert not [command for command in host.transcript if " push " in command]
    (asked,) = [command for command in host.transcript if SAME.search(command)]
    tags = "/var/lib/registry/docker/registry/v2/repositories/library/redis/_manifests/tags"
    assert asked.endswith(f"cmp -s {tags}/7/current/link {tags}/sandbox-0123456789ab/current/link")


@pytest.mark.parametrize("same", [1, 2], ids=["another image has the tag", "nothing there"])
def test_the_marker_is_pushed_last(same: int) -> None:
    host = registry(same)
    serve_images(Docker(host), NAMES, "127.0.0.1:5555", IMAGES, lambda _: None)
    pushed = [command.split()[-1] for command in host.transcript if " push " in command]
    assert pushed == ["127.0.0.1:5555/library/redis:7", "127.0.0.1:5555/library/redis:sandbox-0123456789ab"]


def test_the_issuing_root_is_asked_for_until_the_server_answers() -> None:
    refused = Done(Command("docker"), 7, err="connection refused")
    host = FakeHost({"docker exec box-acme curl *": [refused, "root"], "docker exec box-acme cat *": "ca"})
    assert acme_certificates(Docker(host), NAMES) == ("ca", "root")


def test_without_a_registry_there_is_nowhere_to_push() -> None:
    assert push_server(Docker(FakeHost({"docker container inspect box-registry": 1})), NAMES) == ""
