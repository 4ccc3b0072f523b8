"""A host in memory for deploys: containers, the edge that reads its files at a reload, the lock, and a fault anywhere.

Every call of the engine is an entry of the host's transcript, like every command: ``fail_at`` reaches all of them.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from unit_support import DIGEST, Events, fleet, instance

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.base import Change, Image, Staged
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.engines.compose.facts import parse_active
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.verification import Answer

HOME = "/srv/fleet"
UPSTREAMS = f"{HOME}/nginx/upstreams/active.conf"
ROLLING = ("core", "web-app")
OTHERS = {"store": "postgres:15", "cache": "redis:7", "front": "nginx:1.30", "certbot": "certbot/certbot:v5"}


def image(service: str, version: str) -> str:
    """The pinned image of a service."""
    name = (
        OTHERS.get(service) or f"registry.example/team/{'fleet-core' if service == 'core' else 'fleet-web'}:{version}"
    )
    return f"{name}@{DIGEST}"


KEEP_EDGE = re.compile(r'mv "\$kept\.next" "\$kept"')


class World:
    """A site on which v1 is live and healthy."""

    def __init__(self, root: Path) -> None:
        self.settings = fleet(root)
        self.locked = False
        self.journal: list[str] = []
        self.events = Events()
        self.instances = [
            *(instance(name, number, image=image(name, "v1")) for name in ROLLING for number in (1, 2)),
            *(instance(name, image=image(name, "")) for name in OTHERS),
        ]
        self.files_release = "r1"
        self.images: dict[str, str] = {}
        self.live = Release("r1", "v1", {one.service: one.image for one in self.instances})
        active = "# release r1\n" + "".join(
            f"upstream {name} {{\n    server fleet-{name}-1:80;\n    server fleet-{name}-2:80;\n}}\n"
            for name in ROLLING
        )
        self.host = FakeHost(
            {
                re.compile("lock.json.new"): self._keep_lock,
                KEEP_EDGE: self._keep_edge,
                re.compile(f"{HOME} {HOME}/state/edge.before$"): self._put_edge_back,
                re.compile(r'rm -rf ("\$1/state/)?edge\.before'): self._forget_edge,
                re.compile(r'rm -f "\$1/state/current\.json"'): self._forget_record,
                re.compile("kill -HUP"): self._reload,
                re.compile(r"(^|&& )engine retire "): self._retire,
                re.compile("readlink current"): "rel-1\n",
                re.compile("pg_tables"): "3\n",
                re.compile("pg_dump"): "2048\n",
                "*": "",
            },
            files={UPSTREAMS: active, f"{HOME}/state/current.json": self.live.to_json()},
        )
        self.staged = {".env": "hash-1"}
        self.serving = parse_active(active)
        self.engine = Engine(self)
        self.site = Site(self.settings, self.host, self.engine, self.events.report)

    @property
    def running(self) -> set[str]:
        """Names of the containers that run."""
        return {one.name for one in self.instances if one.running}

    @property
    def served(self) -> dict[str, set[str]]:
        """Images that answer, by service; a container that is gone answers as ``nothing``."""
        by_name = {one.name: one.image for one in self.instances if one.running}
        return {name: {by_name.get(one, "nothing") for one in self.serving[name]} for name in ROLLING}

    @property
    def recorded(self) -> str:
        """The version that the host's record calls live."""
        return Release.from_json(self.host.file(f"{HOME}/state/current.json").content).version

    def answer(self, settings: Settings, service: str, **_: Any) -> Answer:
        """What a browser sees of a service."""
        gone = "nothing" in self.served[service]
        return Answer(service, settings.domain(service), 502 if gone else 200, 0.0, problem="502" if gone else "")

    def _keep_lock(self, command: Command, line: bytes) -> str:
        text = line.decode().strip()
        if not text:
            return ""
        if not self.locked:
            self.locked = True
            return "held\n"
        if text == "release":
            self.locked = False
            return "released\n"
        if text in ("beat", "room"):
            return f"{text}\n"
        self.journal.append(text)
        return "written\n"

    def _retire(self, command: Command, _: bytes) -> str:
        gone = command.render().partition("engine retire ")[2].partition(" &&")[0].split()
        self.instances = [one for one in self.instances if one.id not in gone]
        return ""

    def _copy(self, source: str, target: str) -> None:
        for path in [path for path in self.host.files if path.startswith(f"{source}/")]:
            self.host.files[target + path.removeprefix(source)] = self.host.files[path]

    def _keep_edge(self, command: Command, _: bytes) -> str:
        self._forget_edge(command, _)
        self._copy(f"{HOME}/nginx", f"{HOME}/state/edge.before")
        return ""

    def _forget_edge(self, command: Command, _: bytes) -> str:
        for path in [path for path in self.host.files if path.startswith(f"{HOME}/state/edge.before/")]:
            del self.host.files[path]
        return ""

    def _forget_record(self, command: Command, _: bytes) -> str:
        self.host.files.pop(f"{HOME}/state/current.json", None)
        return ""

    def _put_edge_back(self, command: Command, _: bytes) -> str | Done:
        if not any(path.startswith(f"{HOME}/state/edge.before/") for path in self.host.files):
            return Done(command, edge_files.NOTHING_KEPT)
        self._copy(f"{HOME}/state/edge.before", f"{HOME}/nginx")
        return ""

    def _reload(self, command: Command, _: bytes) -> str:
        self.serving = parse_active(self.host.file(UPSTREAMS).content.decode())
        return ""


