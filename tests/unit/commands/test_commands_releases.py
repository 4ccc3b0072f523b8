"""The scripts that keep releases on the host, run on real files."""

import os
import time
from pathlib import Path

import pytest
from unit_support import execute

from flotteq_tasks.commands import retention, rollout


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _sweep(tmp_path: Path, *, lines: int = 1000) -> int:
    command = retention.sweep(
        str(tmp_path),
        str(tmp_path / "dumps"),
        releases=["2-v2", "3-v3"],
        secrets=["a.new"],
        journal_lines=lines,
        assets_hours=24,
    )
    return execute(command).returncode


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("1-v1", "2-v2", "-rf", "3-v3"):
        _write(tmp_path / "releases" / name / "manifest.json", "{}")
    for name in ("1-v1", "2-v2"):
        _write(tmp_path / "dumps" / "pre-deploy" / f"{name}.dump", "x")
    for name in ("a.old", "a.new"):
        _write(tmp_path / "secrets" / name, "x")
    (tmp_path / "secrets" / "a").symlink_to("a.new")
    _write(tmp_path / "state" / "journal.jsonl", "".join(f"{number}\n" for number in range(10)))
    return tmp_path


def test_of_releases_that_are_not_kept_nothing_stays(site: Path) -> None:
    assert _sweep(site) == 0
    assert sorted(_files(site)) == [
        "dumps/pre-deploy/2-v2.dump", "releases/2-v2/manifest.json", "releases/3-v3/manifest.json", "secrets/a",
        "secrets/a.new", "state/journal.jsonl",
    ]  # fmt: skip


def _assets(site: Path) -> None:
    for name, age in (("old.js", 25), ("new.js", 23)):
        _write(site / "assets" / "web" / "assets" / name, "xyz")
        then = time.time() - age * 3600
        os.utime(site / "assets" / "web" / "assets" / name, (then, then))


def test_assets_go_when_they_are_old(site: Path) -> None:
    _assets(site)
    assert _sweep(site) == 0
    assert [path.name for path in (site / "assets").rglob("*.js")] == ["new.js"]


def test_the_stock_is_everything_that_retention_decides_on(site: Path) -> None:
    _assets(site)
    for name in ("plan-1", "plan-2"):
        (site / "releases" / name).mkdir()
    os.utime(site / "releases" / "plan-1", (0, 0))
    done = execute(retention.stock(str(site), str(site / "dumps"), assets_hours=24))
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted((kind, name) for kind, name, _ in rows) == [
        ("asset", "web/assets/old.js"), ("dump", "1-v1"), ("dump", "2-v2"), ("plan", "plan-1"), ("release", "-rf"),
        ("release", "1-v1"), ("release", "2-v2"), ("release", "3-v3"), ("secret", "a.new"), ("secret", "a.old"),
    ]  # fmt: skip
    assert all(int(amount) > 0 for _, _, amount in rows)


def test_the_stock_of_an_empty_host_is_nothing(tmp_path: Path) -> None:
    done = execute(retention.stock(str(tmp_path), str(tmp_path / "dumps"), assets_hours=24))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_dumps_there_is_nothing_to_remove(site: Path) -> None:
    for path in (site / "dumps" / "pre-deploy").iterdir():
        path.unlink()
    (site / "dumps" / "pre-deploy").rmdir()
    assert _sweep(site) == 0
    assert "releases/1-v1/manifest.json" not in _files(site)


@pytest.mark.parametrize(("lines", "first"), [(10, "0"), (9, "6")])
def test_a_long_journal_keeps_its_newest_half(site: Path, lines: int, first: str) -> None:
    assert _sweep(site, lines=lines) == 0
    assert (site / "state" / "journal.jsonl").read_text().splitlines()[0] == first


def test_the_edge_kept_with_a_release_comes_back_without_newer_files_and_leaves_the_state_alone(tmp_path: Path) -> None:
    _write(tmp_path / "nginx" / "servers" / "a.conf", "old")
    _write(tmp_path / "nginx" / "state" / "maintenance.on", "")
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    assert execute(rollout.keep_edge_of(str(tmp_path), "r1")).returncode == 0
    _write(tmp_path / "nginx" / "servers" / "a.conf", "new")
    _write(tmp_path / "nginx" / "servers" / "b.conf", "new")
    assert execute(rollout.use_edge_of(str(tmp_path), "r1")).returncode == 0
    assert _files(tmp_path / "nginx") == {"servers/a.conf": "old", "state/maintenance.on": ""}


@pytest.mark.parametrize(("now", "code"), [("certs/current", 0), ("certs/names/a.example/current", 3)])
def test_an_edge_that_reads_a_certificate_nobody_renews_any_more_is_not_used_again(
    tmp_path: Path, now: str, code: int
) -> None:
    kept, served = tmp_path / "releases/r1/nginx/servers/a.conf", tmp_path / "nginx/servers/a.conf"
    _write(kept, "    ssl_certificate  /etc/nginx/certs/current/fullchain.pem;\n")
    _write(served, f"ssl_certificate /etc/nginx/{now}/fullchain.pem;\nssl_certificate_key /k;\n")
    before = served.read_text()
    assert execute(rollout.use_edge_of(str(tmp_path), "r1")).returncode == code
    assert (served.read_text() == before) is (code != 0)


def test_a_release_that_kept_no_edge_says_so_and_changes_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "nginx" / "a.conf", "now")
    assert execute(rollout.use_edge_of(str(tmp_path), "r0")).returncode == 3
    assert _files(tmp_path / "nginx") == {"a.conf": "now"}


@pytest.mark.parametrize("leftover", [False, True], ids=["fresh", "over a leftover"])
def test_a_release_is_staged_again_under_a_new_id(tmp_path: Path, leftover: bool) -> None:
    _write(tmp_path / "releases" / "r1" / "files" / ".env", "A=1\nFLOTTEQ_RELEASE=r1\nB=2\n")
    if leftover:
        _write(tmp_path / "releases" / "r2" / "files" / "stale", "x")
    assert execute(rollout.stage_again(str(tmp_path), "r1", "r2", {})).returncode == 0
    assert _files(tmp_path / "releases" / "r2") == {"files/.env": "A=1\nFLOTTEQ_RELEASE=r2\nB=2\n"}


def test_an_earlier_release_gets_the_passwords_that_servers_know_today(tmp_path: Path) -> None:
    lines = "FLOTTEQ_RELEASE=r1\nDB_PASSWORD_FILE=./secrets/db_password.old\nJWT_FILE=./secrets/jwt.old\n"
    _write(tmp_path / "releases/r1/files/.env", lines)
    command = rollout.stage_again(str(tmp_path), "r1", "r2", {"DB_PASSWORD_FILE": "./secrets/db_password.new"})
    assert execute(command).returncode == 0
    assert (tmp_path / "releases/r2/files/.env").read_text() == (
        "FLOTTEQ_RELEASE=r2\nDB_PASSWORD_FILE=./secrets/db_password.new\nJWT_FILE=./secrets/jwt.old\n"
    )
