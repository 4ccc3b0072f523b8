"""What retention would remove, with its size."""

from pathlib import Path

import pytest
from unit_support import Events, execute, fake_program, fleet

from flotteq_tasks.commands import retention as scripts
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.releases import Listed
from flotteq_tasks.operations.retention import Found, Item, StoredImage, in_bytes, removable, sweep

LIVE = Release("3-v3", "v3", {}, secrets={"db": "new"})
KNOWN = [Listed(LIVE, True), Listed(Release("2-v2", "v2", {}, secrets={"db": "old"}), False)]
STOCK = [
    Item(kind, name, 10)
    for kind, name in (
        ("release", "3-v3"), ("release", "2-v2"), ("dump", "3-v3"), ("dump", "2-v2"), ("secret", "db.new"),
        ("secret", "db.old"), ("secret", "mail.now"), ("asset", "web/a.js"), ("plan", "plan-1"),
    )
]  # fmt: skip


def test_all_that_no_kept_release_needs_goes() -> None:
    twice = [StoredImage("r/team/core", tag, "sha256:a", "sha256:b", 5) for tag in ("v1", "v2")]
    gone = removable(STOCK, twice, KNOWN, Facts(secrets={"mail": "now"}), 1)
    assert [(one.kind, one.name) for one in gone] == [
        ("image", "core:v2"), ("release", "2-v2"), ("dump", "2-v2"), ("secret", "db.old"), ("asset", "web/a.js"),
        ("plan", "plan-1"),
    ]  # fmt: skip
    assert sum(one.size for one in gone) == 55


@pytest.mark.parametrize(
    ("text", "amount"),
    [("123", 123), ("0B", 0), ("1.2GB", 1_200_000_000), ("546.8MB (80%)", 546_800_000), ("3kB", 3000), ("", 0)],
)
def test_dockers_words_become_bytes(text: str, amount: int) -> None:
    assert in_bytes(text) == amount


def test_thousands_of_images_go_in_commands_that_a_shell_takes() -> None:
    settings = fleet()
    host = FakeHost({"*": ""})
    site = Site(settings, host, ComposeEngine(host, settings), Events().report)
    digest, name = "sha256:" + "a" * 64, "registry.example.com/a-team/a-project-with-a-name/fleet-core"
    images = [StoredImage(name, f"v1.{one}.0", f"{digest}{one}", "", 1) for one in range(2000)]
    sweep(site, Found([], Facts(), images, []))
    assert max(len(one) for one in host.transcript) < 100_000
    assert sum(one.count(f"{name}:v1.") for one in host.transcript) == 2000


def test_where_nothing_is_built_no_image_of_the_host_is_ours(tmp_path: Path) -> None:
    fake_program(tmp_path, "docker", "echo image somebody/else v1 sha256:a sha256:b")
    done = execute(scripts.images([]), path=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
