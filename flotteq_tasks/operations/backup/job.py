"""Run the backup container on the host and hear what it says."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flotteq_tasks.commands import rollout
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.errors import ExitCode, FlotteqError, HostUnreachable, SettingsError
from flotteq_tasks.model.events import Report, StepDone, StepFailed, StepStarted
from flotteq_tasks.operations.context import Site

KEPT_LINES = 20
# The container may need a while to end behind its own limit.
GRACE = 300
# A variable and not an argument: an older image does not know it, and works without pauses anyway.
FULL_SPEED = {"BACKUP_DUTY": "1"}


@dataclass
class _Heard:
    """The container's lines: progress for people, one result at the end."""

    report: Report
    steps: bool = True
    result: tuple[str, dict[str, Any]] | None = None
    step: str = ""
    other: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        """Take one line of either stream."""
        kind, _, rest = text.partition(" ")
        match kind:
            case "@@step" | "@@done" if not self.steps:
                return
            case "@@step":
                self.step = rest
                self.report.sink(StepStarted(rest))
            case "@@done":
                seconds, _, words = rest.partition(" ")
                name, _, note = words.partition(": ")
                self.step = ""
                self.report.sink(StepDone(name, float(seconds), note))
            case "@@warn":
                self.report.warn(rest)
            case "@@ok" | "@@failed":
                self.result = kind[2:], json.loads(rest)
            case _:
                self.other = [*self.other, text][-KEPT_LINES:]


def job_command(
    site: Site,
    words: Iterable[str],
    *,
    capabilities: Iterable[str] = (),
    volumes: Iterable[str] = (),
    name: str = "",
    full_speed: bool = False,
) -> Command:
    """The command line on the host: a container of a fixed name, so that a leftover is found and removed.

    Args:
        full_speed: without the pauses of ``backup.duty``.
        name: its end, for one that runs beside another.
    """
    service = site.settings.backup.service
    if service not in site.settings.services:
        raise SettingsError(
            f'flotteq.toml has no services.{service} of kind "job": there is nothing that could back up',
            hint="docs/SETTINGS.md, [backup]",
        )
    name = f"{site.settings.project.name}{name or f'-{service}'}"
    metrics = site.settings.backup.metrics
    volumes = [*volumes, *([f"{metrics}:/metrics"] if metrics else [])]
    run = site.engine.containers.run(
        service, words, name=name, capabilities=capabilities, volumes=volumes,
        variables=FULL_SPEED if full_speed else {},
    )  # fmt: skip
    return rollout.alone(name, run)


def run_job(
    site: Site,
    words: Iterable[str],
    *,
    capabilities: Iterable[str] = (),
    volumes: Iterable[str] = (),
    full_speed: bool = False,
) -> dict[str, Any]:
    """Run one command of the container's program; its steps are reported. Return its result.

    Args:
        full_speed: as of ``job_command``.

    Raises:
        FlotteqError: it failed; the exit code is the program's own.
        HostUnreachable: it ended without a result.
    """
    heard = _Heard(site.report)
    command = job_command(site, words, capabilities=capabilities, volumes=volumes, full_speed=full_speed)
    done = site.host.follow(command, heard.line, timeout=limit(site))
    return _result(site, heard, done.code)


def limit(site: Site) -> int:
    """Seconds after which a job's command must have ended."""
    return site.settings.backup.timeout + GRACE


def read_job(site: Site, done: Done) -> dict[str, Any]:
    """Return the result of a job that ran in a round trip with others; its steps are not reported.

    Raises:
        as ``run_job``.
    """
    heard = _Heard(site.report, steps=False)
    for line in [*done.out.splitlines(), *done.err.splitlines()]:
        heard.line(line)
    return _result(site, heard, done.code)


def _result(site: Site, heard: _Heard, code: int) -> dict[str, Any]:
    if heard.result is None:
        raise _silent(site, heard, code)
    kind, document = heard.result
    if kind == "ok" and code == 0:
        return document
    if heard.step:
        site.report.sink(StepFailed(heard.step, 0.0, document.get("message", "")))
    error = FlotteqError(
        document.get("message", f"the backup container ended with exit code {code}"),
        hint=document.get("hint", ""),
        details=document.get("details", ""),
    )
    error.exit_code = ExitCode(code) if code in ExitCode._value2member_map_ else ExitCode.FAILED
    raise error


def _silent(site: Site, heard: _Heard, code: int) -> FlotteqError:
    details = "\n".join(heard.other)
    # Compose: there is no live release.
    if code == 1 and "Couldn't find env file" in details:
        return FlotteqError(f"nothing has been deployed to {site.host.name} yet", hint="inv deploy --version v1.0.0")
    if code in (125, 1) and any(word in details for word in ("No such image", "pull access denied", "not found")):
        return FlotteqError(
            f"{site.host.name}: the image of the backups is not there: the live release is older than it",
            hint="inv build --version v1.0.0 && inv push --version v1.0.0 && inv deploy --version v1.0.0",
            details=details,
        )
    if "unrecognized arguments" in details or "invalid choice" in details:
        return FlotteqError(
            f"{site.host.name}: the image of the backups is older than this program",
            hint="build and deploy a version with this program (--skip-backup deploys an old one)",
            details=details,
        )
    if code == -1:
        return HostUnreachable(f"{site.host.name}: the connection was lost during the backup", details=details)
    return FlotteqError(
        f"{site.host.name}: the backup container ended with exit code {code} and said nothing of its result",
        hint="inv doctor",
        details=details,
    )
