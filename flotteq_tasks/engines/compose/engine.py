"""Docker Compose on one host, behind the engine interface."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from flotteq_tasks.commands import docker, rollout, waiting
from flotteq_tasks.commands.batch import split, together
from flotteq_tasks.commands.certbot import KEY_READERS
from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.facts import read_containers, read_facts
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.engines.base import Change, Image, Staged
from flotteq_tasks.engines.compose.diagnosis import diagnosis
from flotteq_tasks.engines.compose.facts import parse_facts
from flotteq_tasks.engines.compose.files import comparable, compose_name, release_files, secret_path, unreadable
from flotteq_tasks.host import interruption
from flotteq_tasks.host.base import Done, Host
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import RECEIVER, Settings, variable

LOG_LINES = 50
# No line of JSON or of hashes is this.
RESOLVED = "@@ resolved"

# Whoever serves files or challenges is not root: names lead to them for everybody, keys for one group.
_DIRECTORIES = """
umask 022
cd "$1"
mkdir -p assets cache certbot/conf certbot/www/.well-known/acme-challenge certs nginx/state secrets state
chmod 755 assets certbot/www certs nginx nginx/state
find certs -mindepth 1 ! -type l ! -group "$2" -exec chgrp "$2" {} +
"""

# What registries say of an image that they lack; "unknown authority" and "executable not found" say something else.
_ABSENT = re.compile(r"(manifest|name) unknown|manifest for \S+ not found|: not found\s*$")


class ComposeEngine:
    """Runs releases as a Compose project.

    Args:
        host: where the project is.
        settings: the environment's settings.
    """

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.directory = str(settings.directory)
        self._healthy: dict[str, str] = {}
        self.compose = Compose(settings.project.name, self.directory, compose_name(settings))

    @property
    def containers(self) -> Compose:
        """The project as its present files describe it."""
        return self.compose

    def staged_containers(self, release_id: str) -> Compose:
        """The project as a staged release's files describe it."""
        prefix = f"releases/{release_id}/files"
        return Compose(self.compose.project, self.directory, f"{prefix}/{self.compose.file}", f"{prefix}/.env")

    def facts(self) -> Facts:
        """Read the host's state in one round trip."""
        return self.seen(self.host.run(self.look()).out)

    def look(self) -> Command:
        """The command of ``facts``, for a round trip with others."""
        return read_facts(self.directory, self.settings.project.name)

    def seen(self, text: str) -> Facts:
        """The facts in the output of ``look``."""
        return parse_facts(text)

    def fetch(self, references: Mapping[str, str]) -> dict[str, Image]:
        """Pull images side by side and pin each by its digest."""
        wanted = sorted(set(references.values()))
        limit = self.settings.deploy.pull_timeout
        done = self.host.run(rollout.fetch(wanted, limit=limit), timeout=limit * 3 + 60)
        images: dict[str, Image] = {}
        layers: dict[str, Mapping[str, int] | None] = {}
        failed: dict[str, str] = {}
        for line in done.out.splitlines():
            kind, _, rest = line.partition(" ")
            reference, _, text = rest.partition(" ")
            if kind == "layers":
                layers[reference] = _layers(*text.split(" ", maxsplit=1))
            elif kind == "image":
                images[reference] = _image(reference, json.loads(text), layers.get(reference, {}))
            elif kind == "failed":
                failed[reference] = text
        if failed:
            raise _not_fetched(references, failed, self.settings)
        return {service: images[reference] for service, reference in references.items()}

    def stage(self, release: Release) -> Staged:
        """Upload the release's files to ``releases/<id>/files``.

        Raises:
            SettingsError: Compose cannot read the Compose file; it is named as it lies on this machine.
        """
        files = release_files(self.settings, release)
        root = f"{self.directory}/releases/{release.id}/files"
        read = self.host.write_tree(root, files, then=[self._resolved(release.id)], check=False)
        done = _results(self._resolving(release.id), read[-1].check(self.host.name), RESOLVED)
        if not done[-1].ok:
            raise unreadable(self.settings, done[-1], root)
        hashes = {path: sha256(comparable(file.content)).hexdigest() for path, file in files.items()}
        return _staged(replace(release, files=hashes), done)

    def stage_again(self, release: Release, source: Release) -> Staged:
        """Stage the files of an earlier release under a new id; its images and secret versions come with them.

        Secrets of which the new one has other versions than the earlier one get those, services other images.
        """
        images = {
            variable(name, "image"): image for name, image in release.images.items() if source.images.get(name) != image
        }
        others = {
            variable(name, "file"): secret_path(name, mark)
            for name, mark in release.secrets.items()
            if source.secrets.get(name) != mark
        }
        copy = rollout.stage_again(self.directory, source.id, release.id, {**images, **others})
        read = self.host.run_all([copy, self._resolved(release.id)], timeout=120)
        done = _results(self._resolving(release.id), read[-1], RESOLVED)
        return _staged(replace(release, files=source.files), [one.check(self.host.name) for one in done])

    def _resolved(self, release_id: str) -> Command:
        return together(self._resolving(release_id), RESOLVED)

    def _resolving(self, release_id: str) -> list[Command]:
        compose = self.staged_containers(release_id)
        return [compose.config(), compose.hashes()]

    def config(self) -> Mapping[str, Any]:
        """The resolved Compose file of the project, as plain data."""
        result: dict[str, Any] = json.loads(self.host.run(self.compose.config()).out)
        return result

    def marks(self) -> Mapping[str, str]:
        """Compose's hash of each service."""
        return _marks(self.host.run(self.compose.hashes()).out)

    def changes(self, staged: Staged, facts: Facts) -> list[Change]:
        """Services whose running containers differ from the release, with the reason."""
        release, wanted = staged.release, staged.marks
        found = []
        for service, spec in self.settings.services.items():
            if spec.kind == "job":
                if _digest_of(release, service) != _digest_of(facts.release, service):
                    found.append(Change(service, "image"))
                continue
            if service == RECEIVER and service not in release.images:
                # An earlier release from before it runs again: what receives goes on.
                continue
            instances = [one for one in facts.of(service) if one.running]
            if not instances:
                found.append(Change(service, "not running"))
            elif any(one.image != release.images.get(service) for one in instances):
                found.append(Change(service, "image"))
            elif any(one.config_hash != wanted.get(service) for one in instances):
                found.append(Change(service, "configuration"))
            elif len(instances) != release.replicas.get(service, 1):
                found.append(Change(service, "replicas"))
        return found

    def activate(self, release_id: str, *, volumes: Iterable[str] = (), then: Sequence[Command] = ()) -> list[Done]:
        """Copy the staged files into the project directory, each by rename; make what containers mount.

        Compose does not own the volumes: ``down --volumes`` cannot remove data.
        """
        own = self.activation(release_id, volumes)
        return self.host.run_all([*own, *then], timeout=240)[len(own) :]

    def activation(self, release_id: str, volumes: Iterable[str]) -> list[Command]:
        """The commands of ``activate``."""
        label = {"com.flotteq.project": self.settings.project.name}
        return [
            rollout.activate(f"{self.directory}/releases/{release_id}/files", self.directory),
            script(_DIRECTORIES, self.directory, KEY_READERS),
            *(docker.volume_create(volume, label) for volume in volumes),
        ]

    def start(self, services: Iterable[str], *, replace: bool = False) -> None:
        """Start services in place and wait until they are healthy."""
        names = list(services)
        self.host.run(self.starting(names, replace=replace), timeout=180)
        started = [one for one in self.facts().instances if one.service in names and not one.oneoff]
        self.wait_healthy(started, limit=self.settings.deploy.health_timeout)

    def starting(self, services: Iterable[str], *, replace: bool = False) -> Command:
        """The command of ``start``."""
        return self.compose.up(services, recreate=replace)

    def start_beside(self, counts: Mapping[str, int], facts: Facts, *, release: str = "") -> list[Instance]:
        """Scale each service up by its count; existing containers are not touched, new ones are found by their id."""
        known, limit = {one.id for one in facts.instances}, self.settings.deploy.health_timeout
        done = self.host.run_all(self.beside(counts, facts, release=release), timeout=180 + limit + 60, check=False)
        if len(done) == 1:
            done[0].check(self.host.name)
        after = self.seen(done[2].out) if len(done) == 3 else self.facts()
        new = [one for name in counts for one in after.of(name) if one.id not in known]
        if not done[-1].ok:
            self._refuse(done[1], new, limit=limit)
            done[-1].check(self.host.name)
        self._healthy |= dict.fromkeys((one.id for one in new), waiting.healthy_since(done[1].out))
        return new

    def beside(self, counts: Mapping[str, int], facts: Facts, *, release: str = "") -> list[Command]:
        """The commands of ``start_beside``: start, wait, look."""
        known, limit = [one.id for one in facts.instances], self.settings.deploy.health_timeout
        scale = {service: len(facts.of(service)) + count for service, count in counts.items()}
        up = self._of(release).up(counts, scale=scale)
        project = self.settings.project.name
        return [up, waiting.wait_new(project, counts, known, limit=limit), read_containers(project)]

    def wait_healthy(self, instances: Iterable[Instance], *, limit: int) -> None:
        """Wait for health; fail at once with the log and the likely cause when it cannot come."""
        waited = list(instances)
        if waited:
            ids = [one.id for one in waited]
            done = self.host.run(waiting.wait_healthy(ids, limit=limit), timeout=limit + 30, check=False)
            self._refuse(done, waited, limit=limit)

    def _refuse(self, done: Done, instances: Iterable[Instance], *, limit: int) -> None:
        """Raise with state, log and likely cause of the container that the waiting script named, unless all is well."""
        if done.ok:
            return
        by_id = {one.id: one for one in instances}
        words = done.out.strip().splitlines()[-1].split() if done.out.strip() else []
        culprit = by_id.get(words[0]) if words else None
        if culprit is None:
            done.check(self.host.name)
            raise FlotteqError(f"{self.host.name}: containers vanished while they were waited for: {done.out.strip()}")
        seen = self.host.run(rollout.diagnose(culprit.id, lines=LOG_LINES), check=False)
        restarts = int(words[3]) if len(words) > 3 and words[3].isdigit() else 0
        waited = {
            waiting.STARTING: f"not healthy within {limit} s",
            waiting.GROWING: f"healthy, but after {limit} s its memory still grows towards its limit, or is near it",
        }
        raise diagnosis(culprit, seen.out, waited=waited.get(done.code or 0, ""), restarts=restarts)

    def retire(self, instances: Iterable[Instance]) -> None:
        """Stop and remove containers; those that are gone already count as removed."""
        for command in self.retirement(instances):
            self.host.run(command, timeout=self.settings.deploy.stop_grace + 60)

    def retirement(self, instances: Iterable[Instance]) -> list[Command]:
        """Nothing for no containers."""
        ids = [one.id for one in instances]
        return [rollout.retire(ids, grace=self.settings.deploy.stop_grace)] if ids else []

    def run_once(self, service: str, command: Iterable[str], *, name: str, limit: int, release: str = "") -> Done:
        """Run a command in a fresh container; its name is fixed, so that a leftover is found and removed."""
        try:
            return self.host.run(self.once(service, command, name=name, release=release), timeout=limit)
        except BaseException:
            with interruption.ignored():
                self.host.run(docker.remove([name]), check=False)
            raise

    def once(self, service: str, command: Iterable[str], *, name: str, release: str = "") -> Command:
        """The command of ``run_once``, for a round trip with others."""
        run = self._of(release).run(service, command, name=name, entrypoint="/opt/entrypoint/secrets-to-env")
        return rollout.alone(name, run)

    def ask(
        self, addresses: Mapping[str, str], instances: Iterable[Instance], *, meanwhile: Sequence[Command] = ()
    ) -> tuple[dict[str, tuple[int, str]], list[Done]]:
        """Ask addresses from inside the edge container."""
        waited, limit = list(instances), self.settings.deploy.health_timeout
        probe = rollout.probe(self.settings.project.name, self.settings.of_kind("edge")[0], addresses.values())
        settle, ids = self.settings.deploy.settle, [one.id for one in waited]
        # Where they were waited for together, their time began then.
        known = {self._healthy.get(id, "") for id in ids}
        since = known.pop() if len(known) == 1 else ""
        wait = [waiting.wait_healthy(ids, limit=limit, settle=settle, since=since)] if ids else []
        most = 10 * len(addresses) + limit + settle + 60
        found = self.host.run_all([*wait, probe, *meanwhile], timeout=most, check=False, together=True)
        # First the wait: the log of one that died says more than a refused connection.
        if wait:
            self._refuse(found.pop(0), waited, limit=limit)
        asked, *beside = found
        if asked.code == rollout.NO_EDGE:
            raise FlotteqError(f"{self.host.name}: the edge is not running", hint="inv status")
        done = asked.check(self.host.name)
        answers: dict[str, tuple[int, str]] = {}
        for line in done.out.splitlines():
            kind, _, rest = line.partition(" ")
            address, _, text = rest.partition(" ")
            if kind != "probe":
                continue
            content, _, code = text.strip().rpartition(" ")
            answers[address] = (int(code) if code.isdigit() else 0, content.strip())
        others = [one.check(self.host.name) for one in beside]
        return {key: answers.get(address, (0, "no answer")) for key, address in addresses.items()}, others

    def _of(self, release_id: str) -> Compose:
        return self.staged_containers(release_id) if release_id else self.compose


