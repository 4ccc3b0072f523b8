"""The renewal that a timer runs on the host: its script, with an edge and an openssl of the test's own."""

import os
import subprocess
from pathlib import Path

import pytest
from unit_support import shellcheck

from flotteq_tasks.commands import certbot
from flotteq_tasks.commands.shell import Command

# A certificate is a line; the edge serves what lies in `served`.
_OPENSSL = """#!/bin/sh
case $1 in
s_client) cat "$SITE/served" ;;
x509) for word; do file=$word; done; if [ "$file" = -serial ]; then cat; else cat "$file"; fi ;;
esac
"""
TAKES = 'cat "$SITE/certs/current/fullchain.pem" >"$SITE/served"'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A project directory whose edge serves `old` while certbot has `new`."""
    for path, text in (("certs/rel-1", "old"), ("certbot/conf/live/fleet", "new")):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "fullchain.pem").write_text(text)
        (tmp_path / path / "privkey.pem").write_text("key")
    (tmp_path / "certs/current").symlink_to("rel-1")
    (tmp_path / "served").write_text("old")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/openssl").write_text(_OPENSSL)
    (tmp_path / "bin/openssl").chmod(0o755)
    return tmp_path


def install(site: Path, reload: str = TAKES) -> subprocess.CompletedProcess[str]:
    command = certbot.install(
        str(site), certificate="fleet", names=["a.example", "b.example"], reload=Command("sh", "-c", reload), limit=2
    )
    environment = {**os.environ, "PATH": f"{site}/bin:{os.environ['PATH']}", "SITE": str(site)}
    words = command.argv()
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=30, check=False)


def current(site: Path) -> str:
    return (site / "certs/current/fullchain.pem").read_text()


def test_a_renewed_certificate_is_put_into_use_once(site: Path) -> None:
    assert "is in use" in install(site).stdout
    assert (current(site), (site / "served").read_text()) == ("new", "new")
    assert (site / "certs/current/privkey.pem").stat().st_mode & 0o777 == 0o640
    again = install(site, reload="exit 9")
    assert (again.returncode, "not yet due" in again.stdout) == (0, True)


def test_old_workers_may_answer_for_a_moment(site: Path) -> None:
    assert "is in use" in install(site, reload=f"(sleep 0.5; {TAKES}) >/dev/null 2>&1 &").stdout


def test_what_the_edge_refuses_is_put_back(site: Path) -> None:
    done = install(site, reload=f"grep -q old {site}/certs/current/fullchain.pem")
    assert (done.returncode, current(site)) == (3, "old")
    assert "rel-1 is served again" in done.stderr
    assert sorted(path.name for path in (site / "certs").iterdir()) == ["current", "rel-1"]


def test_a_name_that_serves_another_one_puts_it_back(site: Path) -> None:
    done = install(site, reload="true")
    assert (done.returncode, current(site)) == (3, "old")
    assert "a.example does not serve the new certificate" in done.stderr


def test_an_edge_that_refuses_both_is_a_case_for_a_person(site: Path) -> None:
    done = install(site, reload="false")
    assert (done.returncode, current(site)) == (4, "old")


def test_without_a_certificate_nothing_is_touched(site: Path) -> None:
    (site / "certs/current").unlink()
    (site / "certs/current").symlink_to("placeholder")
    done = install(site)
    assert (done.returncode, "inv ssl.init" in done.stderr) == (1, True)


def test_shellcheck_has_nothing_to_say() -> None:
    command = certbot.install("/srv/fleet", certificate="fleet", names=["a"], reload=Command("true"))
    assert shellcheck(command.argv()[2], "sh") == ""
