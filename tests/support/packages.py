"""Programs that the tests need on this machine."""

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest


def install_packages(*packages: str, say: Callable[[str], None]) -> None:
    """Install Debian packages from this machine's own sources; without root or apt the tests fail and say so."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.fail(f"missing on this machine: {', '.join(packages)}; on Debian: apt-get install {' '.join(packages)}")
    say(f"installing {', '.join(packages)} from this machine's package sources")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", *packages)):
        subprocess.run(["apt-get", *words], env=environment, check=True, timeout=600, stdout=subprocess.DEVNULL)
