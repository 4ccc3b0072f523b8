"""Files over SSH: whole or not at all, and never readable by others for an instant."""

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback_sshd import client_process, wait_until

from flotteq_tasks.host.base import File
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.host.target import Target
from flotteq_tasks.model.errors import CommandFailed


def test_files(host: SshHost, tmp_path: Path) -> None:
    path = tmp_path / "new dir" / "it's"
    assert host.read(str(path)) is None
    assert host.read(f"{tmp_path}/a/b") is None
    host.write(str(path), File(b"\x00first\xff", mode=0o640, group="daemon"))
    assert host.read(str(path)) == b"\x00first\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.group() == "daemon"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    host.write(str(path), File(b""))
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"", [path])
    with pytest.raises(CommandFailed, match="cannot write"):
        host.write(str(tmp_path), File(b""))
    with pytest.raises(CommandFailed, match="cannot read"):
        host.read(str(tmp_path))
    with pytest.raises(CommandFailed) as caught:
        host.write(str(path), File(b"other", group="no-such-group"))
    assert "no-such-group" in caught.value.details
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"", [path])


def test_a_secret_is_never_readable_and_never_partial(host: SshHost, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    old, new = b"old" * 1_000_000, b"new" * 1_000_000
    host.write(str(path), File(old, mode=0o600))
    with _watching(tmp_path) as seen:
        for content in (new, old, new):
            host.write(str(path), File(content, mode=0o600))
    assert {mode for mode, _ in seen} == {0o600}
    assert {content for _, content in seen} <= {hashlib.sha256(c).digest() for c in (old, new)}
    assert len(seen) > 1


def test_a_cut_off_upload_replaces_nothing(target: Callable[..., Target], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("old")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("old")
    # The client dies when it has sent 5120 bytes: in the middle of the file, and between two members of the tar stream.
    code = "\n".join(
        [
            "import os, io, flotteq_tasks.host.ssh as ssh",
            "class Half(io.BytesIO):",
            "    def read(self, size=-1):",
            "        data = super().read(5120)",
            "        return data if data and self.tell() <= 5120 else os.kill(os.getpid(), 9)",
            "ssh.io = type('Io', (), {'BytesIO': Half})",
        ]
    )
    for write in (
        f"host.write('{tmp_path}/secret', File(b'n' * 9000))",
        f"host.write_tree('{tmp_path}/tree', {{'file': File(b'new'), 'later': File(b'n' * 3072)}})",
    ):
        client = client_process(target(), f"{code}\n{write}")
        assert client.wait(20) == -9
    wait_until(lambda: [path.name for path in sorted(tmp_path.rglob("*"))] == ["secret", "tree", "file"])
    assert (tmp_path / "secret").read_text() == "old"
    assert (tmp_path / "tree" / "file").read_text() == "old"


def test_tree(host: SshHost, tmp_path: Path) -> None:
    root = tmp_path / "root"
    before = host.channels
    files = {
        "secrets/db": File(b"s", mode=0o640, group="daemon"),
        "bin/run me": File(b"#!", mode=0o755),
        "a/b/c": File(b"\x00" * 100_000),
        " leading": File(b""),
    }
    host.write_tree(str(root), files)
    assert host.channels == before + 1
    (root / "other").write_text("stays")
    inode = root.joinpath("a").stat().st_ino
    host.write_tree(str(root), {"a/b/c": File(b"new", mode=0o600)})
    assert root.joinpath("a").stat().st_ino == inode
    found = {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.group(), path.stat().st_size)
        for path in root.rglob("*")
        if path.is_file()
    }
    assert found == {
        "secrets/db": (0o640, "daemon", 1),
        "bin/run me": (0o755, "root", 2),
        "a/b/c": (0o600, "root", 3),
        " leading": (0o644, "root", 0),
        "other": (0o644, "root", 5),
    }


def test_a_tree_is_checked_before_anything_is_replaced(host: SshHost, tmp_path: Path) -> None:
    (tmp_path / "zdir").mkdir()
    (tmp_path / "a").write_text("old")
    for bad in ({"zdir": File(b"")}, {"z": File(b"", group="no-such-group")}):
        with pytest.raises(CommandFailed):
            host.write_tree(str(tmp_path), {"a": File(b"new"), **bad})
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "zdir"]
    for path in ("../up", "/abs", ""):
        with pytest.raises(ValueError, match="not a plain relative path"):
            host.write_tree(str(tmp_path), {path: File(b"")})


@contextlib.contextmanager
def _watching(directory: Path) -> Iterator[set[tuple[int, bytes]]]:
    """Look at the files again and again: note mode and content of the secret, and temporary files that are too open."""
    seen: set[tuple[int, bytes]] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for path in directory.iterdir():
                with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                    if path.name == "secret":
                        seen.add((mode, hashlib.sha256(file.read()).digest()))
                    elif mode != 0o600:
                        seen.add((mode, b"temporary file"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
