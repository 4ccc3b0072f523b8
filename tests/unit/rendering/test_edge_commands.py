"""Command lines of nginx and certbot as text."""

import subprocess
import sys
from pathlib import Path

import pytest
from unit_support import Docker

from flotteq_tasks.commands import certbot, nginx
from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.shell import Command

COMPOSE = Compose("fleet", "/srv/fleet")


def _inside(service: str) -> str:
    return str(COMPOSE.exec(service, []))


def test_test() -> None:
    assert str(nginx.test(COMPOSE)) == f"{_inside('nginx')} nginx -e stderr -t -q -c /etc/nginx/flotteq/nginx.conf"


def test_dump() -> None:
    assert (
        str(nginx.dump(COMPOSE, service="edge"))
        == f"{_inside('edge')} nginx -e stderr -T -q -c /etc/nginx/flotteq/nginx.conf"
    )


def test_reload_passes_its_figures_as_arguments() -> None:
    command = nginx.reload(COMPOSE, generation="a-b", taken=15)
    assert command.argv()[-4:] == ["flotteq", "/etc/nginx/flotteq", "a-b", "15"]
    assert str(command).startswith(f"{_inside('nginx')} sh -c ")


def test_trying_files_out_passes_its_figures_as_arguments() -> None:
    command = nginx.try_out("4f1d", "/d/state/edge.check", name="fleet-nginx-check")
    assert command.argv()[-5:-1] == ["4f1d", "/d/state/edge.check", "fleet-nginx-check", "/etc/nginx/flotteq"]


def test_files_are_tried_out_with_no_more_rights_than_the_edge_has(tmp_path: Path) -> None:
    docker = Docker(tmp_path)
    files = tmp_path / "files"
    files.mkdir()
    like = "--user 101:101 --group-add 6402 --read-only --cap-drop ALL --tmpfs /run:mode=1777"
    answer = f'case "$3" in "{{{{.Image}}}}") echo sha256:i ;; *) [ "$1" != inspect ] || echo "{like}" ;; esac'
    code, _ = docker.run(nginx.try_out("4f1d", str(files), name="n"), answer)
    ran = next(call for call in docker.calls if call.startswith("run "))
    assert code == 0 and f"{files}:/etc/nginx/flotteq:ro {like} --entrypoint nginx sha256:i" in ran
    assert not files.exists()


def test_maintenance() -> None:
    assert str(nginx.maintenance_off("/srv/fleet")) == "rm -f /srv/fleet/nginx/state/maintenance.on"
    assert nginx.maintenance_on("/srv/fleet").argv()[-1] == "/srv/fleet"


def test_certonly() -> None:
    command = certbot.certonly(
        COMPOSE, ["api.fleet.example", "fleet.example"],
        certificate="fleet", directory="https://acme.example/dir", email="o@x.example",
    )  # fmt: skip
    assert str(command) == (
        f"{_inside('certbot')} certbot certonly --non-interactive --agree-tos --email o@x.example --no-eff-email "
        "--server https://acme.example/dir --webroot --webroot-path /var/www/acme --cert-name fleet "
        "--key-type ecdsa --elliptic-curve secp256r1 --keep-until-expiring --expand "
        "--domain api.fleet.example --domain fleet.example"
    )


def test_certonly_without_an_address_and_for_show() -> None:
    words = certbot.certonly(COMPOSE, ["a.example"], certificate="fleet", directory="https://d", dry_run=True).argv()
    assert "--register-unsafely-without-email" in words and "--email" not in words
    assert "--dry-run" in words and "--preferred-profile" not in words


def test_a_profile_is_asked_for_at_every_order() -> None:
    first = certbot.certonly(COMPOSE, ["a"], certificate="fleet", directory="https://d", profile="shortlived")
    again = certbot.renew(COMPOSE, certificate="fleet", profile="shortlived")
    for command in (first, again):
        assert "--preferred-profile shortlived" in str(command)


def test_renew_and_its_rehearsal() -> None:
    renew = f"{_inside('certbot')} certbot renew --non-interactive --no-random-sleep-on-renew --cert-name fleet"
    assert str(certbot.renew(COMPOSE, certificate="fleet")) == renew
    rehearsal = certbot.rehearse(COMPOSE, certificate="fleet", directory="https://acme.example/dir")
    assert str(rehearsal) == f"{renew} --dry-run --server https://acme.example/dir"


@pytest.mark.parametrize(
    "command",
    [
        Command(*nginx.reload(COMPOSE, generation="", taken=1).argv()[-7:]),
        Command(*nginx.drained(COMPOSE, ["7", "8"], limit=1).argv()[-7:]),
        nginx.maintenance_on("/d"),
        nginx.try_out("4f1d", "/d/state/edge.check", name="fleet-nginx-check"),
        certbot.current("/d"),
        certbot.point("/d", "rel-1"),
        certbot.discard("/d", "rel-1"),
    ],
    ids=["reload", "drained", "maintenance", "try_out", "current", "point", "discard"],
)
def test_the_scripts_are_sound_for_a_posix_shell(command: Command) -> None:
    words = command.argv()
    text = words[words.index("-c") + 1]
    done = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", "--shell", "sh", "--severity", "info", "-"],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
