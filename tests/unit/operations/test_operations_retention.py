"""What retention would remove, with its size."""

import pytest

from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release
from flotteq_tasks.operations.releases import Listed
from flotteq_tasks.operations.retention import Item, StoredImage, in_bytes, removable

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
