"""Day-to-day control of running services: scale, start, stop, restart, down, volumes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flotteq_tasks.commands import docker
from flotteq_tasks.commands.shell import script
from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, UsageError
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.deploy.preparation import memory_bytes
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.names import known_services, own_volume, unknown
from flotteq_tasks.operations.passwords import half_rotated
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import Step, run_steps


def scale(site: Site, service: str, replicas: int, variables: Mapping[str, str]) -> str:
    """Run so many containers of a rolling service; the number stays over deploys. Return what is so now.

    Raises:
        UsageError: the service does not exist or does not roll.
    """
    rolling = site.settings.of_kind("rolling")
    if service not in site.settings.services:
        raise unknown("service", service, rolling)
    if service not in rolling:
        raise UsageError(f"{service} runs once: it keeps data or has ports", hint=f"one of: {', '.join(rolling)}")
    with locked(site, holder(f"scale {service} to {replicas}", variables)) as keeper:
        facts = _live(site, repair(site, keeper))
        run = _Scaling(site, facts, service, replicas)
        if run.nothing_to_do:
            return f"{service}: {replicas} run already"
        _require_memory(site, facts, service, replicas)
        run_steps(run.steps(), site.report, keeper)
        keeper.write("scaled", service=service, replicas=replicas)
    return f"{service}: {replicas} serve"


def _require_memory(site: Site, facts: Facts, service: str, replicas: int) -> None:
    more = replicas - sum(one.running for one in facts.of(service))
    needed = max(0, more) * memory_bytes(site.settings.services[service].memory)
    if needed > facts.memory_free:
        gib = 1 << 30
        raise PreflightFailed(
            f"{more} more containers of {service} may use {needed / gib:.1f} GiB of memory, "
            f"{facts.memory_free / gib:.1f} GiB are free on the host; nothing was changed",
            hint=f"fewer replicas, or a smaller services.{service}.memory in flotteq.toml",
        )


@dataclass
class _Scaling:
    site: Site
    facts: Facts
    service: str
    replicas: int
    new: tuple[Instance, ...] = ()

    def steps(self) -> list[Step]:
        """Start what is missing, switch, remove what is too much."""
        return [
            Step("containers", self.start, self.remove),
            Step("switch", self.switch, lambda: edge_files.switch_back(self.site)),
            Step("finish", self.finish),
        ]

    @property
    def nothing_to_do(self) -> bool:
        """Whether so many run, serve and are what later deploys keep."""
        serve = set(edge_files.serving(self.facts).get(self.service, ()))
        number = self.facts.scale.get(self.service, self.site.settings.services[self.service].replicas)
        return {one.name for one in self.present} == serve and len(serve) == number == self.replicas

    @property
    def present(self) -> list[Instance]:
        """Containers that run now, oldest name first."""
        return [one for one in self.facts.of(self.service) if one.running]

    @property
    def staying(self) -> list[Instance]:
        """Those that serve afterwards."""
        return [*self.present, *self.new][: self.replicas]

    def start(self, note: StepNote) -> None:
        """Start the missing containers and wait for their health."""
        missing = self.replicas - len(self.present)
        if missing > 0:
            self.new = tuple(self.site.engine.start_beside({self.service: missing}, self.facts))
        note.text = f"{len(self.present)} before, {self.replicas} wanted"

    def remove(self) -> None:
        """Remove what was started."""
        known = {one.id for one in self.facts.instances}
        self.site.engine.retire(one for one in self.site.engine.facts().of(self.service) if one.id not in known)

    def switch(self, note: StepNote) -> None:
        """Let the edge send requests to exactly those that stay."""
        active = {**edge_files.serving(self.facts), self.service: [one.name for one in self.staying]}
        release = self.facts.active_release or edge_files.NONE
        workers = edge_files.switch(self.site, release, active, certificates=self.facts.certificates)
        edge_files.drained(self.site, workers)
        note.text = f"{len(self.staying)} serve"

    def finish(self, note: StepNote) -> None:
        """Remember the number for later deploys, then remove what serves no more."""
        numbers = {**self.facts.scale, self.service: self.replicas}
        self.site.host.write(f"{self.site.state}/scale.json", File((json.dumps(numbers) + "\n").encode()))
        stay = {one.id for one in self.staying}
        try:
            # Compose starts those again, too, that had been stopped.
            surplus = [one for one in self.site.engine.facts().of(self.service) if one.id not in stay]
            self.site.engine.retire(surplus)
            edge_files.forget(self.site)
            note.text = f"{len(surplus)} removed"
        except FlotteqError as error:
            # They serve nobody any more: taking the switch back would send requests to containers that may be gone.
            self.site.report.warn(f"not all surplus containers could be removed, the next deploy does: {error.message}")


def restart(site: Site, names: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """Restart containers in place, one service after the other; return their names."""
    return _each(site, names, variables, "restart")


def start(site: Site, names: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """Start stopped containers."""
    return _each(site, names, variables, "start")


def stop(site: Site, names: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """Stop containers and keep them."""
    return _each(site, names, variables, "stop")


def _each(site: Site, names: Iterable[str], variables: Mapping[str, str], verb: str) -> list[str]:
    here = [name for name, spec in site.settings.services.items() if spec.kind != "job"]
    wanted = known_services(site.settings, names) or here
    services = site.engine.containers
    command = {"restart": services.restart, "start": services.start, "stop": services.stop}[verb]
    with locked(site, holder(f"{verb} {', '.join(wanted)}", variables)) as keeper:
        facts = _live(site, site.engine.facts())
        present = [name for name in wanted if facts.of(name)]
        for name in present:
            with site.report.step(f"{verb} {name}"):
                site.host.run(command([name]), timeout=180)
        if verb != "stop":
            # What is healthy goes on: how often it was started again since it was made says nothing of this start.
            ran = {one.id for one in facts.instances if one.healthy and verb == "start"}
            facts = site.engine.facts()
            instances = [one for one in facts.instances if one.service in present and one.id not in ran]
            site.engine.wait_healthy(instances, limit=site.settings.deploy.health_timeout)
        if verb == "start" and (facts.restoring or half_rotated(site.settings, facts)):
            repair(site, keeper)
        keeper.write("control", verb=verb, services=present)
    return present


def down(site: Site, variables: Mapping[str, str]) -> None:
    """Remove all containers and networks. Volumes are external: they stay."""
    with locked(site, holder("down", variables)) as keeper:
        with site.report.step("down"):
            site.host.run(site.engine.containers.down(), timeout=300)
        keeper.write("down")


@dataclass(frozen=True)
class Volume:
    """A volume of the project. ``size`` is bytes on disk."""

    name: str
    mountpoint: str
    size: int
    used_by: tuple[str, ...]


_SIZES = """
for name; do
  path=$(docker volume inspect --format '{{.Mountpoint}}' "$name")
  users=$(docker ps --all --filter "volume=$name" --format '{{.Names}}' | tr '\\n' ' ')
  printf '%s\\t%s\\t%s\\t%s\\n' "$name" "$path" "$(du -sxB1 "$path" 2>/dev/null | cut -f1)" "$users"
done
"""


def volumes(site: Site) -> list[Volume]:
    """The project's volumes with their sizes."""
    names = sorted(site.engine.facts().own_volumes)
    if not names:
        return []
    found = []
    for line in site.host.run(script(_SIZES, names), timeout=300).out.splitlines():
        name, path, amount, users = line.split("\t")
        found.append(Volume(name, path, int(amount or 0), tuple(users.split())))
    return found


def inspect_volume(site: Site, name: str) -> object:
    """Docker's description of one volume of the project.

    Args:
        name: with or without the project's name in front.

    Raises:
        UsageError: the project has no such volume; the nearest of its own is suggested.
    """
    _, full = own_volume(site.settings, name, among=site.engine.facts().own_volumes)
    return json.loads(site.host.run(docker.inspect(full)).out)


def _live(site: Site, facts: Facts) -> Facts:
    if facts.release is None:
        raise FlotteqError(f"nothing has been deployed to {site.host.name} yet", hint="inv deploy --version v1.0.0")
    return facts
