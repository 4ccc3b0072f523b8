"""The renewal that a timer runs on the host: its script with real certificates, an edge of the test's own."""

import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from certificate_issuer import Authority
from unit_support import fake_program

from flotteq_tasks.commands import renewal
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.operations.certificates.x509 import utc_now

NAMES = ["a.example", "b.example"]
LIVE = "certbot/conf/live/fleet"
CA = Authority(now=utc_now())
# The edge serves what lies in `served`, or in `served.NAME`; all else is the real program's.
_OPENSSL = """#!/bin/sh
[ "$1" = s_client ] || exec {openssl} "$@"
case $* in *"-servername $(cat "$SITE/gone" 2>/dev/null || echo none)"*) exit 1 ;; esac
name=${{5}}
if [ -e "$SITE/served.$name" ]; then cat "$SITE/served.$name"; else cat "$SITE/served"; fi
"""
TAKES = 'cat "$SITE/certs/current/fullchain.pem" >"$SITE/served"'
TAKES_EACH = """
echo reload >>"$SITE/reloads"
for place in "$SITE"/certs/names/*; do cat "$place/current/fullchain.pem" >"$SITE/served.${place##*/}"; done
"""


def put(folder: Path, pair: tuple[bytes, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(("fullchain.pem", "privkey.pem"), pair, strict=True):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A project directory whose edge serves `rel-1` while certbot has another one."""
    put(tmp_path / "certs/rel-1", CA.issue(NAMES))
    put(tmp_path / LIVE, CA.issue(NAMES))
    (tmp_path / "certs/current").symlink_to("rel-1")
    shutil.copy(tmp_path / "certs/rel-1/fullchain.pem", tmp_path / "served")
    (tmp_path / "state").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/openssl").write_text(_OPENSSL.format(openssl=shutil.which("openssl")))
    (tmp_path / "bin/openssl").chmod(0o755)
    return tmp_path


def run(site: Path, reload: str = TAKES, *, renew: str = "true") -> subprocess.CompletedProcess[str]:
    command = renewal.job(
        str(site), shared="fleet", names=NAMES, renew=Command("sh", "-c", renew),
        reload=Command("sh", "-c", reload), stack="fleet-production", metrics=f"{site}/metrics", limit=2,
        readers=str(os.getgid()),
    )  # fmt: skip
    environment = {**os.environ, "PATH": f"{site}/bin:{os.environ['PATH']}", "SITE": str(site)}
    return subprocess.run(command.argv(), capture_output=True, text=True, env=environment, timeout=30, check=False)


def current(site: Path) -> str:
    """What the link points to: the old one, or a new one."""
    return (site / "certs/current").readlink().name


def last(site: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((site / "state" / renewal.RESULT).read_text())
    return found


@pytest.fixture
def site_of_two(site: Path) -> Path:
    """Every name has a certificate of its own; certbot has the same."""
    shutil.rmtree(site / "certs")
    for name in NAMES:
        pair = CA.issue([name])
        put(site / "certs/names" / name / "rel-1", pair)
        put(site / "certbot/conf/live" / name, pair)
        (site / "certs/names" / name / "current").symlink_to("rel-1")
        (site / f"served.{name}").write_bytes(pair[0])
    put(site / "certs/placeholder", CA.issue(["placeholder.invalid"]))
    (site / "certs/current").symlink_to("placeholder")
    return site


def targets(site: Path) -> list[str]:
    """What the link of each name points to."""
    return [(site / "certs/names" / name / "current").readlink().name for name in NAMES]


def renewed(site: Path, *names: str) -> None:
    """certbot has new ones."""
    for name in names:
        put(site / "certbot/conf/live" / name, CA.issue([name]))


def test_a_renewed_certificate_is_put_into_use_once(site: Path) -> None:
    assert "is in use" in run(site).stdout
    assert (site / "served").read_bytes() == (site / LIVE / "fullchain.pem").read_bytes()
    assert (site / "certs/current/privkey.pem").stat().st_mode & 0o777 == renewal.KEY_MODE
    target = current(site)
    again = run(site, reload="exit 9")
    assert (again.returncode, "not yet due" in again.stdout, current(site)) == (0, True, target)
    assert (last(site)["what"], last(site)["code"]) == ("schedule renew", 0)


def test_old_workers_may_answer_for_a_moment(site: Path) -> None:
    assert "is in use" in run(site, reload=f"(sleep 0.5; {TAKES}) >/dev/null 2>&1 &").stdout


def test_what_the_edge_refuses_is_put_back(site: Path) -> None:
    done = run(site, reload='[ "$(readlink "$SITE/certs/current")" = rel-1 ]')
    assert (done.returncode, current(site), last(site)["code"]) == (3, "rel-1", 3)
    assert "rel-1 is served again" in done.stderr
    assert sorted(path.name for path in (site / "certs").iterdir()) == ["current", "rel-1"]


def test_a_name_that_serves_another_one_puts_it_back(site: Path) -> None:
    done = run(site, reload="true")
    assert (done.returncode, current(site)) == (3, "rel-1")
    assert "a.example does not serve the certificate of rel-2" in done.stderr


def test_an_edge_that_refuses_both_is_a_case_for_a_person(site: Path) -> None:
    assert (run(site, reload="false").returncode, current(site)) == (4, "rel-1")


def test_without_a_certificate_nothing_is_touched(site: Path) -> None:
    (site / "certs/current").unlink()
    (site / "certs/current").symlink_to("placeholder")
    done = run(site, renew="exit 9")
    assert (done.returncode, "inv ssl.init" in done.stderr) == (1, True)


def _of_two(site: Path) -> None:
    chain, _ = CA.issue(NAMES)
    put(site / LIVE, (chain, CA.issue(NAMES)[1]))


def _foreign_chain(site: Path) -> None:
    chain, key = CA.issue(NAMES)
    put(site / LIVE, (chain.replace(CA.pem, Authority(now=utc_now()).pem), key))


def _readable(site: Path) -> None:
    (site / LIVE / "privkey.pem").chmod(0o644)


UNFIT = {
    "the key does not belong to it": _of_two,
    "it is not valid for b.example": lambda site: put(site / LIVE, CA.issue(NAMES[:1])),
    "certificate has expired": lambda site: put(
        site / LIVE, CA.issue(NAMES, start=utc_now() - timedelta(days=100), days=90)
    ),
    "certificate is not yet valid": lambda site: put(site / LIVE, CA.issue(NAMES, start=utc_now() + timedelta(days=1))),
    "certificate signature failure": _foreign_chain,
    "fullchain.pem is none": lambda site: put(site / LIVE, (b"garbage", CA.issue(NAMES)[1])),
    "privkey.pem is none": lambda site: put(site / LIVE, (CA.issue(NAMES)[0], b"garbage")),
    "fullchain.pem or privkey.pem is missing": lambda site: put(site / LIVE, (b"", b"")),
    "privkey.pem may be read by others: chmod 600": _readable,
}


@pytest.mark.parametrize("fault", UNFIT)
def test_an_unfit_certificate_never_reaches_the_edge(site: Path, fault: str) -> None:
    UNFIT[fault](site)
    done = run(site, reload="exit 9")
    assert (done.returncode, current(site), last(site)["code"]) == (1, "rel-1", 1)
    assert fault in done.stderr and "rel-1 stays in use" in done.stderr
    assert sorted(path.name for path in (site / "certs").iterdir()) == ["current", "rel-1"]


def test_a_name_that_the_one_in_use_never_had_need_not_be_in_the_next(site: Path) -> None:
    put(site / "certs/rel-1", CA.issue(NAMES[:1]))
    put(site / LIVE, CA.issue(NAMES[:1]))
    assert run(site).returncode == 0
    assert current(site) != "rel-1"


def test_a_name_that_was_added_after_the_timer_was_installed_must_not_be_lost(site: Path) -> None:
    put(site / "certs/rel-1", CA.issue([*NAMES, "later.example"]))
    done = run(site, reload="exit 9")
    assert (done.returncode, current(site)) == (1, "rel-1")
    assert "it is not valid for later.example" in done.stderr


def test_a_name_that_was_taken_from_the_edge_does_not_stop_the_others(site: Path) -> None:
    (site / "gone").write_text("b.example")
    assert run(site).returncode == 0
    assert current(site) != "rel-1"


@pytest.mark.parametrize("name", ["fullchain.pem", "privkey.pem"])
def test_a_damaged_file_in_use_is_replaced_by_itself(site: Path, name: str) -> None:
    put(
        site / "certs/rel-1", ((site / LIVE / "fullchain.pem").read_bytes(), (site / LIVE / "privkey.pem").read_bytes())
    )
    (site / "certs/rel-1" / name).write_text("garbage")
    assert run(site).returncode == 0
    assert current(site) != "rel-1"


def test_an_authority_that_does_not_answer_fails_the_job_and_nothing_else(site: Path) -> None:
    shutil.copytree(site / "certs/rel-1", site / LIVE, dirs_exist_ok=True)
    done = run(site, reload="exit 9", renew="exit 1")
    assert (done.returncode, current(site), last(site)["code"]) == (1, "rel-1", 1)
    assert "certbot did not renew fleet; rel-1 stays in use" in done.stderr


@pytest.mark.parametrize(
    ("renew", "reload", "code", "said"),
    [
        ("true", '[ "$(readlink "$SITE/certs/current")" = rel-1 ] || exec docker exec edge', 3,
         "rel-1 is served again"),
        ("true", "exec docker exec edge", 4, "neither the new certificates nor the previous ones"),
        ('cp "$SITE"/certs/rel-1/* "$SITE/certbot/conf/live/fleet"; exec docker exec certbot', "exit 9", 1,
         "certbot did not renew fleet"),
    ],
)  # fmt: skip
def test_an_engine_that_never_answers_is_not_waited_for(
    site: Path, renew: str, reload: str, code: int, said: str
) -> None:
    fake_program(site / "bin", "docker", "exec sleep 600")
    hurry = "shift 3; exec /usr/bin/timeout --foreground --kill-after=0.2 1"
    fake_program(
        site / "bin", "timeout", f'[ "$1" != --foreground ] || {{ {hurry} "$@"; }}\nexec /usr/bin/timeout "$@"'
    )
    done = run(site, reload, renew=renew)
    assert (done.returncode, current(site), last(site)["code"]) == (code, "rel-1", code)
    assert said in done.stderr


def test_an_edge_that_serves_an_older_one_reads_it_again(site: Path) -> None:
    shutil.copytree(site / "certs/rel-1", site / LIVE, dirs_exist_ok=True)
    (site / "served").write_bytes(CA.issue(NAMES)[0])
    done = run(site)
    assert (done.returncode, current(site)) == (0, "rel-1")
    assert (site / "served").read_bytes() == (site / LIVE / "fullchain.pem").read_bytes()


def test_monitoring_gets_both_ends_of_each_life_and_the_result(site: Path) -> None:
    run(site, reload="false")
    text = (site / "metrics/fleet-production-tls.prom").read_text()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    labels = 'stack="fleet-production",name="b.example"'
    life = [int(values[f"flotteq_tls_{end}_timestamp_seconds{{{labels}}}"]) for end in ("not_after", "not_before")]
    assert life[0] - life[1] == 90 * 86400
    assert values['flotteq_tls_renewal_exit_code{stack="fleet-production"}'] == "4"
    assert text.count("# TYPE") == 4 and (site / "metrics/fleet-production-tls.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (site / "metrics").iterdir()] == ["fleet-production-tls.prom"]


def test_metrics_that_cannot_be_written_are_no_failure(site: Path) -> None:
    (site / "metrics").write_text("a file")
    done = run(site)
    assert (done.returncode, "cannot be written" in done.stderr) == (0, True)


def test_without_openssl_nothing_is_put_into_use(site: Path) -> None:
    (site / "bin/openssl").unlink()
    for name in ("sh", "date", "mktemp", "mv", "rm", "mkdir", "readlink"):
        (site / "bin" / name).symlink_to(str(shutil.which(name)))
    command = renewal.job(
        str(site), shared="fleet", names=NAMES, renew=Command("true"), reload=Command("true"), stack="s"
    )
    done = subprocess.run(
        command.argv(), capture_output=True, text=True, env={"PATH": f"{site}/bin"}, timeout=30, check=False
    )
    assert (done.returncode, current(site)) == (1, "rel-1")
    assert "apt-get install openssl" in done.stderr


def test_of_several_certificates_only_the_renewed_one_is_put_into_use(site_of_two: Path) -> None:
    renewed(site_of_two, "b.example")
    done = run(site_of_two, reload=TAKES_EACH, renew='echo "$@" >>"$SITE/asked"')
    assert (done.returncode, done.stderr) == (0, "")
    first, second = targets(site_of_two)
    assert first == "rel-1" != second and f"b.example of {second} is in use" in done.stdout
    assert (site_of_two / "reloads").read_text() == "reload\n"
    asked = (site_of_two / "asked").read_text().split()
    assert asked == ["a.example", "b.example"]
    assert "not yet due" in run(site_of_two, reload="exit 9").stdout


def test_one_that_is_not_served_is_put_back_and_the_others_stay(site_of_two: Path) -> None:
    renewed(site_of_two, *NAMES)
    before = (site_of_two / "served.a.example").read_bytes()
    keeps = f'{TAKES_EACH}\ncp "$SITE/first" "$SITE/served.a.example"'
    (site_of_two / "first").write_bytes(before)
    done = run(site_of_two, reload=keeps)
    assert (done.returncode, last(site_of_two)["code"]) == (3, 3)
    first, second = targets(site_of_two)
    assert first == "rel-1" != second
    assert "a.example could not be put into use, rel-1 is served again" in done.stderr
    assert sorted(path.name for path in (site_of_two / "certs/names/a.example").iterdir()) == ["current", "rel-1"]


def test_a_reload_that_is_refused_puts_all_back(site_of_two: Path) -> None:
    renewed(site_of_two, *NAMES)
    done = run(site_of_two, reload='[ "$(readlink "$SITE/certs/names/a.example/current")" = rel-1 ]')
    assert (done.returncode, targets(site_of_two)) == (3, ["rel-1", "rel-1"])


def test_one_that_is_unfit_or_refused_holds_no_other_back(site_of_two: Path) -> None:
    put(site_of_two / "certbot/conf/live/a.example", CA.issue(["other.example"]))
    renewed(site_of_two, "b.example")
    done = run(site_of_two, reload=TAKES_EACH)
    first, second = targets(site_of_two)
    assert done.returncode == 1 and first == "rel-1" != second
    assert "it is not valid for a.example" in done.stderr
    renewed(site_of_two, *NAMES)
    done = run(site_of_two, reload=TAKES_EACH, renew='[ "$1" != b.example ]')
    assert (done.returncode, "certbot did not renew b.example" in done.stderr) == (1, True)
    assert targets(site_of_two)[0] != "rel-1"


def test_the_certificate_of_all_names_serves_and_is_renewed_for_those_without_one_of_their_own(site: Path) -> None:
    own = CA.issue(NAMES[:1])
    put(site / "certs/names/a.example/rel-1", own)
    put(site / "certbot/conf/live/a.example", own)
    (site / "certs/names/a.example/current").symlink_to("rel-1")
    (site / "served.a.example").write_bytes(own[0])
    done = run(site)
    assert (done.returncode, "fleet of rel-2" in done.stdout) == (0, True), done.stderr
    assert current(site) != "rel-1" and (site / "certs/names/a.example/current").readlink().name == "rel-1"


def test_every_renewal_is_rehearsed_and_one_that_fails_is_named(site_of_two: Path) -> None:
    command = renewal.rehearsal(
        str(site_of_two), shared="fleet", rehearse=Command("sh", "-c", '[ "$1" != a.example ] && echo "$0 $1"')
    )
    done = subprocess.run(command.argv(), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "--cert-name b.example\n")
    assert done.stderr == "the rehearsal for a.example failed\n"
