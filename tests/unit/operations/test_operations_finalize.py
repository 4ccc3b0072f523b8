"""What restores put aside is removed only when none of them is under way any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flotteq_tasks.operations.backup import restore


def test_a_restore_that_was_cut_off_is_brought_to_its_end_before_anything_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did: list[str] = []

    class Anything:
        text = ""

        def __getattr__(self, _: str) -> Any:
            return Anything()

        def __call__(self, *_: Any, **__: Any) -> Any:
            return Anything()

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            return

    @contextmanager
    def locked(*_: Any) -> Iterator[Any]:
        yield Anything()

    monkeypatch.setattr(restore, "locked", locked)
    monkeypatch.setattr(restore, "holder", lambda *_: None)
    monkeypatch.setattr(restore, "repair", lambda *_: did.append("repair"))
    monkeypatch.setattr(restore, "former", lambda _, kind: [kind])
    monkeypatch.setattr(restore, "drop", lambda _, names: did.append(f"drop {names}"))
    monkeypatch.setattr(restore.trees, "clear", lambda _: did.append("clear") or [])
    restore.finalize(Anything(), {})
    assert did == ["repair", "drop ['before', 'restored']", "clear"]
