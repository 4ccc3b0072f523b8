"""Two databases exchange their names, and the application's containers are replaced behind it."""

from dataclasses import dataclass, field, replace

from flotteq_tasks.commands import restoring, rollout, swapping
from flotteq_tasks.model.errors import ExitCode, FlotteqError, NotPutBack, Unhealthy
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.operations import edge_files, verification
from flotteq_tasks.operations.backup import settling
from flotteq_tasks.operations.backup.settling import application, consumer
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.deploy.preparation import memory_bytes
from flotteq_tasks.operations.deploy.surge import check_containers
from flotteq_tasks.operations.steps import Step


@dataclass(frozen=True)
class Restored:
    """What a restore did. ``before`` is the name that the former database has now; times are milliseconds."""

    set: str
    database: str
    before: str
    swapped: int = 0
    closed: int = 0


@dataclass
class Exchange:
    """The live database gets another name, and another one its own.

    The page is up for the renames alone where both databases have the same columns: the containers that run connect
    anew. They are replaced afterwards side by side, because they remember the former one, and because the next start
    must not be the first with this database.

    Args:
        done: names; ``before`` is what the live database becomes.
        next: what becomes the live database.
    """

    site: Site
    facts: Facts
    done: Restored
    next: str
    restarted: bool = False
    new: list[Instance] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = consumer(self.site)
        self.old = [one for one in self.facts.of(self.service) if one.running]

    def steps(self) -> list[Step]:
        """In this order; undone in the opposite one."""
        return [
            Step("swap", self.swap, self.swap_back),
            Step("containers", self.start, self.remove),
            Step("switch", self.switch, lambda: edge_files.switch_back(self.site)),
            Step("verify", self.verify),
            Step("clean up", self.clean_up),
        ]

    def mark(self, note: StepNote) -> None:
        """Leave word of what is under way."""
        settling.mark(self.site, next=self.next, kept=self.done.before, set=self.done.set)
        note.text = f"{self.next} will be {self.done.database}"

    def unmark(self) -> None:
        """Nothing is under way any more."""
        settling.unmark(self.site)

    def swap(self, note: StepNote) -> None:
        """Exchange the names behind the maintenance page."""
        self.done, way = swap(self.site, self.facts, self.done, next=self.next, way=self._way())
        self.restarted = way == "restart"
        how = "restarted" if self.restarted else "connected anew"
        note.text = (
            f"renamed in {self.done.swapped} ms, {self.done.closed} ms of maintenance page, {self.service} {how}"
        )

    def _way(self) -> str:
        needed = memory_bytes(self.site.settings.services[self.service].memory) * len(self.old)
        return "reconnect" if self.old and needed <= self.facts.memory_free else "restart"

    def swap_back(self) -> None:
        """Give the former database its name back, if it has lost it; else what a swap has left must not stay.

        Raises:
            NotPutBack: the application does not answer, or the engine.
        """
        if self.done.before in databases(self.site):
            swap(self.site, self.facts, replace(self.done, before=self.next), next=self.done.before, way=self._way())
        elif "unhealthy" in settling.settled(self.site, self.facts, next=self.next, kept=self.done.before):
            raise NotPutBack(
                f"the database is as it was, but {self.service} does not answer: the maintenance page stays",
                hint=f"inv logs --service {self.service}; when it answers: inv maintenance.off",
            )

    def start(self, note: StepNote) -> None:
        """Start containers beside those that know the former database, and ask them."""
        if self.restarted:
            note.text = "restarted by the swap"
            return
        try:
            self.new = self.site.engine.start_beside({self.service: len(self.old)}, self.facts)
            check_containers(self.site, self.new)
        except Unhealthy as error:
            raise Unhealthy(
                f"{self.service} was not healthy with the other database: {error.message}",
                hint=error.hint, details=error.details,
            ) from error  # fmt: skip
        note.text = f"{len(self.new)} healthy"

    def remove(self) -> None:
        """Remove what was started."""
        known = {one.id for one in self.facts.instances}
        self.site.engine.retire(one for one in self.site.engine.facts().of(self.service) if one.id not in known)

    def switch(self, note: StepNote) -> None:
        """Send requests to the new containers in one reload of the edge."""
        if not self.new:
            note.text = "nothing to switch"
            return
        release = self.facts.active_release or edge_files.NONE
        active = edge_files.serving(self.facts, self.new)
        self.workers = edge_files.switch(self.site, release, active, certificates=self.facts.certificates)
        note.text = f"{len(self.new)} serve"

    def verify(self, note: StepNote) -> None:
        """Ask all domains from outside. From here on the restore is done: a client that dies leaves a finished one."""
        facts = self.facts
        answers = verification.verify_domains(
            self.site.settings, verify=edge_files.issued(self.site.settings, facts), maintenance=facts.maintenance
        )
        verification.require(answers)
        self.unmark()
        note.text = f"{len(answers)} domains answer"

    def clean_up(self, note: StepNote) -> None:
        """Remove the containers that serve no more; a failure here is no failure of the restore."""
        if not self.new:
            return
        host, deploy = self.site.host, self.site.settings.deploy
        last = rollout.forget_edge(str(self.site.settings.directory))
        commands = [
            *edge_files.drain_commands(self.site, self.workers), *self.site.engine.retirement(self.old), last
        ]  # fmt: skip
        try:
            host.run_all(commands, timeout=deploy.drain + deploy.stop_grace + 120)
            note.text = f"{len(self.old)} old containers removed"
        except FlotteqError as error:
            self.site.report.warn(f"not cleaned up, the next deploy does: {error.message}")


def swap(site: Site, facts: Facts, wanted: Restored, *, next: str, way: str) -> tuple[Restored, str]:
    """Run the swap on the host, which finishes or returns by itself.

    Args:
        wanted: names; ``before`` is what the live database becomes.
        next: what becomes the live database.
        way: ``reconnect`` or ``restart``.

    Returns:
        what was done, and the way that it took.

    Raises:
        FlotteqError: everything is as before.
        NotPutBack: it is not.
    """
    service, asked = consumer(site), application(site, facts)
    command = swapping.swap(
        site.settings.project, site.settings.database, asked, next=next, kept=wanted.before, way=way
    )
    done = site.host.run(command, timeout=asked.longest + 30, check=False)
    said = dict(line.split(maxsplit=1) for line in done.out.splitlines() if len(line.split()) == 2)
    if done.ok:
        return replace(wanted, swapped=int(said["swapped"]), closed=int(said["closed"])), said["way"]
    words = (done.err.strip() or done.out.strip())[-800:]
    if done.code == swapping.REFUSED:
        raise FlotteqError("the swap was refused; the live database is as it was", details=words)
    if done.code == swapping.RETURNED:
        error = FlotteqError(
            f"{service} was not healthy with the other database, and the former one is live again",
            hint=f"inv logs --service {service}", details=words,
        )  # fmt: skip
        error.exit_code = ExitCode.PUT_BACK
        raise error
    raise NotPutBack(
        f"the swap ended with exit code {done.code}; the maintenance page may still be on",
        hint="inv status; inv deploy.abort; inv restore.undo", details=words,
    )  # fmt: skip


def databases(site: Site) -> dict[str, int]:
    """Names of all databases and their sizes in bytes."""
    done = site.host.run(restoring.databases(site.engine.containers, site.settings.database))
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in done.out.splitlines() if line}
