"""Replace the edge's own container. Two cannot have the same ports: new connections wait between one and the other."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flotteq_tasks.commands import edge_swap, rollout
from flotteq_tasks.commands import nginx as commands
from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, NotPutBack, PreflightFailed
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.operations import edge_files, releases, verification
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.probing import Tally, probing
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import Step, run_steps

# Seconds. After HOLD connections are let through whatever happens; requests that run have GRACE to end; the new
# container has WITHIN to answer. The limit of the command has room for taking it back.
HOLD, GRACE, WITHIN, LIMIT = 30, 10, 15, 180


def upgrade(site: Site, variables: Mapping[str, str], ask: Callable[[str], None]) -> str:
    """Replace the edge where its image or the configuration of its container changed; return what happened.

    Args:
        ask: called with a question where connections cannot be held; raises when the answer is no.

    Raises:
        FlotteqError: the exit code says whether something was changed; see ``run_steps``.
    """
    with locked(site, holder("nginx.upgrade", variables)) as keeper:
        run = _Upgrade(site, prepare(site, repair(site, keeper)))
        try:
            run_steps([Step("image", run.fetch), Step("plan", run.plan)], site.report, keeper)
            if not run.reason:
                # A client that died after the replacement could not record it.
                run_steps([Step("record", run.record)] if run.unrecorded else [], site.report, keeper)
                return f"the edge runs {_short(run.candidate.images[run.edge])} as configured; nothing to do"
            if run.obstacle:
                ask(f"New connections are refused for about a second: they cannot be held ({run.obstacle}).")
            return _replace(run, keeper)
        finally:
            run.forget()


def prepare(site: Site, facts: Facts) -> Facts:
    """Check that there is an edge that works.

    Raises:
        FlotteqError: nothing is deployed, the edge does not run or a domain does not answer.
    """
    if facts.release is None:
        raise FlotteqError(f"nothing has been deployed to {site.host.name} yet", hint="inv deploy --version v1.0.0")
    instances = facts.of(site.settings.of_kind("edge")[0])
    if not any(one.running for one in instances):
        raise FlotteqError(f"{site.host.name}: the edge does not run", hint="inv start")
    verification.require(_ask(site, facts))
    return facts


def _replace(run: "_Upgrade", keeper: Keeper) -> str:
    site = run.site
    with probing(site.settings, verify=edge_files.issued(site.settings, run.facts)) as tally:
        run_steps(run.steps(), site.report, keeper)
    keeper.write("nginx.upgrade", image=run.candidate.images[run.edge], held=run.held, reason=run.reason)
    parts = [f"the edge runs {_short(run.candidate.images[run.edge])} ({run.reason})"]
    parts.append(f"new connections waited {run.held / 1000:.1f} s" if not run.obstacle else "connections were refused")
    if not run.facts.maintenance:
        parts.append(_probes(tally))
    return " · ".join(parts)


@dataclass
class _Upgrade:
    """What an upgrade knows.

    Args:
        reason: why the container is replaced; empty: nothing has to be done.
        unrecorded: the live release says something else than what runs.
        obstacle: why connections cannot be held; empty: they can.
        held: milliseconds from the moment they were held until they were let through.
    """

    site: Site
    facts: Facts
    candidate: Release = field(init=False)
    reason: str = ""
    unrecorded: bool = False
    obstacle: str = ""
    new: Instance | None = None
    held: int = 0

    def __post_init__(self) -> None:
        assert self.facts.release is not None  # noqa: S101 - prepare() refuses
        self.live = self.facts.release
        self.edge = self.site.settings.of_kind("edge")[0]
        self.old = next(one for one in self.facts.of(self.edge) if one.running)
        # Never recorded: files to compare with and to make the container from.
        self.candidate = replace(self.live, id=f"{self.live.id}.edge")

    @property
    def containers(self) -> Containers:
        """The project as the candidate's files describe it."""
        return self.site.engine.staged_containers(self.candidate.id)

    def fetch(self, note: StepNote) -> None:
        """Fetch what the tag of the edge's image means today."""
        found = self.site.engine.fetch({self.edge: self.site.settings.reference(self.edge, "")})
        pinned = found[self.edge].pinned
        self.candidate = replace(self.candidate, images={**self.live.images, self.edge: pinned})
        note.text = _short(pinned)

    def plan(self, note: StepNote) -> None:
        """Compare the container that runs with today's settings; nothing but the edge may differ from the release."""
        then = self.site.engine.stage(self.candidate).marks
        now = self.site.engine.marks()
        others = sorted(name for name, mark in then.items() if name != self.edge and now.get(name) != mark)
        if others:
            raise PreflightFailed(
                f"the settings of {', '.join(others)} changed since {self.live.version} was deployed, too; "
                "nothing was changed",
                hint=f"inv deploy --version {self.live.version} (it leaves the edge as it is), then inv nginx.upgrade",
            )
        if self.old.image != self.candidate.images[self.edge]:
            self.reason = "image"
        elif self.old.config_hash != then[self.edge]:
            self.reason = "configuration"
        pinned = self.candidate.images[self.edge]
        self.unrecorded = self.live.images.get(self.edge) != pinned or now.get(self.edge) != then[self.edge]
        done = self.site.host.run(edge_swap.can_hold(), check=False)
        self.obstacle = "" if done.ok else done.out.strip() or "nft cannot be used"
        note.text = self.reason or "nothing changed"

    def steps(self) -> list[Step]:
        """In this order; undone in the opposite one."""
        return [
            Step("configuration", self.configure, lambda: edge_files.switch_back(self.site)),
            Step("container", self.create, self.remove_new),
            Step("drain", self.drain),
            Step("replace", self.swap, self.swap_back),
            Step("verify", self.verify),
            Step("finish", self.finish),
        ]

    def configure(self, note: StepNote) -> None:
        """Put today's files on the host and let the new image check them; the running edge does not read them yet."""
        self.site.host.run(rollout.keep_edge(str(self.site.settings.directory)))
        edge_files.render(self.site, self.facts)
        name = f"{self.site.settings.project.name}-{self.edge}-check"
        self.site.host.run(edge_swap.test(self.containers, service=self.edge, name=name), timeout=120)
        note.text = "the new image accepts it"

    def create(self, note: StepNote) -> None:
        """Make the new container beside the running one, not started."""
        known = {one.id for one in self.facts.instances}
        count = len(self.facts.of(self.edge)) + 1
        self.site.host.run(self.containers.spare(self.edge, count=count), timeout=120)
        self.new = next((one for one in self.site.engine.facts().of(self.edge) if one.id not in known), None)
        if self.new is None:
            raise FlotteqError(f"{self.site.host.name}: Compose made no new container of {self.edge}")
        note.text = self.new.name

    def remove_new(self) -> None:
        """Remove what was made, also what a failed attempt left."""
        left = [one for one in self.site.engine.facts().of(self.edge) if one.id != self.old.id]
        self.site.engine.retire(left)

    def drain(self, note: StepNote) -> None:
        """Let idle connections go first, so that the old container ends as soon as it is told to."""
        try:
            edge_files.drain(self.site, self.facts)
        except CommandFailed as error:
            if error.code != commands.REFUSED:
                raise
            self.site.report.warn("the old nginx refuses the new configuration: its idle connections prolong the wait")
            return
        note.text = "no idle connections"

    def swap(self, note: StepNote) -> None:
        """Hold new connections, stop the old container, start the new one, let them through when it answers."""
        assert self.new is not None  # noqa: S101 - the step before made it
        done = self.site.host.run(self._swap(self.old, self.new), timeout=LIMIT, check=False)
        if done.code == edge_swap.BACK:
            raise FlotteqError(f"{self.edge}: the new container did not answer", hint="inv logs", details=done.out)
        if done.code == edge_swap.DOWN:
            raise NotPutBack(f"{self.edge}: neither the new nor the old container answers", details=done.out)
        words = done.check(self.site.host.name).out.split()
        self.held = int(words[2]) if len(words) == 3 else 0
        stopped = int(words[1]) if self.held else 0
        times = f"stopped after {stopped / 1000:.1f} s, {self.new.name} answers after {self.held / 1000:.1f} s"
        note.text = f"{self.old.name} {times}"

    def swap_back(self) -> None:
        """Start the old container again, unless it runs."""
        if self.new is not None:
            done = self.site.host.run(self._swap(self.new, self.old), timeout=LIMIT, check=False)
            done.check(self.site.host.name)

    def _swap(self, old: Instance, new: Instance) -> Command:
        settings = self.site.settings
        checks = {domain: settings.services[name].health.path for name, domain in settings.public.items()}
        wait = 0 if self.obstacle else HOLD
        return edge_swap.swap(str(settings.directory), old.id, new.id, checks, hold=wait, grace=GRACE, within=WITHIN)

    def verify(self, note: StepNote) -> None:
        """Wait for the container's own health check and ask every domain from outside."""
        assert self.new is not None  # noqa: S101 - the step before used it
        self.site.engine.wait_healthy([self.new], limit=self.site.settings.deploy.health_timeout)
        answers = _ask(self.site, self.facts)
        verification.require(answers)
        note.text = f"{len(answers)} domains answer"

    def finish(self, note: StepNote) -> None:
        """Record the new container first, so that a client that dies now leaves a finished upgrade; remove the old."""
        self.record(note)
        self.site.engine.retire([self.old])

    def record(self, note: StepNote) -> None:
        """Write the edge's files and image as they are now into the live release."""
        recorded = self.site.engine.stage(replace(self.candidate, id=self.live.id)).release
        self.site.engine.activate(recorded.id)
        releases.record(self.site, recorded)
        self.site.host.run(rollout.forget_edge(str(self.site.settings.directory)))
        note.text = f"recorded in {recorded.id}"

    def forget(self) -> None:
        """Remove the candidate's files; a connection that is gone leaves them for the next deploy's retention."""
        place = f"{self.site.settings.directory}/releases/{self.candidate.id}"
        with contextlib.suppress(FlotteqError):
            self.site.host.run(Command("rm", "-rf", place))


def _ask(site: Site, facts: Facts) -> list[verification.Answer]:
    issued = edge_files.issued(site.settings, facts)
    return verification.verify_domains(site.settings, verify=issued, maintenance=facts.maintenance)


def _probes(tally: Tally) -> str:
    first = f" (the first: {tally.first})" if tally.failed else ""
    return f"{tally.failed:,} failed of {tally.sent:,} probes{first}"


def _short(pinned: str) -> str:
    name, at, digest = pinned.partition("@sha256:")
    return f"{name}@{digest[:12]}" if at else name[:19]
