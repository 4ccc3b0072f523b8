"""One service at a time, for hosts where old and new containers of all services do not fit into memory together."""

from collections.abc import Sequence

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.errors import Unhealthy
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Instance
from flotteq_tasks.operations import edge_files, verification
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.preparation import Preparation


class Turn:
    """Replaces one service whole: new containers, checks, switch, old ones removed.

    Args:
        new: collects the new containers of all turns.
    """

    def __init__(self, prepared: Preparation, service: str, new: list[Instance]) -> None:
        self.prepared, self.service, self.new = prepared, service, new
        self.site = prepared.site

    def apply(self, note: StepNote) -> None:
        """Start, wait, check, switch this service, remove its old containers."""
        engine = self.site.engine
        fresh = engine.start_beside({self.service: self.prepared.replicas(self.service)}, engine.facts())
        check_containers(self.site, fresh)
        self.new.extend(fresh)
        self._send_to(self.new)
        engine.retire(self.prepared.facts.of(self.service))
        note.text = f"{len(fresh)} serve"

    def undo(self) -> None:
        """Start the live release's containers again where they are gone, send requests there, remove the new ones."""
        live, engine = self.prepared.facts.release, self.site.engine
        before = self.prepared.facts.of(self.service)
        facts, known = engine.facts(), {one.id for one in before}
        present = facts.of(self.service)
        fresh = [one for one in present if one.id not in known]
        old = [one for one in present if one.id in known and one.running]
        missing = (sum(one.running for one in before) or self.prepared.replicas(self.service)) - len(old)
        if live is not None and missing > 0:
            # What was stopped already and not yet removed answers nobody.
            engine.retire([one for one in present if one.id in known and not one.running])
            old += engine.start_beside({self.service: missing}, engine.facts(), release=live.id)
        self.new[:] = [one for one in self.new if one.service != self.service]
        if old:
            self._send_to([*self.new, *old])
        engine.retire(fresh)

    def _send_to(self, instances: Sequence[Instance]) -> None:
        """Requests go to these containers; the edge still carries the live release's mark until all have turned."""
        facts = self.site.engine.facts()
        active = edge_files.serving(facts, instances)
        release = facts.active_release or edge_files.NONE
        workers = edge_files.switch(self.site, release, active, certificates=self.prepared.facts.certificates)
        edge_files.drained(self.site, workers)


def check_containers(site: Site, instances: Sequence[Instance], *, meanwhile: Sequence[Command] = ()) -> list[Done]:
    """Ask containers for their health path from the edge's network; of one without a port its own check has to do.

    Args:
        meanwhile: commands that run while they are watched; their results are returned, none without containers.

    Raises:
        Unhealthy: names each container that does not answer as it must.
    """
    services = site.settings.services
    addresses = {
        one.name: f"http://{one.name}:{services[one.service].port}{services[one.service].health.path}"
        for one in instances
        if services[one.service].port
    }
    if not instances:
        return []
    answers, others = site.engine.ask(addresses, instances, meanwhile=meanwhile)
    bad = []
    for one in instances:
        if one.name not in addresses:
            continue
        status, body = answers[one.name]
        wrong = verification.problem(status, body, services[one.service].health.expect)
        if wrong:
            bad.append(f"{one.name}: {wrong}")
    if bad:
        raise Unhealthy("new containers do not answer as they must: " + "; ".join(bad), hint="inv logs")
    return others
