"""Why a container is not healthy, in words."""

import json
import re

import pytest
from unit_support import instance

from flotteq_tasks.engines.compose.diagnosis import diagnosis, likely_cause
from flotteq_tasks.model.errors import ExitCode

CORE = instance("core", image="r/core:v1")
NODE_MEMORY = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"
CAUSES = [
    ('password authentication failed for user "fleet"', "the database refuses the password", "inv secrets.check"),
    ("ReplyError: WRONGPASS invalid", "Redis refuses the password", "inv secrets.check"),
    ("NOAUTH Authentication required.", "Redis refuses the password", "inv secrets.check"),
    ("connect ECONNREFUSED 172.18.0.2:5432", "the database does not answer", "inv status"),
    ("could not connect to server: Connection refused", "the database does not answer", "inv status"),
    ("connect ECONNREFUSED 172.18.0.3:6379", "Redis does not answer", "inv status"),
    ("Error: listen EADDRINUSE: address already in use :::3000", "another process has the port", "inv doctor"),
    ("nginx: bind() failed (98: Address already in use)", "another process has the port", "inv doctor"),
    ("/run/secrets/x is not readable by uid 1000", "a secret cannot be read by the container's user",
     "inv secrets.check"),
    ("Error: Cannot find module 'x'", "the image lacks a module", "build the image again"),
    (NODE_MEMORY, "the process ran out of memory", "raise services.NAME.memory in flotteq.toml"),
    ("exec /app: exec format error", "the image was built for another processor",
     "set build.platform in flotteq.toml"),
    ("write: no space left on device", "the disk is full", "inv doctor"),
]  # fmt: skip


@pytest.mark.parametrize(("log", "cause", "remedy"), CAUSES)
def test_a_line_of_the_log_tells_the_cause(log: str, cause: str, remedy: str) -> None:
    assert likely_cause({"ExitCode": 1}, f"before\n{log}\nafter") == (cause, remedy)


@pytest.mark.parametrize(
    ("state", "cause", "remedy"),
    [
        ({"OOMKilled": True}, "it was killed for using more memory than its limit",
         "raise services.NAME.memory in flotteq.toml"),
        ({"ExitCode": 137}, "it was killed for using more memory than its limit",
         "raise services.NAME.memory in flotteq.toml"),
        ({"ExitCode": 127}, "its command does not exist in the image",
         "compare the image's entrypoint with the Compose file"),
        ({"ExitCode": 1}, "", ""),
        ({}, "", ""),
    ],
)  # fmt: skip
def test_the_exit_tells_the_cause(state: dict[str, object], cause: str, remedy: str) -> None:
    assert likely_cause(state, "quiet") == (cause, remedy)


def _seen(log: str = "one\ntwo\n", **state: object) -> str:
    return json.dumps(state) + "\n" + log


@pytest.mark.parametrize(
    ("state", "restarts", "message"),
    [
        ({"Status": "exited", "ExitCode": 1}, 0, "core: its process ended with exit code 1"),
        ({"Status": "running", "Restarting": True, "ExitCode": 2}, 0, "core: its process ended with exit code 2"),
        ({"Status": "running"}, 1, "core: its process ended and was started again"),
        ({"Status": "running", "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": []}}, 0,
         "core: unhealthy after 3 failed checks"),
        ({"Status": "paused"}, 0, "core: its container is paused"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, 0,
         "core: killed for lack of memory (exit code 137); it was killed for using more memory than its limit"),
    ],
)  # fmt: skip
def test_the_state_in_words(state: dict[str, object], restarts: int, message: str) -> None:
    assert diagnosis(CORE, _seen(**state), restarts=restarts).message == message


def test_a_container_that_is_gone() -> None:
    assert diagnosis(CORE, "").message == "core: its container is gone"


def test_at_the_limit_the_limit_is_named() -> None:
    assert (
        diagnosis(CORE, _seen(Status="running"), waited="not healthy within 5 s").message
        == "core: not healthy within 5 s"
    )


def test_the_whole_of_an_error() -> None:
    health = {"Status": "unhealthy", "FailingStreak": 3, "Log": [{"Output": "old"}, {"Output": " refused\n"}]}
    error = diagnosis(CORE, _seen(f"start\n{NODE_MEMORY}\n\n", Status="running", Health=health))
    assert error.message == "core: unhealthy after 3 failed checks; the process ran out of memory"
    assert error.hint == "raise services.core.memory in flotteq.toml"
    assert error.exit_code is ExitCode.UNHEALTHY
    assert error.details == (
        f"fleet-core-1 (r/core:v1)\nlast health check: refused\nlast 3 log lines:\nstart\n{NODE_MEMORY}"
    )


def test_the_cause_may_show_in_the_health_check_only() -> None:
    health = {"Status": "unhealthy", "FailingStreak": 1, "Log": [{"Output": "connect ECONNREFUSED 10.0.0.1:5432"}]}
    error = diagnosis(CORE, _seen("", Status="running", Health=health))
    assert error.message == "core: unhealthy after 1 failed checks; the database does not answer"


SURVIVED = "Error: Cannot find module 'ts-node'\n  code: 'MODULE_NOT_FOUND',\n}\n\nNode.js v20.19.2\n"


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (SURVIVED + "starting the application anyway\ngiving up\n", ""),
        (SURVIVED, "; the image lacks a module"),
        ("docker: oom <no value>\ndocker: die 137\n" + SURVIVED + "ready\n",
         "; it was killed for using more memory than its limit"),
        ("docker: die 1\nready\n", ""),
    ],
    ids=["it went on", "its last words", "memory of an earlier start", "another end"],
)  # fmt: skip
def test_what_the_entry_point_survived_is_no_cause(log: str, cause: str) -> None:
    state = '{"Status": "running", "Running": true, "ExitCode": 0}'
    found = diagnosis(instance("core"), f"{state}\n{log}", restarts=1)
    code = re.search(r"docker: die (\d+)", log)
    ended = f"ended with exit code {code.group(1)}" if code else "ended"
    assert found.message == f"core: its process {ended} and was started again{cause}"


def test_log_lines_are_counted_without_what_docker_says_of_the_end() -> None:
    seen = '{"Status": "running"}\ndocker: die 3\nfirst\nsecond\n'
    found = diagnosis(instance("core"), seen, restarts=1)
    assert found.details.endswith("last 2 log lines:\nfirst\nsecond")