class Engine(ComposeEngine):
    """Containers in a list."""

    def __init__(self, world: World) -> None:
        super().__init__(world.host, world.settings)
        self.world = world

    def _enter(self, what: str) -> None:
        self.host.run(Command("engine", what))

    def facts(self) -> Facts:
        self._enter("facts")
        text = self.world.host.file(UPSTREAMS).content.decode()
        marker = re.search(r"# release (\S+)", text)
        return Facts(
            engine_version="28.5.2", compose_version="2.40.3", disk_free=1 << 40, disk_total=1 << 41,
            inodes_free=1 << 30, memory_free=1 << 38, memory_total=1 << 39, volumes=frozenset({"fleet_store_data"}),
            instances=tuple(self.world.instances), active=parse_active(text),
            active_release=marker.group(1) if marker else "", files_release=self.world.files_release,
            release=Release.from_json(self.world.host.file(f"{HOME}/state/current.json").content),
            certificates={"current": "rel-1"},
            clock=time.time(), edge_files=self._edge_files(),
            edge_kept=any(path.startswith(f"{HOME}/state/edge.before/") for path in self.world.host.files),
            secrets={"db_password": "0123", "mail_password": "4567"},
        )  # fmt: skip

    def _edge_files(self) -> dict[str, str]:
        files = [path for path in self.world.host.files if path.startswith(f"{HOME}/nginx/")]
        return {path.removeprefix(f"{HOME}/"): sha256(self.world.host.file(path).content).hexdigest() for path in files}

    def fetch(self, references: Mapping[str, str]) -> dict[str, Image]:
        self._enter("fetch")
        return {name: Image(one, one if "@" in one else f"{one}@{DIGEST}", 1) for name, one in references.items()}

    def look(self) -> Command:
        return Command("engine", "look")

    def seen(self, text: str) -> Facts:
        return self.facts()

    def stage(self, release: Release) -> Staged:
        self._enter("stage")
        self.world.images = dict(release.images)
        check = {"test": ["CMD", "true"]}
        config = {"name": "fleet", "services": {name: {"healthcheck": check} for name in self.settings.services}}
        return Staged(replace(release, files=dict(self.world.staged)), config, {})

    def stage_again(self, release: Release, source: Release) -> Staged:
        return self.stage(release)

    def changes(self, staged: Staged, facts: Facts) -> list[Change]:
        return [
            Change(name, "image") for name in self.settings.services
            if any(one.image != staged.release.images[name] for one in facts.of(name))
        ]  # fmt: skip

    def activate(self, release_id: str, *, volumes: Iterable[str] = (), then: Sequence[Command] = ()) -> list[Done]:
        self._enter("activate")
        self.world.files_release = release_id
        return self.host.run_all(then)

    def start_beside(self, counts: Mapping[str, int], facts: Facts, *, release: str = "") -> list[Instance]:
        self._enter("start_beside")
        images = self.world.live.images if release else self.world.images
        last = max(int(one.name.rpartition("-")[2]) for one in self.world.instances)
        new = [
            instance(name, number, image=images[name]) for name, count in counts.items()
            for number in range(last + 1, last + 1 + count)
        ]  # fmt: skip
        self.world.instances += new
        return new

    def wait_healthy(self, instances: Iterable[Instance], *, limit: int) -> None:
        self._enter("wait_healthy")

    def retire(self, instances: Iterable[Instance]) -> None:
        for command in self.retirement(instances):
            self.host.run(command)

    def retirement(self, instances: Iterable[Instance]) -> list[Command]:
        gone = [one.id for one in instances]
        return [Command("engine", "retire", gone)] if gone else []

    def run_once(self, service: str, command: Iterable[str], *, name: str, limit: int, **_: Any) -> Done:
        self._enter("run_once")
        return Done(Command("x"), 0, out="migrated\n")

    def ask(
        self, addresses: Mapping[str, str], instances: Iterable[Instance], *, meanwhile: Sequence[Command] = ()
    ) -> tuple[dict[str, tuple[int, str]], list[Done]]:
        self._enter("ask")
        return dict.fromkeys(addresses, (200, '{"status": "ok"}')), self.host.run_all(meanwhile, together=True)
