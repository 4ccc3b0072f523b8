"""Timers: they run on the host without this machine, under the host's lock, and say how they ended."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.stack import DOMAINS, Stack, wait_for

pytestmark = pytest.mark.stack

JOBS = ["renew", "rehearse", "backup", "full", "verify", "drill", "prune"]


def jobs(stack: Stack) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(stack.inv("schedule.list", "--json").out)["jobs"]}


def test_timers_are_installed_once_and_have_a_next_run(stack: Stack) -> None:
    assert stack.inv("schedule.list").code == 5 or jobs(stack)["backup"]["installed"]
    for _ in range(2):
        stack.inv("schedule.install").ok()
    found = jobs(stack)
    assert list(found) == JOBS
    assert all(one["installed"] and one["next"] > 0 for one in found.values())
    assert stack.host("systemd-analyze verify /etc/systemd/system/flotteq-schedule-backup.timer").err == ""


def test_a_timer_takes_a_verified_set_without_this_machine(stack: Stack) -> None:
    stack.inv("schedule.install").ok()
    stack.host("systemctl start flotteq-schedule-backup.service", timeout=180)
    newest = json.loads(stack.inv("backup.list", "--json").ok().out)[0]
    assert (newest["reason"], newest["verified"], set(newest["parts"])) == ("scheduled", True, {"db", "certs"})
    assert jobs(stack)["backup"]["result"] == "success"
    assert "schedule backup" in stack.inv("history").ok().out
    assert "is not locked" in stack.inv("lock.status").ok().out
    assert "is whole" not in stack.inv("schedule.run-now", "verify").ok().err


def test_a_renewal_that_the_authority_wants_is_put_into_use_by_the_host_alone(stack: Stack) -> None:
    stack.inv("schedule.install").ok()
    assert "not yet due" in stack.inv("schedule.run-now", "renew").ok().out
    before = json.loads(stack.inv("ssl.status", "--json").ok().out)["names"]
    stack.want_renewal()
    stack.host("systemctl start flotteq-schedule-renew.service", timeout=180)
    found = json.loads(stack.inv("ssl.status", "--json").ok().out)
    after = found["names"]
    assert not {one["serial"] for one in before} & {one["serial"] for one in after}
    assert len({one["serial"] for one in after}) == 1
    assert (found["last_renewal"]["what"], found["last_renewal"]["code"]) == ("schedule renew", 0)
    assert all(one["renew_from"] > one["not_before"] for one in after)


def test_a_renewal_is_rehearsed_and_a_failure_leaves_what_is_served(stack: Stack) -> None:
    before = json.loads(stack.inv("ssl.status", "--json").ok().out)["names"]
    stack.inv("schedule.run-now", "rehearse").ok()
    conf = "/opt/flotteq/certbot/conf/renewal/flotteq.conf"
    stack.host(f"cp {conf} {conf}.kept; sed -i '1i renew_before_expiry = 3650 days' {conf}")
    format_ = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
    networks = stack.host(f"docker inspect --format '{format_}' flotteq-certbot-1").out.split()
    stack.host("; ".join(f"docker network disconnect {one} flotteq-certbot-1" for one in networks))
    try:
        assert "certbot did not renew" in stack.inv("schedule.run-now", "renew").ended(1).err
    finally:
        stack.host("; ".join(f"docker network connect {one} flotteq-certbot-1" for one in networks))
        stack.host(f"mv {conf}.kept {conf}")
    found = json.loads(stack.inv("ssl.status", "--json").ok().out)
    assert [one["serial"] for one in found["names"]] == [one["serial"] for one in before]
    assert found["last_renewal"]["code"] == 1
    stack.inv("schedule.run-now", "renew").ok()


def test_monitoring_reads_age_size_and_result(stack: Stack) -> None:
    variables = {"FLOTTEQ__BACKUP__METRICS": "/var/lib/flotteq-metrics"}
    stack.inv("schedule.install", variables=variables).ok()
    stack.inv("schedule.run-now", "backup").ok()
    said = stack.host("cat /var/lib/flotteq-metrics/*.prom").out
    newest = json.loads(stack.inv("backup.list", "--json").ok().out)[0]
    assert f'flotteq_backup_size_bytes{{stack="flotteq-sandbox",part="db"}} {newest["parts"]["db"]}\n' in said
    assert 'flotteq_backup_job_exit_code{stack="flotteq-sandbox",job="run"} 0\n' in said
    stack.inv("schedule.run-now", "renew").ok()
    said = stack.host("cat /var/lib/flotteq-metrics/flotteq-sandbox-tls.prom").out
    assert said.count("flotteq_tls_not_after_timestamp_seconds{") == len(DOMAINS)
    assert 'flotteq_tls_renewal_exit_code{stack="flotteq-sandbox"} 0\n' in said
    stack.host("rm -rf /var/lib/flotteq-metrics")


@pytest.fixture
def told(stack: Stack) -> Iterator[str]:
    """The project's own program for failures; where it writes."""
    hook = stack.project / "hooks/schedule-failed"
    hook.parent.mkdir()
    hook.write_text('#!/bin/sh\necho "$1" >/root/told\n')
    yield "/root/told"
    hook.unlink()
    hook.parent.rmdir()
    stack.host("rm -f /root/told /opt/flotteq/schedule/on-failure")


