"""Which keys are offered, by the settings and the variables of a call."""

from dataclasses import replace

import pytest
from unit_support import fleet

from flotteq_tasks.host.connection import explain
from flotteq_tasks.host.factory import target

JUMP = "ops@gate.example"


@pytest.mark.parametrize(
    ("key_file", "variables", "usual"),
    [
        ("", {}, True),
        ("keys/deploy", {}, False),
        ("", {"FLOTTEQ_SSH_KEY": "a key as text"}, False),
    ],
)
def test_the_usual_keys_are_offered_where_none_is_named(key_file: str, variables: dict[str, str], usual: bool) -> None:
    settings = fleet()
    settings = replace(settings, host=replace(settings.host, key_file=key_file, jump=JUMP))
    found = target(settings, variables)
    assert found.jump is not None
    assert (found.usual_keys, found.jump.usual_keys) == (usual, usual)


def test_without_its_overlay_an_environment_is_perhaps_another_machine() -> None:
    """Neither log in there by hand nor trust it: start what writes the overlay."""
    found = explain(
        target(replace(fleet(), absent=".box/environment.toml"), {}), ConnectionRefusedError(111, "Refused")
    )
    assert found.hint.startswith(".box/environment.toml") and "inv sandbox.up" in found.hint
    assert "by hand: ssh" in explain(target(fleet(), {}), ConnectionRefusedError(111, "Refused")).hint
