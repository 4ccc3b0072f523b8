"""Turns the output of the facts script into ``Facts``. Pure."""

import json
import re
from datetime import datetime

from flotteq_tasks.commands.certbot import parse_links
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release

_SERVER = re.compile(r"^\s*server\s+([A-Za-z0-9_.-]+):\d+", re.M)
_UPSTREAM = re.compile(r"upstream\s+([A-Za-z0-9_.-]+)\s*\{(.*?)\n\s*\}", re.S)
_ALLOWED = re.compile(r"^(\S+) yes;$", re.M)
_VERSION = re.compile(r"v?\d+\.\d+(\.\d+)?\S*")


def parse_facts(text: str) -> Facts:
    """Read the sections of the facts script; what a host cannot tell stays empty."""
    part = _sections(text)
    engine, docker_error = _version(part.get("engine", ""))
    compose, compose_error = _version(part.get("compose", ""))
    memory = {key: int(value) * 1024 for key, value in re.findall(r"(\w+):\s+(\d+)", part.get("memory", ""))}
    disks = [line.split() for line in part.get("disk", "").splitlines() if line.strip()]
    inodes = [line.split() for line in part.get("inodes", "").splitlines() if line.strip()]
    release = part.get("release", "").strip()
    active = part.get("active", "")
    marker = re.search(r"#\s*release\s+(\S+)", active)
    return Facts(
        engine_version=engine,
        docker_error=docker_error,
        compose_version=compose.lstrip("v"),
        compose_error=compose_error,
        disk_free=min((int(line[3]) for line in disks), default=0),
        disk_total=max((int(line[1]) for line in disks), default=0),
        # "-" or 0 of 0: file systems without a fixed number of inodes cannot run out of them.
        inodes_free=min((int(line[3]) for line in inodes if line[1] not in ("0", "-")), default=1 << 40),
        memory_free=memory.get("MemAvailable", 0),
        memory_total=memory.get("MemTotal", 0),
        clock=float(part.get("clock", "0").strip() or 0),
        listening=frozenset(int(line.rpartition(":")[2], 16) for line in part.get("listening", "").split()),
        volumes=frozenset(part.get("volumes", "").split()),
        own_volumes=frozenset(part.get("own", "").split()),
        owners=dict(line.split() for line in part.get("owners", "").splitlines() if line.strip()),
        instances=tuple(
            _instance(json.loads(line)) for line in part.get("containers", "").splitlines() if line.strip()
        ),
        release=Release.from_json(release) if release else None,
        active=parse_active(active),
        active_release=marker.group(1) if marker else "",
        edge_files={
            path: mark
            for mark, path in (line.split(maxsplit=1) for line in part.get("edge", "").splitlines() if line.strip())
        },
        edge_kept=part.get("kept", "").strip() == "yes",
        files_release=part.get("files", "").strip(),
        certificates=parse_links(part.get("certificates", "")),
        secrets={
            name: target.rpartition(".")[2]
            for name, target in (line.split() for line in part.get("secrets", "").splitlines() if line.strip())
        },
        maintenance=part.get("maintenance", "").startswith("on"),
        maintenance_allowed=tuple(_ALLOWED.findall(part.get("maintenance", ""))),
        locked=part.get("lock", "").strip() == "held",
        restoring=json.loads(part.get("restoring", "").strip() or "{}"),
        scale=json.loads(part.get("scale", "").strip() or "{}"),
    )


def parse_active(text: str) -> dict[str, tuple[str, ...]]:
    """Containers that the edge sends requests to, by upstream, from the text of ``upstreams/active.conf``."""
    return {name: tuple(_SERVER.findall(body)) for name, body in _UPSTREAM.findall(text)}


def uptime_seconds(started: str, now: float) -> float:
    """Seconds since Docker's ``StartedAt`` (nanoseconds, UTC)."""
    trimmed = re.sub(r"(\.\d{1,6})\d*", r"\1", started).replace("Z", "+00:00")
    return max(0.0, now - datetime.fromisoformat(trimmed).timestamp())


def _version(text: str) -> tuple[str, str]:
    """The version that a program printed below its warnings, or the line that says why there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and _VERSION.fullmatch(lines[-1]):
        return lines[-1], ""
    # Below its complaint docker prints how it is used.
    return "", lines[0] if lines else ""


def _sections(text: str) -> dict[str, str]:
    pieces = re.split(r"^@@ (\w+)\n", text, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _instance(raw: dict[str, object]) -> Instance:
    labels = raw.get("labels") or {}
    assert isinstance(labels, dict)  # noqa: S101 - docker prints an object or null
    return Instance(
        id=str(raw["id"]),
        name=str(raw["name"]).lstrip("/"),
        service=labels.get("com.docker.compose.service", ""),
        image=str(raw["image"]),
        state=str(raw["state"]),
        health=str(raw["health"]),
        started=str(raw["started"]),
        restarts=int(str(raw["restarts"])),
        config_hash=labels.get("com.docker.compose.config-hash", ""),
        version=labels.get("org.opencontainers.image.version", ""),
        exit_code=int(str(raw["exit_code"])),
        oom_killed=bool(raw["oom_killed"]),
        oneoff=labels.get("com.docker.compose.oneoff") == "True",
        networks=tuple(str(raw.get("networks", "")).split()),
    )
