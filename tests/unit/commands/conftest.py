"""The engine's program as the scripts see it."""

from pathlib import Path

import pytest
from unit_support import Docker, fake_program


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    # The scripts pause between tries: not here.
    fake_program(tmp_path / "bin", "sleep", "exit 0")
    return Docker(tmp_path)
