"""nginx.upgrade: what is compared, in which order things happen, what is put back and what is recorded."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from unit_support import DIGEST, Events, fleet, instance

from flotteq_tasks.commands import edge_swap
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.base import Image, Staged
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, PutBack, Unhealthy, UsageError
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.release import Release
from flotteq_tasks.operations import edge_upgrade, verification
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.repair import strays
from flotteq_tasks.operations.verification import Answer

HOME = "/srv/fleet"
OLD, NEW = f"nginx:1.30@{DIGEST}", f"nginx:1.30@sha256:{'b' * 64}"
LIVE = Release("r1", "v1", {"front": OLD, "core": "core:v1"})
MARKS = {
    "$kept.next": "keep files",
    "fleet-front-check": "test",
    "--no-start": "create",
    "kill -HUP": "reload",
    "edge.swap": "swap",
    'docker stop --time "$grace" "$@"': "remove",
    "releases/r1/manifest.json": "record",
}


class World:
    """A site on which v1 is live behind an edge; the registry has a newer image of its tag."""

    def __init__(self, **hashes: str) -> None:
        self.settings = fleet()
        self.edges = [instance("front", image=OLD)]
        self.hashes = {"now": {"front": "hash-1", "core": "c"}, "then": {"front": "hash-1", "core": "c", **hashes}}
        self.image = NEW
        self.swap: int | None = 0
        self.hold = Done(Command("x"), 0)
        self.wrong = ""
        self.host = FakeHost(
            {
                re.compile("flotteq_hold$"): lambda *_: self.hold,
                re.compile("config --hash"): self._hash,
                re.compile("--no-start"): self._create,
                re.compile("edge.swap"): self._swap,
                re.compile(r"docker stop --time"): self._remove,
                re.compile("lock.json"): _conversation,
                "*": "",
            },
            files={f"{HOME}/state/edge.before/upstreams/active.conf": "x"},
        )
        self.events = Events()
        self.engine = Engine(self)
        self.site = Site(self.settings, self.host, self.engine, self.events.report)

    def _hash(self, command: Command, _: bytes) -> str:
        return "".join(f"{name} {mark}\n" for name, mark in self.hashes["now"].items())

    def _create(self, command: Command, _: bytes) -> str:
        assert "releases/r1.edge/files/" in str(command) and "--scale=front=2" in str(command)
        self.edges.append(instance("front", 2, image=self.image, state="created", health=""))
        return ""

    def _swap(self, command: Command, _: bytes) -> Any:
        words = command.argv()
        old, new = words[words.index("flotteq") + 4 : words.index("flotteq") + 6]
        if self.swap and new == "id-front-2":
            return Done(command, self.swap, out="https://api.fleet.example/: 502")
        states = {old: "exited", new: "running"}
        self.edges = [replace(one, state=states[one.id], health="healthy") for one in self.edges]
        return "swapped 900 1400\n"

    def _remove(self, command: Command, _: bytes) -> str:
        self.edges = [one for one in self.edges if one.id not in command.argv()]
        return ""

    def run(self, ask: Any = None) -> str:
        """Upgrade."""
        return edge_upgrade.upgrade(self.site, {}, ask or _never)

    @property
    def done(self) -> list[str]:
        """What happened, in words."""
        entries = (entry for entry in self.host.transcript if "lock.json" not in entry)
        return [name for entry in entries for mark, name in MARKS.items() if mark in entry]


class Engine(ComposeEngine):
    """Compose without Docker."""

    def __init__(self, world: World) -> None:
        super().__init__(world.host, world.settings)
        self.world = world

    def facts(self) -> Facts:
        """The containers as they are now."""
        core = instance("core")
        return Facts(
            instances=(core, *self.world.edges), release=LIVE, active={"core": (core.name,)},
            active_release="r1", files_release="r1",
        )  # fmt: skip

    def fetch(self, references: Mapping[str, str]) -> dict[str, Image]:
        """The newest image of the tag."""
        assert references == {"front": "nginx:1.30"}
        return {"front": Image("nginx:1.30", self.world.image, 1)}

    def stage(self, release: Release) -> Staged:
        """Nothing is uploaded."""
        return Staged(release, {}, self.world.hashes["then"])

    def wait_healthy(self, instances: Iterable[Instance], *, limit: int) -> None:
        """The new one is healthy at once."""


def _never(question: str) -> None:
    raise AssertionError(question)


def _conversation(command: Command, line: bytes) -> str:
    text = line.decode().strip()
    if not text or text == "release":
        return "released\n" if text else ""
    return "written\n" if '"event"' in text else f"{text}\n" if text in ("beat", "room") else "held\n"


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the domains answer from outside: nothing is wrong unless a test says so."""
    wrong: dict[str, str] = {}

    def ask(settings: Any, service: str, **_: Any) -> Answer:
        return Answer(service, settings.domain(service), 200, 0.0, problem=wrong.get("problem", ""))

    monkeypatch.setattr(verification, "ask", ask)
    monkeypatch.setattr("flotteq_tasks.operations.probing._probe", lambda *_: None)
    return wrong


