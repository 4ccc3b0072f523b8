"""Look, fetch and compare: nothing that serves is touched."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flotteq_tasks.commands.shell import script
from flotteq_tasks.engines.base import Change, Image, Staged
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, SettingsError
from flotteq_tasks.model.events import StepNote
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release, release_id
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import RECEIVER
from flotteq_tasks.operations import edge_check, edge_files, images, ownership, preflight, secret_store
from flotteq_tasks.operations.backup import pitr
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.deploy import networks
from flotteq_tasks.operations.deploy.networks import Moves
from flotteq_tasks.operations.deploy.request import DeployRequest
from flotteq_tasks.operations.names import known_services
from flotteq_tasks.operations.steps import Step
from flotteq_tasks.settings.composefile import check_compose


@dataclass
class Preparation:
    """What a deploy knows before it changes anything.

    Args:
        who: the holder of the lock; the release remembers it.
        facts: the host, read under the lock.
        variables: the environment of this process: it may hold the registry's password.
        rehearsal: nothing comes of it; what is staged gets a name of its own, which no release has.
    """

    site: Site
    request: DeployRequest
    who: Mapping[str, str]
    facts: Facts
    variables: Mapping[str, str] = field(default_factory=dict)
    rehearsal: bool = False
    release: Release = field(default_factory=lambda: Release("", "", {}))
    pushed: Mapping[str, Secret] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    changed: list[Change] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    edge: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    moves: Moves = field(default_factory=Moves)
    warnings: list[str] = field(default_factory=list)

    @property
    def issued(self) -> frozenset[str]:
        """The public names that an issued certificate is served for, not the placeholder."""
        return edge_files.issued(self.site.settings, self.facts)

    @property
    def nothing_to_do(self) -> bool:
        """Whether the version is live and neither a container nor a file has to change."""
        live = self.facts.release
        same = live is not None and (live.version, live.files) == (self.release.version, self.release.files)
        return same and not self.changed and not self.edge and not pitr.is_left(self.site, self.facts)

    @property
    def overlap(self) -> int:
        """Bytes of memory that the new containers may use while the old ones still run."""
        services = self.site.settings.services
        rolling = [one.service for one in self.changed if services[one.service].kind == "rolling"]
        return sum(memory_bytes(services[name].memory) * self.replicas(name) for name in rolling)

    @property
    def surge(self) -> str:
        """``all`` services side by side, or ``one`` after the other where the memory is short."""
        if self.request.surge:
            return self.request.surge
        fits = self.overlap <= self.facts.memory_free or not self.facts.installed
        return "all" if fits else "one"

    @property
    def transferred(self) -> int | None:
        """Bytes of images that had to be fetched; None where the engine cannot tell."""
        fetched: dict[str, int] = {}
        for image in self.images.values():
            if image.layers is None:
                return None
            # Images share layers: what came for one of them did not come for the other.
            fetched.update(image.layers)
        return sum(fetched.values())

    def steps(self) -> list[Step]:
        """None of them needs an undo."""
        return [Step("preflight", self.preflight), Step("images", self.fetch), Step("plan", self.plan)]

    def preflight(self, note: StepNote) -> None:
        """Check the host, the secrets and the room it has; name the new release."""
        settings = self.site.settings
        problems = preflight.check_host(settings, self.facts, first_install=self.request.first_install)
        for problem in problems:
            if not problem.fatal:
                self.warn(problem.what)
        fatal = [problem for problem in problems if problem.fatal]
        if fatal:
            raise PreflightFailed(
                "; ".join(problem.what for problem in fatal), hint="\n".join(problem.fix for problem in fatal)
            )
        self._refuse_other_services()
        marks, self.pushed = self._secrets()
        now = datetime.fromtimestamp(self.facts.clock or time.time(), UTC)
        self.release = Release(
            id=("plan-" if self.rehearsal else "") + release_id(str(self.request.version), now),
            version=str(self.request.version),
            images={},
            secrets=marks,
            replicas={name: self.replicas(name) for name in settings.of_kind("rolling")},
            created=now.isoformat(timespec="seconds"),
            by=f"{self.who['who']} on {self.who['where']}",
            previous=self.facts.release.id if self.facts.release else "",
            again=self.request.again.origin if self.request.again else "",
        )
        note.text = f"engine {self.facts.engine_version}, compose {self.facts.compose_version}"

    def _refuse_other_services(self) -> None:
        """A release that had other services cannot run again by these settings; with a receiver or without, it can."""
        if self.request.again is None:
            return
        then, now = set(self.request.again.images) - {RECEIVER}, set(self.site.settings.services) - {RECEIVER}
        words = [
            *([f"it had {', '.join(sorted(then - now))}"] if then - now else []),
            *([f"it had no {', '.join(sorted(now - then))}"] if now - then else []),
        ]
        if words:
            version = self.request.version
            raise PreflightFailed(
                f"{version} had other services than flotteq.toml has now: {'; '.join(words)}; nothing was changed",
                hint="check out flotteq.toml and the Compose file of then; the same command again",
            )

    def _secrets(self) -> tuple[Mapping[str, str], Mapping[str, Secret]]:
        if self.request.again is not None:
            # What a server knows one of is today's: with the password from before a rotation nobody could log in.
            return {
                name: self.facts.secrets.get(name, mark) if self._is_servers(name) else mark
                for name, mark in self.request.again.secrets.items()
            }, {}
        for name in secret_store.other_values(self.site.settings, self.facts.secrets):
            if name != self.request.rotates:
                remedy = f"inv secrets.generate --rotate {name} replaces it"
                self.site.report.warn(
                    f"secret {name}: the host has another value than this machine; it stays ({remedy})"
                )
        return secret_store.settle(self.site.settings, self.facts.secrets)

    def _is_servers(self, name: str) -> bool:
        spec = self.site.settings.secrets.get(name)
        return spec is not None and spec.rotate != "restart"

    def replicas(self, service: str) -> int:
        """Containers of a service: what `scale` set, else flotteq.toml."""
        return self.facts.scale.get(service, self.site.settings.services[service].replicas)

    def fetch(self, note: StepNote) -> None:
        """Pull all images and pin them."""
        wanted = self._wanted()
        images.login(self.site.host, self.site.settings, self.variables)
        self.images = self.site.engine.fetch(wanted)
        built = {one.pinned: one.size for name, one in self.images.items() if self.site.settings.services[name].build}
        pinned = {name: image.pinned for name, image in self.images.items()}
        self.release = replace(self.release, images=pinned, size=sum(built.values()))
        note.text = f"{len(set(wanted.values()))} images pinned by digest"

    def _wanted(self) -> dict[str, str]:
        settings, version = self.site.settings, str(self.request.version)
        if self.request.again is not None:
            return {name: image for name, image in self.request.again.images.items() if name in settings.services}
        wanted = {name: settings.reference(name, version) for name in settings.services}
        only = known_services(settings, self.request.only, among=settings.of_kind("rolling"))
        live = self.facts.release
        for name, reference in wanted.items():
            pinned = live.images.get(name, "") if live else ""
            # A third-party image stays at the digest that runs until its tag in flotteq.toml changes.
            third_party = settings.services[name].build is None and pinned.startswith(f"{reference}@")
            left_out = bool(only) and settings.services[name].build and name not in only
            if pinned and (third_party or left_out):
                wanted[name] = pinned
        return wanted

    def plan(self, note: StepNote) -> None:
        """Stage the files and compare them with what runs."""
        staged = self._stage()
        config = self.config = staged.config
        problems = check_compose(self.site.settings, config)
        if problems:
            file = self.site.settings.project.compose_file
            raise SettingsError("\n".join(problems), hint=f"edit {file}; nothing was changed")
        self.volumes = [str(one["name"]) for one in (config.get("volumes") or {}).values() if one.get("external")]
        check_entrypoints(config, self.images)
        self.changed = self.site.engine.changes(staged, self.facts)
        self._refuse_interruption()
        self._look_at_owners()
        self.moves = networks.moves(self.site.settings, config, self.facts, {one.service for one in self.changed})
        for text in self.moves.words():
            self.warn(text)
        if self.request.again is None:
            edge_check.check(self.site, self.facts, "plan" if self.rehearsal else "check")
            self.edge = edge_files.differences(self.site, self.facts)
        reasons = [f"{one.service} ({one.reason})" for one in self.changed]
        if self.surge == "one":
            self.site.report.note("the services are replaced one after the other: less memory, several reloads")
        edge = ["edge (configuration)"] if self.edge else []
        note.text = ", ".join([*reasons, *edge]) or ("nothing to do" if self.nothing_to_do else "files only")

    def _stage(self) -> Staged:
        again, engine = self.request.again, self.site.engine
        staged = engine.stage_again(self.release, again) if again is not None else engine.stage(self.release)
        self.release = staged.release
        return staged

    def _refuse_interruption(self) -> None:
        """Services that cannot be replaced side by side are replaced only when the user says so."""
        services = self.site.settings.services
        held = [
            change.service
            for change in self.changed
            if change.reason != "not running" and services[change.service].kind in ("stateful", "edge")
        ]
        if not held or self.request.allow_stateful:
            return
        self.changed = [change for change in self.changed if change.service not in held]
        # The release must say what really runs, or running it again would replace the database.
        running = {name: next(one.image for one in self.facts.of(name) if one.running) for name in held}
        self.release = replace(self.release, images={**self.release.images, **running})
        self._stage()
        for name in held:
            edge = services[name].kind == "edge"
            how = "inv nginx.upgrade replaces it" if edge else "--allow-stateful replaces it and interrupts the site"
            self.warn(f"{name}: changed; it stays ({how})")

    def _look_at_owners(self) -> None:
        """Say what is handed over; refuse a database whose files belong to somebody else than it would run as."""
        settings = self.site.settings
        torn = list(ownership.torn(settings, self.config, self.facts, [one.service for one in self.changed]))
        if torn:
            raise PreflightFailed(
                "; ".join(torn) + "; nothing was changed",
                hint="set services.NAME.user in flotteq.toml to that owner: images number their users differently",
            )
        for text in ownership.foreign(settings, self.config, self.facts):
            self.warn(text)

    def warn(self, text: str) -> None:
        """Tell it, and remember it for a plan."""
        self.warnings.append(text)
        self.site.report.warn(text)


@contextmanager
def rehearsed(
    site: Site, request: DeployRequest, what: str, facts: Facts, variables: Mapping[str, str]
) -> Iterator[Preparation]:
    """Prepare without the lock and without consequences: what was staged is removed at the end of the block."""
    prepared = Preparation(site, request, holder(what, variables), facts, variables, rehearsal=True)
    try:
        for step in prepared.steps():
            with site.report.step(step.name) as note:
                step.apply(note)
        yield prepared
    finally:
        if prepared.release.id:
            forget = script('rm -rf -- "$1/releases/$2"', str(site.settings.directory), prepared.release.id)
            site.host.run(forget)


def memory_bytes(text: str) -> int:
    """Docker's notation: ``512m``, ``1g``."""
    units = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    return int(float(text[:-1]) * units[text[-1].lower()])


def check_entrypoints(config: Mapping[str, object], images: Mapping[str, Image]) -> None:
    """The Compose file repeats the entrypoint of images behind secrets-to-env: it must be the image's own.

    Raises:
        FlotteqError: it is another one; the hint has the lines to paste.
    """
    services = config.get("services")
    assert isinstance(services, dict)  # noqa: S101 - the shape of `docker compose config`
    for name, body in services.items():
        entrypoint, image = list(body.get("entrypoint") or []), images.get(name)
        if image is None or not entrypoint or not entrypoint[0].endswith("/secrets-to-env"):
            continue
        command = list(body.get("command") or [])
        own = [*image.entrypoint, *image.cmd]
        if entrypoint[1:] + command != own:
            raise FlotteqError(
                f"services.{name} in the Compose file starts {entrypoint[1:] + command}, but its image starts {own}",
                hint=f"entrypoint: {json.dumps([entrypoint[0], *image.entrypoint])}\n"
                f"command: {json.dumps(list(image.cmd))}",
            )
