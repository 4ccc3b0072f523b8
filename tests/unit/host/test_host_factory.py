"""From settings to where and as whom to log in: which keys are offered, by the settings and the variables of a call."""

from dataclasses import replace

import pytest
from unit_support import fleet

from flotteq_tasks.host.connection import explain
from flotteq_tasks.host.factory import target
from flotteq_tasks.model.stack import HostSettings
from flotteq_tasks.settings import checks

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


@pytest.mark.parametrize(
    ("jump", "user", "address", "port"),
    [
        ("bastion", "deploy", "bastion", 22),
        ("ops@bastion.example:2222", "ops", "bastion.example", 2222),
        ("ops@2001:db8::7", "ops", "2001:db8::7", 22),
        ("ops@[2001:db8::7]:2222", "ops", "2001:db8::7", 2222),
        ("[::1]", "deploy", "::1", 22),
    ],
)
def test_a_jump_host_may_be_a_name_or_an_address_of_either_kind(jump: str, user: str, address: str, port: int) -> None:
    settings = fleet(host=HostSettings(address="fleet.example", user="deploy", jump=jump))
    assert checks.JUMP.fullmatch(jump)
    found = target(settings, {}).jump
    assert found is not None
    assert (found.user, found.host, found.port) == (user, address, port)
