"""What sudo says, told apart from what commands say. No connection is made."""

from pathlib import Path

import pytest

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.host.target import Target
from flotteq_tasks.model.errors import AccessDenied

HOST = SshHost(Target(host="vps", user="deploy", known_hosts=Path("/none"), sudo=True))
WARNING = "sudo: unable to resolve host vps: Name or service not known\n"


def test_a_host_that_does_not_know_its_own_name_does_not_refuse() -> None:
    for code, err in ((1, WARNING), (1, f"{WARNING}Error: No such image: x\n"), (127, f"{WARNING}sh: x: not found\n")):
        done = Done(Command("docker", "image", "inspect", "x"), code, err=err)
        assert HOST._judge(done) is done


@pytest.mark.parametrize("before", ["", WARNING])
def test_a_sudo_that_wants_a_password_refuses(before: str) -> None:
    with pytest.raises(AccessDenied, match="no root rights without a password: sudo: a password is required"):
        HOST._judge(Done(Command("true"), 1, err=f"{before}sudo: a password is required\n"))
