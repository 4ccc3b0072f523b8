"""Images: build here, push to the registry."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, app
from flotteq_tasks.tasks._decorator import task

SERVICE_HELP = "only this service; can be repeated (default: all that are built)"


@task(
    help={
        "version": "image tag, e.g. v1.2.0",
        "service": SERVICE_HELP,
        "arg": "a build argument, NAME=VALUE; can be repeated",
        "env": ENV_HELP,
    },
    iterable=["service", "arg"],
)
def build(c: Context, *, version: str, service: list[str], arg: list[str], env: str = "") -> None:
    """Build the images of a version on this machine."""
    from flotteq_tasks.host.local import LocalHost
    from flotteq_tasks.model.version import Version
    from flotteq_tasks.operations import images

    call = app(env)
    extra = images.arguments(arg)
    images.build(LocalHost(), call.settings, Version.parse(version), service, call.console.report, extra=extra)


@task(help={"version": "image tag, e.g. v1.2.0", "service": SERVICE_HELP, "env": ENV_HELP}, iterable=["service"])
def push(c: Context, *, version: str, service: list[str], env: str = "") -> None:
    """Push the images of a version to the registry."""
    from flotteq_tasks.host.local import LocalHost
    from flotteq_tasks.model.version import Version
    from flotteq_tasks.operations import images

    call, local = app(env), LocalHost()
    images.login(local, call.settings, os.environ, pushing=True)
    images.push(local, call.settings, Version.parse(version), service, call.console.report)
