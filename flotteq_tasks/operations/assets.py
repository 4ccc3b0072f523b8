"""A page that was open before a deploy still finds its files after it."""

from collections.abc import Iterable

from flotteq_tasks.commands import assets
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site


def sources(site: Site, facts: Facts, services: Iterable[str]) -> list[tuple[str, str, str]]:
    """Service, container and directory for each service that has files to keep and serves now. Pure."""
    serving = edge_files.serving(facts)
    paths = {name: site.settings.services[name].assets for name in services}
    return [(name, serving[name][0], path) for name, path in paths.items() if path and serving.get(name)]


def keep(site: Site, facts: Facts, services: Iterable[str]) -> list[Command]:
    """What copies the files of the containers that serve now, before others take their place; none without need."""
    found = sources(site, facts, services)
    if not found:
        return []
    return [assets.keep(str(site.settings.directory), found, hours=site.settings.deploy.assets_hours)]


def warn(site: Site, done: Iterable[Done]) -> None:
    """Tell which images have no such files, as the results of ``keep``'s commands say."""
    for line in "".join(one.out for one in done).splitlines():
        kind, service = line.split()[:2]
        if kind == "none":
            path = site.settings.services[service].assets
            site.report.warn(f"services.{service}.assets: the image that runs has no {path}; nothing is kept of it")
