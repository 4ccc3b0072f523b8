"""A deploy that prints its commands: prepared for real, so that every decision is the one a deploy would make."""

from collections.abc import Mapping

from flotteq_tasks.commands import nginx, postgres, rollout
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.preparation import Preparation, rehearsed
from flotteq_tasks.operations.deploy.request import DeployRequest
from flotteq_tasks.operations.edge import TAKEN


def rehearse(site: Site, request: DeployRequest, variables: Mapping[str, str]) -> list[tuple[str, Command]]:
    """Prepare and return the rollout's commands, each with its step. Nothing that serves is touched."""
    facts = site.engine.facts()
    with rehearsed(site, request, f"rehearse {request.version}", facts, variables) as prepared:
        return [] if prepared.nothing_to_do else commands(prepared)


def commands(prepared: Preparation) -> list[tuple[str, Command]]:
    """The rollout's commands on the host in their order. Pure."""
    site, request, facts = prepared.site, prepared.request, prepared.facts
    settings, compose, directory = site.settings, site.engine.compose, str(site.settings.directory)
    changed = [one.service for one in prepared.changed]
    fixed = [name for name in changed if settings.services[name].kind != "rolling"]
    rolling = {name: prepared.replicas(name) for name in changed if name not in fixed}
    old = [one.id for name in rolling for one in facts.of(name)]
    scale = {name: len(facts.of(name)) + count for name, count in rolling.items()}
    found = [("files", rollout.activate(f"{directory}/releases/{prepared.release.id}/files", directory))]
    if fixed:
        found.append(("services", compose.up(fixed, recreate=True)))
    if not request.skip_backup:
        path = f"{settings.project.backups}/pre-deploy/{prepared.release.id}.dump"
        found.append(("backup", postgres.dump_to_file(compose, settings.database, path)))
    if settings.migrations and not request.skip_migrations:
        name = f"{settings.project.name}-migrate"
        run = compose.run(settings.migrations.service, settings.migrations.command, name=name)
        found.append(("migrations", run))
    if rolling:
        found.append(("containers", compose.up(rolling, scale=scale)))
    found.append(("switch", rollout.keep_edge(directory)))
    edge = settings.of_kind("edge")[0]
    found.append(("switch", nginx.reload(compose, generation="", taken=TAKEN, service=edge)))
    if old:
        found.append(("finish", rollout.retire(old, grace=settings.deploy.stop_grace)))
    return found