@pytest.fixture
def without_systemd(stack: Stack) -> Iterator[None]:
    """A host on which nothing finds systemd; cron runs."""
    stack.inv("schedule.remove", "--yes").ok()
    stack.host("systemctl start cron; mv /run/systemd/system /run/systemd/hidden")
    yield
    stack.host("[ ! -d /run/systemd/hidden ] || mv /run/systemd/hidden /run/systemd/system")
    stack.inv("schedule.remove", "--yes").ok()


def test_cron_runs_the_jobs_where_there_is_no_systemd(stack: Stack, without_systemd: None) -> None:
    bad = stack.inv("schedule.install", variables={"FLOTTEQ__SCHEDULE__DRILL": "hourly"}).ended(2)
    assert "cron cannot say 'hourly'" in bad.err
    # The minute that begins in 25 s at the earliest: until then the jobs are installed and looked at.
    soon = stack.host("date -d '+85 seconds' +%H:%M").out.strip()
    when = {"FLOTTEQ__SCHEDULE__PRUNE": f"*-*-* {soon}:00", "FLOTTEQ__SCHEDULE__JITTER": "0"}
    stack.inv("schedule.install", variables=when).ok()
    assert all(one["installed"] and one["result"] == "" for one in jobs(stack).values())
    wait_for(lambda: jobs(stack)["prune"]["result"] == "success", "cron to run it", timeout=180)
    assert "schedule prune" in stack.inv("history").ok().out
    assert "not yet due" in stack.inv("schedule.run-now", "renew").ok().out
    assert "flotteq-schedule" in stack.inv("schedule.remove", "--yes").ok().out
    assert not any(one["installed"] for one in jobs(stack).values())
    stack.host("kill $(cat /run/crond.pid)")
    wait_for(lambda: not stack.host("pgrep -x cron", check=False).ok, "cron to end")
    assert "has neither systemd nor a cron that runs" in stack.inv("schedule.install").ended(1).err
    assert stack.host("ls /etc/cron.d | grep flotteq", check=False).out == ""


def test_a_job_that_fails_is_seen(stack: Stack, told: str) -> None:
    stack.inv("schedule.install").ok()
    stack.inv("stop", "--service", "postgres", "--yes").ok()
    try:
        done = stack.inv("schedule.run-now", "backup").ended(1)
    finally:
        stack.inv("start", "--service", "postgres").ok()
    assert "psql ended with exit code 2" in done.err
    assert stack.inv("schedule.list").ended(5)
    assert _seen(stack) == (False, "backup: exit-code")
    wait_for(lambda: "flotteq-schedule-backup" in stack.host(f"cat {told}", check=False).out, "the hook to be told")
    assert "flotteq-schedule-backup.service failed" in stack.host("journalctl -t flotteq --no-pager -n 5").out
    stack.inv("schedule.run-now", "backup").ok()
    stack.inv("schedule.list").ok()


def test_a_timer_waits_for_whoever_holds_the_lock(stack: Stack) -> None:
    stack.inv("schedule.install").ok()
    stack.host("flock /opt/flotteq/state/lock sleep 8 & sleep 0.3; systemctl start --no-block flotteq-schedule-prune")
    assert stack.host("systemctl is-active flotteq-schedule-prune", check=False).out.strip() == "activating"
    wait_for(lambda: jobs(stack)["prune"]["result"] == "success", "the job to end well")


def test_an_unknown_job_and_a_bad_time_are_refused(stack: Stack) -> None:
    assert "did you mean backup?" in stack.inv("schedule.run-now", "bakup").ended(2).err
    done = stack.inv("schedule.install", variables={"FLOTTEQ__SCHEDULE__DRILL": "every sunday"}).ended(2)
    assert "does not understand 'every sunday'" in done.err


def test_timers_are_removed(stack: Stack) -> None:
    stack.inv("schedule.install").ok()
    assert "flotteq-schedule-backup.timer" in stack.inv("schedule.remove", "--yes").ok().out
    assert stack.host("ls /etc/systemd/system | grep flotteq-schedule", check=False).out == ""
    stack.inv("schedule.list").ended(5)
    assert _seen(stack) == (False, "not installed")


def _seen(stack: Stack) -> tuple[bool, str]:
    """What the doctor of the backups says of the timers."""
    findings = json.loads(stack.inv("backup.doctor", "--json").out)["findings"]
    found = next(one for one in findings if one["what"] == "schedule")
    return found["ok"], found["found"]
