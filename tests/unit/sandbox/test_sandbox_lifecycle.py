"""What a sandbox refuses before it touches this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.operations.sandbox import lifecycle


@pytest.mark.parametrize("act", [lifecycle.up, lifecycle.prepare])
def test_outside_a_checkout_it_refuses_at_once(act: Callable[..., object], tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match="needs a checkout") as caught:
        act(tmp_path, said.append)
    assert (list(tmp_path.iterdir()), said, caught.value.message.count("\n")) == ([], [], 0)


def test_this_repository_is_a_checkout() -> None:
    lifecycle.require_checkout(Path(__file__).parents[3])
