"""Images of the services that this project builds: built here, pushed to the registry."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flotteq_tasks.commands import docker
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, Host
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, SettingsError, UsageError
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import RECEIVER, Settings
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations.names import known_services
from flotteq_tasks.rendering import resources

BUILD_LIMIT = 1800
PUSH_LIMIT = 1800
KEPT_LINES = 40


def built_services(settings: Settings, names: Iterable[str] = ()) -> list[str]:
    """The services that are built here, or those of them that were named.

    Raises:
        UsageError: a name that does not exist or is not built; the nearest is suggested.
    """
    # The receiver's image is that of the job, which is built once.
    buildable = [name for name, service in settings.services.items() if service.build and name != RECEIVER]
    return known_services(settings, names, among=buildable) or buildable


def build(
    local: Host, settings: Settings, version: Version, names: Iterable[str], report: Report, *, extra: Mapping[str, str]
) -> list[str]:
    """Build images one after the other; return their references.

    Args:
        local: this machine.
        extra: build arguments on top of those of flotteq.toml.

    Raises:
        SettingsError: a build context does not exist.
        FlotteqError: a build failed; its last lines are in the details.
    """
    references = []
    for name in built_services(settings, names):
        with report.step(f"build {name}") as note:
            command = build_command(settings, name, version, extra=extra)
            _run(local, command, report, limit=BUILD_LIMIT, what=f"the build of {name} failed")
            note.text = settings.reference(name, str(version), push=True)
            references.append(note.text)
    return references


def build_command(settings: Settings, name: str, version: Version, *, extra: Mapping[str, str]) -> Command:
    """The command that builds one service's image.

    Raises:
        SettingsError: its build context does not exist.
    """
    spec = settings.services[name].build
    if spec is None:
        raise SettingsError(f"services.{name} has no build")
    context = resources.context(settings.root, spec.context)
    dockerfile = context / spec.dockerfile
    if not dockerfile.is_file():
        raise SettingsError(f"flotteq.toml: services.{name}.build: {dockerfile} does not exist")
    return docker.build(
        str(context),
        dockerfile=str(dockerfile),
        tags=_names(settings, name, version),
        args={**settings.build.args, **spec.args, "VERSION": str(version), **extra},
        labels={"org.opencontainers.image.version": str(version), "org.opencontainers.image.title": name},
        ca_bundle=_ca_bundle(settings),
        platform=settings.build.platform,
    )


def push(local: Host, settings: Settings, version: Version, names: Iterable[str], report: Report) -> list[str]:
    """Push images to the registry; return their references.

    Raises:
        FlotteqError: an image does not exist here, or the registry refuses it.
    """
    references = []
    for name in built_services(settings, names):
        reference = settings.reference(name, str(version), push=True)
        with report.step(f"push {name}") as note:
            if not local.run(docker.image_inspect(reference, format="{{.Id}}"), check=False).ok:
                raise FlotteqError(f"{reference} has not been built here", hint=f"inv build --version {version}")
            _run(local, docker.push(reference), report, limit=PUSH_LIMIT, what=f"the push of {reference} failed")
            note.text = reference
            references.append(reference)
    return references


def login(host: Host, settings: Settings, variables: Mapping[str, str], *, pushing: bool = False) -> None:
    """Log in to the registry where flotteq.toml names a user and the password is at hand.

    Args:
        host: this machine to push, the stack's host to pull. A host that is logged in already needs no password.
        pushing: without a password nothing can be pushed.

    Raises:
        FlotteqError: the password's variable is not set, or the registry refuses it.
    """
    registry = settings.registry
    password = variables.get(registry.password_variable, "")
    if not registry.username or (not password and not pushing):
        return
    if not password:
        raise FlotteqError(
            f"the registry's password is not set: variable {registry.password_variable}",
            hint=f"export {registry.password_variable}=…",
        )
    server = (registry.push_server if pushing else "") or registry.server
    host.run(docker.login(server, registry.username), stdin=password.encode())


def _names(settings: Settings, name: str, version: Version) -> Sequence[str]:
    here = settings.reference(name, str(version), push=True)
    there = settings.reference(name, str(version))
    return [here] if here == there else [here, there]


def _ca_bundle(settings: Settings) -> str:
    path = os.path.expanduser(settings.build.ca_bundle)
    if not path:
        return ""
    bundle = settings.root / Path(path)
    if not bundle.is_file():
        raise SettingsError(f"build.ca_bundle: {bundle} does not exist")
    return str(bundle)


def _run(local: Host, command: Command, report: Report, *, limit: float, what: str) -> Done:
    kept: list[str] = []

    def line(text: str) -> None:
        kept.append(text)
        del kept[:-KEPT_LINES]

    done = local.follow(command, line, timeout=limit)
    if not done.ok:
        raise CommandFailed(what, code=done.code, details="\n".join([f"$ {command}", *kept]))
    return done


def arguments(pairs: Iterable[str]) -> dict[str, str]:
    """Read ``NAME=VALUE`` build arguments typed by people.

    Raises:
        UsageError: one has no ``=`` or no name.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg {pair!r} is not NAME=VALUE", hint="inv build --version v1.2.0 --arg VARIANT=slow")
        found[name] = value
    return found