def _digest_of(release: Release | None, service: str) -> str:
    """A job has no container to compare with: what counts is the content of its image."""
    return release.images.get(service, "").rpartition("@")[2] if release else ""


def _results(commands: Sequence[Command], read: Done, mark: str) -> list[Done]:
    said = split(read.out, mark)
    return [Done(command, code, out=out, err=err) for command, (code, out, err) in zip(commands, said, strict=False)]


def _staged(release: Release, read: Sequence[Done]) -> Staged:
    return Staged(release, json.loads(read[0].out), _marks(read[1].out))


def _marks(text: str) -> dict[str, str]:
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)


def _layers(fetched: str, manifest: str) -> Mapping[str, int] | None:
    """Digest and bytes of the layers that were fetched; None for a list of manifests, or where none was to be had."""
    listed = json.loads(manifest).get("layers")
    if listed is None:
        return None
    return {one["digest"]: one["size"] for one in listed if one["digest"].removeprefix("sha256:")[:12] in fetched}


def _image(reference: str, raw: Mapping[str, Any], layers: Mapping[str, int] | None) -> Image:
    repository, _, asked = reference.partition("@")
    name = repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository
    # An image can have several digests of one repository: the one that was asked for stays.
    digest = asked or _digest(name, raw.get("digests") or [])
    # The tag stays in front of the digest for people: Docker uses the digest.
    pinned = f"{repository}@{digest}" if digest else str(raw["id"])
    return Image(
        reference=reference,
        pinned=pinned,
        size=int(raw.get("size") or 0),
        layers=layers,
        entrypoint=tuple(raw.get("entrypoint") or ()),
        cmd=tuple(raw.get("cmd") or ()),
    )


def _digest(name: str, digests: Sequence[str]) -> str:
    found = {repository: digest for repository, _, digest in (one.partition("@") for one in digests)}
    # Docker writes its own hub's names short.
    short = re.sub(r"^(index\.)?docker\.io/(library/)?", "", name)
    return found.get(name) or found.get(short, "")


def _not_fetched(references: Mapping[str, str], failed: Mapping[str, str], settings: Settings) -> PreflightFailed:
    services = sorted(service for service, reference in references.items() if reference in failed)
    missing = [name for name in services if _ABSENT.search(failed[references[name]])]
    details = "\n".join(f"{references[name]}: {failed[references[name]]}" for name in services)
    if missing and all(settings.services[name].build for name in missing) and len(missing) == len(services):
        version = references[missing[0]].partition("@")[0].rpartition(":")[2]
        return PreflightFailed(
            f"version {version} of {', '.join(missing)} is not in the registry {settings.registry.server}; "
            "nothing was changed",
            hint=f"inv build --version {version} && inv push --version {version}",
            details=details,
        )
    return PreflightFailed(
        f"images of {', '.join(services)} could not be fetched; nothing was changed",
        hint="is the registry reachable from the host, and is it logged in? `inv doctor`",
        details=details,
    )
