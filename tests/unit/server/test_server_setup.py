"""The order of a setup: what is asked, what is changed, and how nobody gets locked out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unit_support import Events, fleet

from flotteq_tasks.commands import server_docker
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.errors import (
    AccessDenied,
    FlotteqError,
    HostUnreachable,
    NotPutBack,
    PreflightFailed,
    PutBack,
    Unhealthy,
)
from flotteq_tasks.model.events import StepStarted, Warned
from flotteq_tasks.model.server import ServerFacts, ServerSettings
from flotteq_tasks.model.stack import DeploySettings, HostSettings
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.server import check_server, plan_server, setup
from flotteq_tasks.operations.server.items import items
from flotteq_tasks.operations.verification import Answer

SETTINGS = replace(fleet(host=HostSettings(address="fleet.example", user="deploy")), server=ServerSettings(confirm=10))
FACTS = """
@@ distribution
debian
13
@@ uid
0
@@ systemd
yes
@@ disk
50000
@@ memory
4000
@@ keys
ssh-ed25519 AAAA ada
"""
READ = ServerFacts("debian 13", root=True, systemd=True, disk=50_000, memory=4000, keys=("ssh-ed25519 AAAA ada",))


def _conversation(line: bytes) -> str:
    """The keeper of the host's lock."""
    text = line.decode().strip()
    if not text or text == "release":
        return "released\n" if text else ""
    return "written\n" if '"event"' in text else f"{text}\n" if text in ("beat", "room") else "held\n"


class World:
    """A host on which some items differ until they are made."""

    def __init__(self, *drift: str, stubborn: bool = False, fails: str = "") -> None:
        self.drift = set(drift)
        self.items = {one.name: one for one in items(SETTINGS, READ)}
        self.stubborn = stubborn
        self.fails = fails
        self.made: list[str] = []
        self.events = Events()
        self.host = FakeHost({"*": self._answer})
        self.logins: list[str] = []
        self.refuse: Callable[[str], bool] = lambda _: False

    @property
    def site(self) -> Site:
        return Site(SETTINGS, self.host, ComposeEngine(self.host, SETTINGS), self.events.report)

    def second(self) -> FakeHost:
        def answer(command: Command, _: bytes) -> str:
            text = str(command)
            if self.refuse(text):
                raise AccessDenied("deploy@fleet.example: the login was refused")
            self.logins.append("keep" if "TOO_LATE" in text or "exit 21" in text else "login")
            return ""

        return FakeHost({"*": answer}, name="second")

    def setup(self) -> setup.Prepared:
        return setup.setup_server(self.site, {}, login="root", second=self.second)

    def _answer(self, command: Command, line: bytes) -> Any:
        text = str(command)
        if "lock.json" in text:
            return _conversation(line)
        if "@@ %s" in text:
            return FACTS
        for name, item in self.items.items():
            if text == str(item.look):
                return "" if name in self.drift else item.state
        for name, item in self.items.items():
            if text == str(item.apply) or (item.guard and item.guard.load in text):
                if name == self.fails:
                    return 20
                self.made.append(name)
                if not self.stubborn:
                    self.drift.discard(name)
                return ""
        if "systemctl start" in text and "return-" in text:
            self.made.append("put back")
        return ""


def test_a_host_that_is_right_is_not_touched() -> None:
    world = World()
    assert world.setup().changed == ()
    assert world.events.texts(StepStarted) == ["look"]
    assert not any("write" in entry.split()[:1] for entry in world.host.transcript)


def test_only_what_differs_is_made_in_the_order_of_the_list() -> None:
    world = World("firewall", "user", "packages")
    assert world.setup().changed == ("packages", "user", "firewall")
    assert world.made == ["packages", "user", "firewall"]
    assert world.logins == ["login", "keep"]


def test_a_second_login_that_fails_closes_nothing() -> None:
    world = World("sshd")
    world.refuse = lambda _: True
    with pytest.raises(AccessDenied, match=r"sshd: nothing was closed: .* refused"):
        world.setup()
    assert world.made == []


def test_the_timer_runs_before_anything_is_changed() -> None:
    """A client that dies at any moment leaves a host that takes the change back."""
    world = World("sshd")
    world.setup()
    (written,) = [n for n, entry in enumerate(world.host.transcript) if entry.startswith("write ")]
    timer, loaded = world.host.transcript[written - 1], world.host.transcript[written + 1]
    assert "systemd-run --quiet" in timer and " fleet-return-sshd 10 " in timer
    assert "sshd -t && systemctl try-restart ssh.service" in loaded


def test_a_change_that_locks_out_is_taken_back() -> None:
    world = World("sshd", "firewall")
    # Until it is taken back nobody gets in.
    world.refuse = lambda _: world.made[-1:] == ["sshd"]
    with pytest.raises(PutBack, match="the login was refused; sshd was put back"):
        world.setup()
    assert world.made == ["sshd", "put back"]


def test_a_connection_that_a_reloading_sshd_lets_go_is_no_lockout() -> None:
    world = World("sshd")
    lost = [HostUnreachable("no banner")]
    second = world.second

    def flaky() -> FakeHost:
        if world.made and lost:
            return FakeHost({"*": lost.pop()})
        return second()

    world.second = flaky  # type: ignore[method-assign]
    assert world.setup().changed == ("sshd",)
    assert (lost, world.made) == ([], ["sshd"])


