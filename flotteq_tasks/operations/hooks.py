"""Hooks: executables in ``hooks/`` of the project, run on this machine around a deploy."""

import os
from dataclasses import dataclass

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import CommandTimedOut, FlotteqError
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import Settings

NAMES = ("pre-deploy", "post-deploy", "deploy-failed", "post-rollback")
KEPT_LINES = 20


@dataclass(frozen=True)
class Occasion:
    """What a hook is told, as ``FLOTTEQ_*`` variables.

    Args:
        version, release: what is being deployed; the release is empty before it has an id.
        previous: the version that was live before.
        result: ``done`` or ``failed``; empty before a deploy.
        error: why it failed.
        seconds: how long the deploy took.
    """

    version: str
    previous: str
    who: str
    release: str = ""
    result: str = ""
    error: str = ""
    seconds: float = 0.0

    def variables(self, settings: Settings, name: str) -> dict[str, str]:
        """The variables of one hook."""
        return {
            "FLOTTEQ_HOOK": name,
            "FLOTTEQ_ENV": settings.environment,
            "FLOTTEQ_VERSION": self.version,
            "FLOTTEQ_PREVIOUS_VERSION": self.previous,
            "FLOTTEQ_RELEASE": self.release,
            "FLOTTEQ_WHO": self.who,
            "FLOTTEQ_RESULT": self.result,
            "FLOTTEQ_ERROR": self.error,
            "FLOTTEQ_SECONDS": f"{self.seconds:.0f}",
            "FLOTTEQ_DOMAINS": " ".join(settings.public.values()),
        }


def run_hook(settings: Settings, name: str, occasion: Occasion, report: Report) -> bool:
    """Run a hook where it exists; its output is passed on.

    Returns:
        whether it exists.

    Raises:
        FlotteqError: it is not executable, ended with another code than 0, or took too long.
    """
    path = settings.root / "hooks" / name
    if not path.is_file():
        return False
    if not os.access(path, os.X_OK):
        raise FlotteqError(f"hooks/{name} is not executable", hint=f"chmod +x hooks/{name}")
    host = LocalHost(cwd=settings.root, env=occasion.variables(settings, name))
    kept: list[str] = []
    with report.step(f"hook {name}"):
        try:
            done = host.follow(Command(str(path)), kept.append, timeout=settings.deploy.hook_timeout)
        except CommandTimedOut as error:
            raise FlotteqError(
                f"hooks/{name} did not end within {settings.deploy.hook_timeout} s and was stopped",
                hint="deploy.hook_timeout in flotteq.toml raises the limit",
            ) from error
        for line in kept[-KEPT_LINES:]:
            report.output(line)
        if not done.ok:
            raise FlotteqError(f"hooks/{name} ended with exit code {done.code}", details="\n".join(kept[-KEPT_LINES:]))
    return True


def run_after(settings: Settings, name: str, occasion: Occasion, report: Report) -> None:
    """Run a hook whose failure must not change what is true: the release is live, or it failed."""
    try:
        run_hook(settings, name, occasion, report)
    except FlotteqError as error:
        report.warn(f"{error.message}; {occasion.version} is {'live' if occasion.result == 'done' else 'not live'}")
