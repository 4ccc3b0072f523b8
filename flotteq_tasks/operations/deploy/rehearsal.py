"""A deploy that prints its commands: prepared for real, so that every decision is the one a deploy would make."""

from collections.abc import Iterator, Mapping

from flotteq_tasks.commands import nginx, postgres, rollout, waiting
from flotteq_tasks.model.stack import Service
from flotteq_tasks.operations import assets, edge_files, releases
from flotteq_tasks.operations.backup import pitr, predeploy
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.preparation import Preparation, rehearsed
from flotteq_tasks.operations.deploy.request import DeployRequest
from flotteq_tasks.operations.edge import TAKEN

NEW = "NEW-CONTAINERS"
OLD_WORKERS = "OLD-WORKERS"


def rehearse(site: Site, request: DeployRequest, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Prepare and return what the rollout would run and write, each with its step. Nothing that serves is touched."""
    request.check(site.settings)
    facts = site.engine.facts()
    with rehearsed(site, request, f"rehearse {request.version}", facts, variables) as prepared:
        return [] if prepared.nothing_to_do else list(commands(prepared))


def rehearse_rollback(site: Site, to: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Like ``rehearse``, for a rollback; errors as in ``rollback``."""
    target = releases.choose(releases.all_releases(site), to)
    return rehearse(site, DeployRequest.back_to(target), variables)


def commands(prepared: Preparation) -> Iterator[tuple[str, str]]:
    """The rollout's commands on the host in their order. Pure.

    What only the rollout itself learns stands in capitals: ids of new containers, old workers of nginx.
    """
    settings, changed = prepared.site.settings, [one.service for one in prepared.changed]
    rolling = [name for name in settings.of_kind("rolling") if name in changed]
    yield from _files(prepared, rolling)
    for kind in ("stateful", "tool", "edge"):
        names = [name for name in settings.services if settings.services[name].kind == kind and name in changed]
        if kind == "tool" and settings.backup.pitr:
            yield "services", str(pitr.preparation(prepared.site))
        if names:
            yield "services", str(prepared.site.engine.starting(names, replace=True))
    yield from _data(prepared)
    # One after the other: each service's turn is what all of them do together otherwise.
    for names in [[name] for name in rolling] if prepared.surge == "one" else [rolling]:
        yield from _containers(prepared, names)
    yield from _watch(prepared, rolling)


def _files(prepared: Preparation, rolling: list[str]) -> Iterator[tuple[str, str]]:
    site, release = prepared.site, prepared.release
    for command in site.engine.activation(release.id, prepared.volumes):
        yield "files", str(command)
    if prepared.pushed:
        yield "files", f"write {', '.join(sorted(prepared.pushed))} below {site.settings.directory}/secrets"
    for command in [edge_files.look(site), *assets.keep(site, prepared.facts, rolling)]:
        yield "files", str(command)


def _data(prepared: Preparation) -> Iterator[tuple[str, str]]:
    settings, request, containers = prepared.site.settings, prepared.request, prepared.site.engine.containers
    if not request.skip_backup and predeploy.possible(prepared.site):
        yield "backup", str(predeploy.command(prepared.site, prepared.release.id))
    elif not request.skip_backup:
        path = f"{settings.project.backups}/pre-deploy/{prepared.release.id}.dump"
        yield "backup", str(postgres.dump_to_file(containers, settings.database, path))
    if settings.migrations and not request.skip_migrations:
        name = f"{settings.project.name}-migrate"
        run = containers.run(settings.migrations.service, settings.migrations.command, name=name)
        yield "migrations", str(rollout.alone(name, run))


def _containers(prepared: Preparation, names: list[str]) -> Iterator[tuple[str, str]]:
    site, engine, directory = prepared.site, prepared.site.engine, str(prepared.site.settings.directory)
    settings, edge = site.settings, site.settings.of_kind("edge")[0]
    if names:
        for command in engine.beside({name: prepared.replicas(name) for name in names}, prepared.facts):
            yield "containers", str(command)
        addresses = [_address(name, settings.services[name]) for name in names]
        yield (
            "checks",
            str(waiting.wait_healthy([NEW], limit=settings.deploy.health_timeout, settle=settings.deploy.settle)),
        )
        yield "checks", str(rollout.probe(settings.project.name, edge, addresses))
    yield "switch", str(rollout.keep_edge(directory))
    yield "switch", f"write the edge's files below {directory}/nginx"
    yield "switch", str(nginx.reload(engine.containers, generation="", taken=TAKEN, service=edge))


def _watch(prepared: Preparation, rolling: list[str]) -> Iterator[tuple[str, str]]:
    site, settings, request = prepared.site, prepared.site.settings, prepared.request
    directory, release = str(settings.directory), prepared.release.id
    seconds = settings.deploy.monitor if request.soak is None else request.soak
    if rolling and seconds:
        domains = [settings.domain(name) for name in rolling if settings.services[name].subdomain]
        edge = settings.of_kind("edge")[0]
        percent = max(1, round(settings.deploy.max_failure_ratio * 100))
        watch = rollout.monitor(
            settings.project.name, edge, domains, [NEW], seconds=seconds, enough=5, percent=percent
        )  # fmt: skip
        yield "verify", str(watch)
    yield "record", f"write {directory}/releases/{release}/manifest.json and {directory}/state/current.json"
    old = [one for name in rolling for one in prepared.facts.of(name)]
    for command in [
        rollout.keep_edge_of(directory, release),
        *edge_files.drain_commands(site, [OLD_WORKERS]),
        *site.engine.retirement(old),
    ]:
        yield "clean up", str(command)
    if pitr.is_left(site, prepared.facts):
        yield "clean up", str(pitr.removal(site))
    yield "clean up", "remove what retention does not keep: inv disk shows it"


def _address(name: str, service: Service) -> str:
    return f"http://{NEW}-OF-{name}:{service.port}{service.health.path}"