def test_a_newer_image_takes_the_place_of_the_old_one() -> None:
    world = World()
    said = world.run()
    assert said == "the edge runs nginx:1.30@bbbbbbbbbbbb (image) · new connections waited 1.4 s · 0 failed of 0 probes"
    assert world.done == ["keep files", "test", "create", "reload", "swap", "record", "remove"]
    assert [(one.id, one.state) for one in world.edges] == [("id-front-2", "running")]
    recorded = Release.from_json(world.host.file(f"{HOME}/state/current.json").content)
    assert (recorded.id, recorded.images) == ("r1", {"front": NEW, "core": "core:v1"})
    assert world.host.transcript[-1] == f"rm -rf {HOME}/releases/r1.edge"


def test_the_files_on_the_host_are_the_usual_ones_when_the_new_container_starts() -> None:
    world = World()
    world.run()
    usual = [one for one in world.host.transcript if one == f"write {HOME}/nginx/nginx.conf"]
    assert len(usual) == 3, "checked, drained, put back"
    assert b"keepalive_timeout 65s" in world.host.file(f"{HOME}/nginx/nginx.conf").content


def test_what_a_client_that_died_could_not_record_is_recorded() -> None:
    world = World()
    world.edges = [instance("front", 2, image=NEW)]
    assert world.run().endswith("nothing to do")
    assert world.done == ["record"]
    assert Release.from_json(world.host.file(f"{HOME}/state/current.json").content).images["front"] == NEW


def test_the_same_image_and_configuration_is_nothing_to_do() -> None:
    world = World()
    world.image = OLD
    assert world.run() == "the edge runs nginx:1.30@aaaaaaaaaaaa as configured; nothing to do"
    assert world.done == []


def test_a_changed_configuration_is_a_reason_too() -> None:
    world = World(front="hash-2")
    world.image = OLD
    assert "(configuration)" in world.run()


def test_what_else_changed_must_be_deployed_first() -> None:
    world = World(core="other")
    with pytest.raises(PreflightFailed, match="settings of core changed since v1 was deployed") as caught:
        world.run()
    assert caught.value.hint.startswith("inv deploy --version v1 ")
    assert world.done == []


def test_where_connections_cannot_be_held_somebody_is_asked() -> None:
    world = World()
    world.hold = Done(Command("x"), 1, out="the host has no nft\n")
    asked: list[str] = []
    assert "connections were refused" in world.run(asked.append)
    assert asked == ["New connections are refused for about a second: they cannot be held (the host has no nft)."]
    swap = next(entry for entry in world.host.transcript if "edge.swap" in entry)
    assert " id-front-1 id-front-2 0 10 15 " in swap


def test_no_means_that_nothing_changes() -> None:
    world = World()
    world.hold = Done(Command("x"), 1, out="the user is not root\n")

    def no(question: str) -> None:
        raise UsageError("not confirmed")

    with pytest.raises(UsageError):
        world.run(no)
    assert world.done == []


def test_a_new_container_that_does_not_answer_is_removed() -> None:
    world = World()
    world.swap = edge_swap.BACK
    with pytest.raises(PutBack, match="front: the new container did not answer") as caught:
        world.run()
    assert "502" in caught.value.details
    assert [one.id for one in world.edges] == ["id-front-1"]
    assert "record" not in world.done and world.done[-2:] == ["remove", "reload"], world.done


def test_when_neither_answers_a_person_is_needed() -> None:
    world = World()
    world.swap = edge_swap.DOWN
    with pytest.raises(FlotteqError) as caught:
        world.run()
    assert "neither the new nor the old container answers" in caught.value.message


def test_a_domain_that_is_wrong_afterwards_brings_the_old_one_back(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(world.engine, "wait_healthy", lambda *_, **__: answers.update(problem="status 500"))
    with pytest.raises(PutBack, match="status 500"):
        world.run()
    assert [(one.id, one.state) for one in world.edges] == [("id-front-1", "running")]
    assert world.done.count("swap") == 2 and "record" not in world.done


def test_a_site_that_does_not_answer_is_not_touched(answers: dict[str, str]) -> None:
    answers["problem"] = "status 502"
    world = World()
    with pytest.raises(Unhealthy):
        world.run()
    assert world.done == []


def test_what_a_client_that_died_left_is_removed_first() -> None:
    world = World()
    world.edges.append(instance("front", 7, state="created", health=""))
    world.run()
    assert world.done[0] == "remove"
    assert [one.id for one in world.edges] == ["id-front-2"]


def test_an_edge_that_does_not_run_is_not_upgraded() -> None:
    world = World()
    world.edges = [instance("front", state="exited")]
    with pytest.raises(FlotteqError, match="the edge does not run"):
        world.run()


def test_an_old_nginx_that_refuses_the_new_files_is_not_drained() -> None:
    world = World()
    world.host.script = {re.compile("kill -HUP"): 10, **world.host.script}
    assert "(image)" in world.run()
    from flotteq_tasks.model.events import Warned

    assert world.events.texts(Warned) == [
        "the old nginx refuses the new configuration: its idle connections prolong the wait"
    ]


def test_the_next_deploy_removes_what_a_client_that_died_left_of_the_edge() -> None:
    both = (instance("front", 1, state="exited"), instance("front", 2), instance("store", state="exited"))
    assert [one.id for one in strays(Facts(instances=both), ["core"])] == ["id-front-1"], "a database alone stays"
