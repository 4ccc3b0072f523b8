"""Change the host, step by step; each step can be undone until the new release is verified."""

import time
from dataclasses import dataclass, field, replace

from flotteq_tasks.commands import rollout
from flotteq_tasks.commands.shell import Command, chain
from flotteq_tasks.host.base import Done
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import RECEIVER
from flotteq_tasks.operations import (
    assets,
    database,
    edge_files,
    monitoring,
    ownership,
    releases,
    retention,
    secret_store,
    verification,
)
from flotteq_tasks.operations.backup import pitr
from flotteq_tasks.operations.deploy import networks
from flotteq_tasks.operations.deploy.preparation import Preparation
from flotteq_tasks.operations.deploy.surge import Turn, check_containers
from flotteq_tasks.operations.probing import Tally
from flotteq_tasks.operations.steps import Step

# The engine may finish what a start that was broken off had asked of it.
UNDO_LOOKS = 5


@dataclass
class Rollout:
    """Applies what was prepared."""

    prepared: Preparation
    release: Release = field(init=False)
    new: list[Instance] = field(default_factory=list)
    old: list[Instance] = field(default_factory=list)
    answers: list[verification.Answer] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    workers: list[str] = field(default_factory=list)
    empty: bool | None = None
    asked: list[Done] = field(default_factory=list)
    stock: list[Done] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.site, self.facts, self.request = self.prepared.site, self.prepared.facts, self.prepared.request
        self.settings, self.engine, self.report = self.site.settings, self.site.engine, self.site.report
        self.release = self.prepared.release
        self.started = self.recorded = time.monotonic()

    def steps(self) -> list[Step]:
        """In this order; undone in the opposite one."""
        return [
            Step("files", self.put_files, self.restore_files),
            Step("services", self.start_services, self.stop_services),
            Step("backup", self.backup),
            Step("migrations", self.migrate),
            *(self.one_by_one() if self.prepared.surge == "one" else self.all_at_once()),
            Step("verify", self.verify),
            Step("record", self.record, self.record_back),
        ]

    def all_at_once(self) -> list[Step]:
        """All services switch in one reload: nobody sees the new frontend with the old API."""
        return [
            Step("containers", self.start_containers, self.remove_new),
            Step("checks", self.check_new),
            Step("switch", self.switch, self.switch_back),
        ]

    def one_by_one(self) -> list[Step]:
        """For a host without the memory for two of everything: each service is replaced whole before the next."""
        turns = [Turn(self.prepared, name, self.new) for name in self.rolling()]
        return [Step(f"replace {turn.service}", turn.apply, turn.undo) for turn in turns] + [
            Step("switch", self.switch, self.switch_back)
        ]

    def put_files(self, note: StepNote) -> None:
        """Make the release's files the project's files."""
        keep = assets.keep(self.site, self.facts, self.rolling())
        missing = [name for name in self.prepared.volumes if name not in self.facts.volumes]
        own = ownership.hand_over(self.settings, self.prepared.config)
        done = self.engine.activate(self.release.id, volumes=missing, then=[edge_files.look(self.site), own, *keep])
        secret_store.push(self.site.host, self.settings, self.prepared.pushed)
        edge_files.ensure(self.site, self.facts, certificate=done[0].out.strip())
        for text in ownership.handed(done[1].out):
            self.report.note(text)
        assets.warn(self.site, done[2:])
        note.text = f"{len(self.release.files)} files, {len(self.prepared.pushed)} secrets"

    def restore_files(self) -> None:
        """Put the live release's files back; without a live release there is nothing to put back."""
        if self.facts.release:
            self.engine.activate(self.facts.release.id)

    def start_services(self, note: StepNote) -> None:
        """Start or replace everything that does not roll: databases, the edge, tools."""
        changed = {change.service for change in self.prepared.changed}
        fixed = [
            name for name, service in self.settings.services.items() if service.kind != "rolling" and name in changed
        ]
        networks.join(self.site, self.prepared.moves, self.facts)
        for kind in ("stateful", "tool", "edge"):
            names = [name for name in fixed if self.settings.services[name].kind == kind]
            if kind == "tool" and self.settings.backup.pitr:
                pitr.prepare(self.site)
            if names:
                self.engine.start(names, replace=True)
                networks.join_again(self.site, self.prepared.moves, names)
        note.text = ", ".join([*fixed, *self.prepared.moves.words()]) or "all running"

    def stop_services(self) -> None:
        """Remove what was started for the first time; what was replaced runs again as the live release has it."""
        live = self.facts.release
        known = {one.service for one in self.facts.instances}
        fixed = {name for name, service in self.settings.services.items() if service.kind != "rolling"}
        if self.settings.backup.pitr and RECEIVER not in known and self.settings.database.service in known:
            # With its slot, which nobody would read.
            pitr.remove(self.site)
        self.engine.retire(one for one in self.engine.facts().instances if one.service in fixed - known)
        replaced = [change.service for change in self.prepared.changed if change.service in fixed & known]
        if live and replaced:
            self.engine.activate(live.id)
            if RECEIVER in replaced:
                # It is not waited for: where the database's password is put back, too, that comes later.
                self.site.host.run(self.engine.starting([RECEIVER], replace=True), timeout=180)
                replaced.remove(RECEIVER)
            if replaced:
                self.engine.start(replaced, replace=True)

    def backup(self, note: StepNote) -> None:
        """Dump the database before anything reads or changes it."""
        if self.request.skip_backup:
            note.text = "not needed" if self.request.again else "skipped (--skip-backup)"
        else:
            said, self.asked = database.dump(self.site, self.release.id, meanwhile=self.migration_questions())
            self.empty, note.text = not said, said or "the database is empty"

    def migration_questions(self) -> list[Command]:
        """What asks for the migrations' status while the backup is made.

        Nothing where the database may be empty: asking makes TypeORM create its table.
        """
        migrations, live = self.settings.migrations, self.facts.release
        if migrations is None or self.request.skip_migrations or live is None or not live.migrations:
            return []
        return database.asking(self.site, migrations)

    def migrate(self, note: StepNote) -> None:
        """Run the migration command once, in the new image, before any new container starts."""
        migrations = self.settings.migrations
        live = self.facts.release
        if migrations is None or self.request.skip_migrations:
            note.text = "not needed" if self.request.again else "skipped" if migrations else "none configured"
            known = self.request.again or live
            self.release = replace(self.release, migrations=known.migrations if known else ())
            return
        applied, note.text = database.migrate(self.site, migrations, empty=self.empty, asked=self.asked)
        self.release = replace(self.release, migrations=applied)

    def rolling(self) -> list[str]:
        """Services that are replaced side by side in this deploy."""
        changed = {change.service for change in self.prepared.changed}
        return [name for name in self.settings.of_kind("rolling") if name in changed]

    def start_containers(self, note: StepNote) -> None:
        """Start the new containers beside the old ones and wait until they are healthy."""
        names = self.rolling()
        if not names:
            note.text = "none to start"
            return
        self.old = [one for name in names for one in self.facts.of(name)]
        self.new = self.engine.start_beside({name: self.prepared.replicas(name) for name in names}, self.facts)
        note.text = f"{len(self.new)} healthy"

    def remove_new(self) -> None:
        """Remove the new containers, also those that a failed start left."""
        known, rolling = {one.id for one in self.facts.instances}, self.rolling()
        for _ in range(UNDO_LOOKS):
            left = [one for one in self.engine.facts().instances if one.id not in known and one.service in rolling]
            if not left:
                return
            self.engine.retire(left)

    def check_new(self, note: StepNote) -> None:
        """Ask each new container through the edge's network and compare the JSON fields."""
        self.stock = check_containers(self.site, self.new, meanwhile=retention.look(self.site))
        note.text = f"{len(self.new)} answered" if self.new else "nothing new"

    def switch(self, note: StepNote) -> None:
        """Send requests of all services to the new containers in one reload of the edge."""
        active = edge_files.serving(self.facts, self.new)
        again = self.request.again
        self.workers = edge_files.switch(
            self.site,
            self.release.id,
            active,
            certificates=self.facts.certificates,
            source=again.id if again else "",
        )
        note.text = f"{len(self.rolling())} services in one reload"

    def switch_back(self) -> None:
        """Send requests to the old containers again."""
        edge_files.switch_back(self.site)

    def verify(self, note: StepNote) -> None:
        """Ask every domain from outside, over TLS; then watch the edge's answers to everybody for a while."""
        bare = [name for name in self.settings.public.values() if name not in self.prepared.issued]
        if bare:
            whom = f" for {', '.join(bare)}" if self.prepared.issued else ""
            self.report.warn(f"no certificate has been issued yet{whom}: inv ssl.init")
        closed = self.facts.maintenance
        self.answers = verification.verify_domains(self.settings, verify=self.prepared.issued, maintenance=closed)
        verification.require(self.answers)
        limited = [one.domain for one in self.answers if one.limited]
        if limited:
            self.report.warn(f"{', '.join(limited)}: the rate limit refuses this address, not verified from outside")
        note.text = f"{len(self.answers) - len(limited)} domains answer"
        seconds = self.settings.deploy.monitor if self.request.soak is None else self.request.soak
        if self.new and seconds and not closed:
            note.text += f", {monitoring.monitor(self.site, self.new, seconds)} in {seconds} s"

    def record(self, note: StepNote) -> None:
        """From here on the release is live: a client that dies now leaves a finished deploy."""
        self.release = replace(self.release, seconds=round(time.monotonic() - self.started, 1))
        releases.record(self.site, self.release)
        self.recorded = time.monotonic()
        note.text = self.release.id

    def record_back(self) -> None:
        """Say again that the release before is live; the write may have arrived although its answer did not."""
        releases.record_back(self.site, self.facts.release, self.release.id)

    def leave(self) -> list[Command]:
        """What takes the databases out of networks that only the old containers needed."""
        moves = self.prepared.moves
        return networks.leave(self.settings, moves, self.engine.facts() if moves.former else self.facts)

    def given_up(self) -> list[Instance]:
        """Containers that served and whose service flotteq.toml has no more."""
        gone = [name for name in self.facts.active if name not in self.settings.services]
        return [one for name in gone for one in self.facts.of(name)]

    def clean_up(self) -> None:
        """Remove what the new release replaced. It is live: a failure here is no failure of the deploy."""
        old = [*self.old, *self.given_up()]
        try:
            with self.report.step("clean up") as note:
                # A WebSocket may last as long as the drain time: the release is live meanwhile.
                order = [
                    *edge_files.drain_commands(self.site, self.workers),
                    *self.engine.retirement(old),
                    *self.leave(),
                ]
                keep = rollout.keep_edge_of(str(self.settings.directory), self.release.id)
                first = [keep, *([chain(*order)] if order else [])]
                if pitr.is_left(self.site, self.facts):
                    pitr.remove(self.site)
                seconds = self.settings.deploy.drain
                if self.stock:
                    retention.sweep(self.site, retention.found(self.site, self.stock, self.release), first, seconds)
                else:
                    done = self.site.host.run_all([*first, *retention.look(self.site)], timeout=seconds + 180)
                    retention.sweep(self.site, retention.found(self.site, done[len(first) :]))
                note.text = f"{len(old)} old containers removed" if old else ""
        except FlotteqError as error:
            self.report.warn(f"{self.release.version} is live; not cleaned up, the next deploy does: {error.message}")
