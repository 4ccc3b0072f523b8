"""The pieces that SSH and local hosts share."""

import io
import tarfile
from pathlib import Path

import pytest

from flotteq_tasks.host.base import File
from flotteq_tasks.host.pump import Lines, Tail
from flotteq_tasks.host.target import Target
from flotteq_tasks.host.tree import pack
from flotteq_tasks.model.secret import Secret


def test_tail_keeps_the_end() -> None:
    tail = Tail(6)
    for piece in (b"abc", b"d", b"", b"efgh"):
        tail.add(piece)
    assert tail.value() == b"cdefgh"
    whole = Tail()
    whole.add(b"abc" * 100_000)
    whole.add(b"d")
    assert whole.value() == b"abc" * 100_000 + b"d"


def test_tail_forgets_what_it_does_not_need() -> None:
    tail = Tail(10)
    for _ in range(1000):
        tail.add(b"x" * 7)
    assert len(tail._chunks) < 4


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_are_the_same_however_they_arrive(size: int) -> None:
    lines: list[str] = []
    cutter = Lines(lines.append)
    data = "ä\r\n\nthird ✓ line\nend".encode()
    for start in range(0, len(data), size):
        cutter.add(data[start : start + size])
    cutter.end()
    assert lines == ["ä", "", "third ✓ line", "end"]
    assert cutter.value() == "ä\n\nthird ✓ line\nend"


def test_a_line_without_end_is_handed_over_in_pieces() -> None:
    lines: list[str] = []
    cutter = Lines(lines.append)
    for _ in range(30):
        cutter.add(b"x" * 10_000)
    assert len(lines) == 4


def test_a_tree_ends_with_its_manifest_and_opens_nothing_wide() -> None:
    packed = pack({"b/c": File(b"two", mode=0o640, group="www"), "a": File(b"one", mode=0o755)})
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
        manifest = archive.extractfile(members[-1])
        assert manifest is not None
        assert manifest.read() == b"0755\t-\ta\n0640\twww\tb/c\n"
    assert [member.name for member in members] == ["files", "files/b", "files/a", "files/b/c", "manifest"]
    assert {member.mode for member in members} == {0o600, 0o700}


def test_target_names() -> None:
    plain = Target(host="h", user="deploy", known_hosts=Path("k"), key_text=Secret("s3cret"), sudo=True)
    assert (plain.name, plain.known_as, plain.elevates) == ("deploy@h", "h", True)
    other = Target(host="h", user="root", known_hosts=Path("k"), port=2222, sudo=True)
    assert (other.name, other.known_as, other.elevates) == ("root@h:2222", "[h]:2222", False)
    assert "s3cret" not in repr(plain)
