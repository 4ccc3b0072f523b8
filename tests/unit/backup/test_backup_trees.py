"""Directories that are exchanged, and certificates that certbot could renew."""

import os
from pathlib import Path
from typing import Any

import pytest
from flotteq_backup import trees
from flotteq_backup.errors import NotVerified


def fill(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def held(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_text() for path in files if trees.KEPT not in path.parts}


def test_what_is_there_and_what_comes_change_places_and_back(tmp_path: Path) -> None:
    old, new = {"both/a": "1", "only-old": "2", "file": "3"}, {"both/b": "4", "only-new/c": "5", "file": "6"}
    fill(tmp_path, old)
    incoming = trees.beside(tmp_path, "new")
    fill(incoming, new)
    before = tmp_path / trees.KEPT / "before-1"
    assert trees.exchange(tmp_path, incoming, before) == 4
    assert held(tmp_path) == new
    assert trees.former(tmp_path) == [before]
    trees.exchange(tmp_path, before, tmp_path / trees.KEPT / "before-2")
    assert held(tmp_path) == old


@pytest.mark.parametrize("turn", range(1, 8))
def test_an_exchange_that_is_cut_off_anywhere_is_brought_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    old, new = {"both/a": "1", "only-old": "2", "file": "3"}, {"both/b": "4", "only-new/c": "5", "file": "6"}
    fill(tmp_path, old)
    incoming = trees.beside(tmp_path, "new")
    fill(incoming, new)
    moves = iter(range(1, 99))

    def cut(move: Any) -> Any:
        def moved(*words: Any) -> Any:
            if next(moves) == turn:
                raise KeyboardInterrupt
            return move(*words)

        return moved

    with monkeypatch.context() as patch:
        patch.setattr(trees, "_exchange", cut(trees._exchange))
        patch.setattr(Path, "rename", cut(Path.rename))
        with pytest.raises(KeyboardInterrupt):
            trees.exchange(tmp_path, incoming, tmp_path / trees.KEPT / "before-1")
    written_down = turn > 1
    assert bool(trees.finish(tmp_path)) == written_down
    assert held(tmp_path) == (new if written_down else old)
    before = tmp_path / trees.KEPT / "before-1"
    if written_down:
        assert {str(one.relative_to(before)) for one in before.rglob("*") if one.is_file()} == set(old)
    assert trees.finish(tmp_path) == 0


def test_what_the_application_removes_meanwhile_does_not_hold_an_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"a": "1", "b": "2", "gone": "3"})
    incoming = trees.beside(tmp_path, "new")
    fill(incoming, {"a": "4", "b": "5"})
    exchange = trees._exchange

    def moved(one: Path, other: Path) -> None:
        for name in ("b", "gone"):
            (tmp_path / name).unlink(missing_ok=True)
        exchange(one, other)

    monkeypatch.setattr(trees, "_exchange", moved)
    trees.exchange(tmp_path, incoming, tmp_path / trees.KEPT / "before-1")
    assert held(tmp_path) == {"a": "4", "b": "5"}
    assert trees.finish(tmp_path) == 0


@pytest.mark.parametrize("between", [False, True], ids=["entries", "the two steps of one"])
def test_what_the_application_writes_anew_after_a_cut_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    fill(tmp_path, {"a": "1", "b": "2"})
    incoming = trees.beside(tmp_path, "new")
    fill(incoming, {"a": "3", "b": "4", "c": "5"})

    def cut(one: Path, other: Path) -> None:
        if one.name == "b":
            raise KeyboardInterrupt
        exchange(one, other)
        if between:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        exchange = trees._exchange
        patch.setattr(trees, "_exchange", cut)
        with pytest.raises(KeyboardInterrupt):
            trees.exchange(tmp_path, incoming, tmp_path / trees.KEPT / "before-1")
    (tmp_path / "kept").write_text("6")
    (tmp_path / "kept").rename(tmp_path / "a")
    trees.finish(tmp_path)
    assert held(tmp_path) == {"a": "6", "b": "4", "c": "5"}
    assert (tmp_path / trees.KEPT / "before-1" / "a").read_text() == "1"


def test_a_place_beside_is_empty_again(tmp_path: Path) -> None:
    fill(trees.beside(tmp_path, "new"), {"left": "by a restore that was cut off"})
    assert list(trees.beside(tmp_path, "new").iterdir()) == []


def test_a_name_that_is_no_utf_8_is_found_as_restic_writes_it(tmp_path: Path) -> None:
    for name in (b"caf\xe9.txt", b"b\xe2\x82c", "café".encode()):
        (tmp_path / os.fsdecode(name)).touch()
    assert sorted(name for name, _ in trees.on_disk(tmp_path)) == ["b\ufffd\ufffdc", "café", "caf\ufffd.txt"]


def test_a_lineage_of_plain_files_could_not_be_renewed(tmp_path: Path) -> None:
    fill(tmp_path, {"live/x/fullchain.pem": "c", "live/x/privkey.pem": "k"})
    with pytest.raises(NotVerified, match=r"live/x/fullchain\.pem is no link into the archive"):
        trees.check_certificates(tmp_path)


def test_a_key_without_its_certificate_is_seen(tmp_path: Path) -> None:
    fill(tmp_path, {"archive/x/fullchain1.pem": "c", "archive/x/privkey1.pem": "k"})
    (tmp_path / "live/x").mkdir(parents=True)
    for name in ("fullchain", "privkey"):
        (tmp_path / f"live/x/{name}.pem").symlink_to(f"../../archive/x/{name}1.pem")
    with pytest.raises(NotVerified, match="do not belong together"):
        trees.check_certificates(tmp_path)


@pytest.mark.parametrize(
    ("written", "mode"),
    [(2147484136, 0o750), (2151678440, 0o2750), (2148532735, 0o1777), (0o755 | 1 << 23, 0o4755)],
)
def test_special_modes_of_a_snapshot_are_those_of_the_disk(written: int, mode: int) -> None:
    assert trees.permissions_of(written) == mode