def test_a_lockout_that_stays_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(check: Callable[[], Any], **_: object) -> Any:
        if check.__name__ == "gets_in":
            raise FlotteqError("waited")
        return check()

    monkeypatch.setattr(setup, "wait_until", never)
    world = World("firewall")
    world.refuse = lambda _: bool(world.made)
    with pytest.raises(NotPutBack, match="nor does a login work") as caught:
        world.setup()
    assert "console" in caught.value.hint


def test_rules_that_do_not_load_are_put_back_at_once() -> None:
    world = World("firewall", fails="firewall")
    with pytest.raises(FlotteqError, match="firewall: refused, and put back"):
        world.setup()
    assert (world.made, world.logins) == (["put back"], ["login"])


def test_a_repository_with_another_key_names_it_and_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ServerSettings(docker="docker", docker_url="https://packages.example/linux")
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, server=server))
    world = World("repository", "packages")
    answer, fetch = world._answer, world.items["repository"].before
    assert fetch is not None
    other = Done(fetch, server_docker.KEY_DIFFERS, "ABCD\n")
    world.host.script = {"*": lambda command, line: other if command == fetch else answer(command, line)}
    with pytest.raises(
        FlotteqError, match=r"key of https://packages\.example/linux has the fingerprint ABCD, and"
    ) as caught:
        world.setup()
    assert "server.docker_fingerprint in flotteq.toml" in str(caught.value.hint)
    assert world.made == []


def test_what_is_still_wrong_afterwards_is_an_error() -> None:
    with pytest.raises(Unhealthy, match="still not as it must be: user"):
        World("user", stubborn=True).setup()


class Names:
    """What the public names answer, one round after the other; the last one stays."""

    def __init__(self, *rounds: tuple[str, str]) -> None:
        self.rounds = list(rounds)

    def __call__(self, *_: object, **__: object) -> list[Answer]:
        api, app = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        return [Answer("core", "api", 502, 0.1, api), Answer("web-app", "app", 200, 0.1, app)]


@pytest.mark.parametrize("item", ["daemon", "engine"])
def test_after_a_restart_of_the_engine_the_names_that_answered_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, item: str
) -> None:
    monkeypatch.setitem(globals(), "FACTS", f"{FACTS}@@ engine\ndocker.io\n")
    names = Names(("", ""), ("502", ""), ("", ""))
    monkeypatch.setattr(setup, "verify_domains", names)
    World(item).setup()
    assert names.rounds == [("", "")]


def test_a_name_that_does_not_come_back_after_a_restart_of_the_engine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTS", f"{FACTS}@@ engine\ndocker.io\n")
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, deploy=DeploySettings(health_timeout=0)))
    monkeypatch.setattr(setup, "verify_domains", Names(("", "503"), ("502", "503")))
    with pytest.raises(Unhealthy, match=r"does not now: https://api\.fleet\.example$"):
        World("daemon").setup()


def test_without_a_restart_of_the_engine_no_name_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTS", f"{FACTS}@@ engine\ndocker.io\n")
    names = Names(("", ""), ("502", ""))
    monkeypatch.setattr(setup, "verify_domains", names)
    World("user").setup()
    assert len(names.rounds) == 2


def test_a_plan_changes_nothing() -> None:
    world = World("user", "sshd")
    assert [one.name for one in plan_server(world.site, login="root") if not one.ok] == ["user", "sshd"]
    assert world.made == [] and world.logins == []


def test_the_check_names_what_differs() -> None:
    found = check_server(World("firewall").site)
    assert [(one.name, bool(one.changes)) for one in found if not one.ok] == [("firewall", True)]


@pytest.mark.parametrize(("subnet", "said"), [("", 1), ("fd00:1::/64", 0)])
def test_a_host_whose_visitors_over_ipv6_do_not_get_in_is_told_the_key(
    monkeypatch: pytest.MonkeyPatch, subnet: str, said: int
) -> None:
    monkeypatch.setitem(globals(), "FACTS", f"{FACTS}@@ ipv6\n2001:db8::7\n")
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, edge=EdgeSettings(ipv6_subnet=subnet)))
    world = World()
    check_server(world.site)
    plan_server(world.site, login="root")
    told = [one for one in world.events.seen if isinstance(one, Warned) and "edge.ipv6_subnet" in one.text]
    assert len(told) == 2 * said


def test_a_refused_host_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTS", FACTS.replace("\n13\n", "\n11\n"))
    world = World("user")
    with pytest.raises(PreflightFailed, match="debian 11 is not supported"):
        world.setup()
    assert world.made == []


class Gate:
    """Logs in as whom it is told to."""

    def __init__(self, target: Any) -> None:
        self.user = target.user


@pytest.mark.parametrize(
    ("given", "refused", "who"), [("", False, "deploy"), ("", True, "root"), ("ubuntu", True, "ubuntu")]
)
def test_who_logs_in_for_it(monkeypatch: pytest.MonkeyPatch, given: str, refused: bool, who: str) -> None:
    monkeypatch.setattr(setup, "SshHost", Gate)
    world = World()
    if refused:
        world.host.script = {"*": AccessDenied("no")}
    site, login = setup.first_site(world.site, given, {})
    assert login == who
    assert site.host is world.host or site.host.user == who


def test_a_host_that_does_not_answer_is_not_asked_as_root() -> None:
    world = World()
    world.host.script = {"*": HostUnreachable("gone")}
    with pytest.raises(HostUnreachable):
        setup.first_site(world.site, "", {})
