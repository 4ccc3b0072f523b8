"""Why a container did not become healthy, in words. Pure."""

import json
import re
from typing import Any

from flotteq_tasks.model.errors import Unhealthy
from flotteq_tasks.model.facts import Instance

# First match wins; each is a cause seen in practice and what to do about it.
_CAUSES = (
    (
        r"(?m)^docker: (oom|die 137)\b",
        "it was killed for using more memory than its limit",
        "raise services.NAME.memory in flotteq.toml",
    ),
    (r"password authentication failed", "the database refuses the password", "inv secrets.check"),
    (r"WRONGPASS|NOAUTH", "Redis refuses the password", "inv secrets.check"),
    (
        r"ECONNREFUSED .*:5432|could not connect to server|database .*not available",
        "the database does not answer",
        "inv status",
    ),
    (r"ECONNREFUSED .*:6379", "Redis does not answer", "inv status"),
    (r"EADDRINUSE|Address already in use", "another process has the port", "inv doctor"),
    (r"not readable by", "a secret cannot be read by the container's user", "inv secrets.check"),
    (r"Cannot find module|MODULE_NOT_FOUND", "the image lacks a module", "build the image again"),
    (r"JavaScript heap out of memory", "the process ran out of memory", "raise services.NAME.memory in flotteq.toml"),
    (r"exec format error", "the image was built for another processor", "set build.platform in flotteq.toml"),
    (r"no space left on device", "the disk is full", "inv doctor"),
)

LOOK = "the last log lines tell why; to look into the image: docker run --rm -it --entrypoint sh IMAGE"

# A crash of Node that was followed by more: FlotteQ's entry point tries migrations, fails and goes on.
_SURVIVED = re.compile(r"\A((?:docker: .*\n)*)[\s\S]*Node\.js v[\d.]+[^\n]*\n(?=\s*\S)")


def likely_cause(state: dict[str, Any], log: str) -> tuple[str, str]:
    """Return what probably happened and what to do; empty when nothing is known."""
    if state.get("OOMKilled") or state.get("ExitCode") == 137:
        return "it was killed for using more memory than its limit", "raise services.NAME.memory in flotteq.toml"
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, log, re.I):
            return cause, remedy
    if state.get("ExitCode") == 127:
        return "its command does not exist in the image", "compare the image's entrypoint with the Compose file"
    return "", ""


def diagnosis(instance: Instance, seen: str, *, waited: str = "", restarts: int = 0) -> Unhealthy:
    """Turn a container's state and log into an error that names service, state, cause and remedy.

    Args:
        seen: one line of JSON (docker's State), then the log.
        waited: what is said of it when only the time ended; empty: its state tells.
        restarts: how often its restart policy has started it again.
    """
    first, _, rest = seen.partition("\n")
    ends = re.match(r"(?:docker: .*\n)*", rest)
    log = rest[ends.end() if ends else 0 :]
    state: dict[str, Any] = json.loads(first) if first.startswith("{") else {}
    health = state.get("Health") or {}
    last_check = ((health.get("Log") or [{}])[-1].get("Output") or "").strip()
    codes = re.findall(r"(?m)^docker: die (\d+)$", rest)
    what = waited or _state_in_words(state, health, restarts, codes)
    cause, remedy = likely_cause(state, _SURVIVED.sub(r"\1", rest) + f"\n{last_check}")
    lines = [f"{instance.name} ({instance.image})"]
    if last_check:
        lines.append(f"last health check: {last_check}")
    lines.append(f"last {len(log.splitlines())} log lines:")
    message = f"{instance.service}: {what}" + (f"; {cause}" if cause else "")
    return Unhealthy(
        message,
        hint=(remedy or LOOK).replace("NAME", instance.service).replace("IMAGE", instance.image),
        details="\n".join(lines) + "\n" + log.rstrip(),
    )


def _state_in_words(state: dict[str, Any], health: dict[str, Any], restarts: int, codes: list[str]) -> str:
    if state.get("OOMKilled"):
        return "killed for lack of memory (exit code 137)"
    if state.get("Restarting") or state.get("Status") in ("restarting", "exited", "dead"):
        return f"its process ended with exit code {state.get('ExitCode', '?')}"
    if restarts:
        return "its process ended" + (f" with exit code {codes[-1]}" if codes else "") + " and was started again"
    if health.get("Status") == "unhealthy":
        return f"unhealthy after {health.get('FailingStreak', '?')} failed checks"
    return f"its container is {state.get('Status', 'gone')}"
