"""Timers: they run on the host without this machine, under the host's lock, and say how they ended."""

import json
from typing import Any

import pytest
from support.stack import Stack, wait_for

pytestmark = pytest.mark.stack

JOBS = ["backup", "full", "verify", "drill", "prune"]


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


def test_a_job_that_fails_is_seen(stack: Stack) -> None:
    stack.inv("schedule.install").ok()
    stack.inv("stop", "--service", "postgres", "--yes").ok()
    try:
        done = stack.inv("schedule.run-now", "backup").ended(1)
    finally:
        stack.inv("start", "--service", "postgres").ok()
    assert "psql ended with exit code 2" in done.err
    assert stack.inv("schedule.list").ended(5)
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
