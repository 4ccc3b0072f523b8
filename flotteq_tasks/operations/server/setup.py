"""Make a bare host ready. Nothing that lets people in is closed before another login has worked."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from flotteq_tasks.commands import guard, server_docker
from flotteq_tasks.commands import server as commands
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host import interruption
from flotteq_tasks.host.base import File, Host
from flotteq_tasks.host.factory import make_host, target
from flotteq_tasks.host.ssh import SshHost
from flotteq_tasks.model.errors import (
    AccessDenied,
    CommandTimedOut,
    FlotteqError,
    HostUnreachable,
    Interrupted,
    NotPutBack,
    PutBack,
    Unhealthy,
)
from flotteq_tasks.model.server import ServerFacts
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.server import facts as looking
from flotteq_tasks.operations.server.items import Item, State, items
from flotteq_tasks.operations.verification import verify_domains
from flotteq_tasks.operations.wait import wait_until

ROOT = "root"
# Seconds for all questions together; Docker's client is the slow one.
_LOOK_LIMIT = 120
# Seconds that the host's timer may be late.
_LATE = 20
# Items that restart an engine which is at work.
_RESTARTING = ("daemon", "engine")

Login = Callable[[], Host]


@dataclass(frozen=True)
class Prepared:
    """What a setup did.

    Args:
        changed: names of the items that were not as they must be.
        notes: what a person should know.
    """

    host: str
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def first_site(site: Site, user: str, variables: Mapping[str, str]) -> tuple[Site, str]:
    """Return the site as who gets in, and who that is: ``user``, else the one that deploys, else root.

    Raises:
        PreflightFailed: the environment names nobody who could deploy, or is this machine.
        AccessDenied: nobody gets in.
    """
    looking.require_user(site.settings)
    there = target(site.settings, variables)
    if not user:
        try:
            site.host.run(Command("true"))
        except AccessDenied:
            user = ROOT
        else:
            return site, there.user
    return replace(site, host=SshHost(replace(there, user=user, sudo=True))), user


def plan_server(site: Site, *, login: str) -> list[State]:
    """Look at every item; nothing is changed. Arguments and refusals as in ``setup_server``."""
    return _looked_at(site, login)


def check_server(site: Site) -> list[State]:
    """Whether a host that was set up is still as it was left.

    Raises:
        PreflightFailed: its distribution is not supported.
    """
    looking.require_user(site.settings)
    return _looked_at(site, site.settings.host.user)


def _looked_at(site: Site, login: str) -> list[State]:
    facts = looking.read(site.settings, site.host, login=login)
    looking.require(site.settings, site.host, facts)
    for note in _over_ipv6(site.settings, facts):
        site.report.warn(note)
    return look(site.host, items(site.settings, facts))


def look(host: Host, wanted: Sequence[Item]) -> list[State]:
    """Ask for the state of all items in one round trip."""
    done = host.run_all([one.look for one in wanted], timeout=_LOOK_LIMIT, together=True)
    return [State(item.name, item.what, answer.out, item.state) for item, answer in zip(wanted, done, strict=True)]


def setup_server(site: Site, variables: Mapping[str, str], *, login: str, second: Login | None = None) -> Prepared:
    """Make the host ready for deploys; what is right already stays untouched.

    Args:
        site: its host is logged in as root, or as a user with sudo.
        login: that user.
        second: how the user that deploys logs in anew; None: as the settings say.

    Raises:
        PreflightFailed, AccessDenied: refused; nothing was changed.
        PutBack: after a change nobody could log in, and it was taken back.
        NotPutBack: nor could anybody after that.
        Unhealthy: something is not as it must be afterwards, or a name that answered before does not any more.
        FlotteqError: an item could not be made; those before it stay.
    """
    settings, host = site.settings, site.host
    with site.report.step("look") as note:
        facts = looking.read(settings, host, login=login)
        looking.require(settings, host, facts)
        wanted = items(settings, facts)
        drift = {state.name for state in look(host, wanted) if not state.ok}
        note.text = f"{facts.distribution}, {len(drift)} of {len(wanted)} items differ"
    if not drift:
        return Prepared(host.name)
    with locked(site, holder("server.setup", variables)) as keeper, interruption.deferred():
        run = _Setup(site, keeper, second or (lambda: make_host(settings, variables)))
        served = _serving(settings) if facts.engine and not drift.isdisjoint(_RESTARTING) else frozenset()
        for item in wanted:
            if item.name in drift:
                run.make(item)
        run.verify(wanted, served)
        keeper.write("server.setup", changed=sorted(drift))
    changed = tuple(item.name for item in wanted if item.name in drift)
    return Prepared(host.name, changed, tuple(_notes(settings, facts, changed)))


class _Setup:
    def __init__(self, site: Site, keeper: Keeper, second: Login) -> None:
        self.site, self.host, self.keeper, self.second = site, site.host, keeper, second

    def make(self, item: Item) -> None:
        """Bring one item to the state that is wanted."""
        interruption.check()
        with self.site.report.step(item.name) as note:
            if item.guard:
                self._guarded(item)
                note.text = "kept, since a new login works"
            else:
                self._plain(item)
                note.text = item.what

    def verify(self, wanted: Sequence[Item], served: frozenset[str]) -> None:
        """Look again, and wait for the services whose public names answered before the engine was restarted.

        Its DNS comes back a moment after it: until then the edge may not find a container.

        Raises:
            Unhealthy: something is still not as it must be.
        """
        with self.site.report.step("verify") as note:
            left = [state for state in look(self.host, wanted) if not state.ok]
            if left:
                lines = [f"{state.name}: {line}" for state in left for line in state.changes]
                raise Unhealthy(
                    f"{self.host.name}: still not as it must be: {', '.join(state.name for state in left)}",
                    hint="inv server.check", details="\n".join(lines),
                )  # fmt: skip
            _await(self.site.settings, served)
            note.text = f"{len(wanted)} items" + (f", {len(served)} domains answer" if served else "")

    def _plain(self, item: Item) -> None:
        files = _files(item)
        first = [item.before] if item.before else []
        then = [item.apply] if item.apply else []
        if files:
            done = self.host.write_tree("/", files, first=first, then=then, timeout=item.limit, check=False)
        else:
            done = self.host.run_all([*first, *then], timeout=item.limit, check=False)
        for one in done:
            if one.code == server_docker.KEY_DIFFERS:
                raise looking.other_key(self.host, self.site.settings, one.out)
            if not one.ok:
                raise looking.failed(self.host, item.name, one.err + one.out)

    def _guarded(self, item: Item) -> None:
        assert item.guard is not None  # noqa: S101 - the caller asked
        self._log_in(f"{item.name}: nothing was closed", Command("true"))
        seconds = self.site.settings.server.confirm
        unit = f"{self.site.settings.project.name}-return-{item.name}"
        arm = guard.arm(unit, list(item.files), load=item.guard.back, seconds=seconds)
        load = guard.load(item.guard.load)
        try:
            done = self.host.write_tree("/", _files(item), first=[arm], then=[load], check=False)
            refused = next((one for one in done if not one.ok), None)
            if refused:
                self.host.run(guard.give_back(unit))
                raise looking.failed(self.host, f"{item.name}: refused, and put back", refused.err + refused.out)
            self._confirm(item, unit, seconds)
        except (AccessDenied, HostUnreachable, CommandTimedOut, Interrupted) as error:
            with interruption.ignored():
                self._take_back(item, unit, seconds, error)
        if item.guard.units:
            self.host.run(commands.enable(item.guard.units))

    def _confirm(self, item: Item, unit: str, seconds: int) -> None:
        """Log in anew and keep the change. An sshd that starts anew lets go of a connection now and then: try again.

        Raises:
            HostUnreachable: for half of the time nobody got in.
            AccessDenied, CommandTimedOut: as ``_log_in``.
        """
        last: list[HostUnreachable] = []
        end = time.monotonic() + seconds / 2

        def kept() -> bool | None:
            try:
                self._log_in(f"{item.name}: after the change", guard.confirm(unit))
            except HostUnreachable as error:
                last.append(error)
                return None if time.monotonic() < end else False
            return True

        if not wait_until(kept, timeout=seconds, what="a new login", interval=1):
            raise last[-1]

    def _log_in(self, when: str, command: Command) -> None:
        """Run something over a connection of its own, as the user that deploys, with root rights.

        Raises:
            AccessDenied, HostUnreachable: that user does not get in.
            CommandTimedOut: it did, after the change had been taken back.
        """
        host = self.second()
        try:
            done = host.run(command, timeout=30, check=False)
        except (AccessDenied, HostUnreachable) as error:
            raise type(error)(f"{when}: {error.message}", hint=error.hint, details=error.details) from error
        finally:
            host.close()
        if done.code == guard.TOO_LATE:
            raise CommandTimedOut(f"{when}: no new login before the host took it back")
        done.check(host.name)

    def _take_back(self, item: Item, unit: str, seconds: int, error: FlotteqError) -> NoReturn:
        """Put the former state back, or let the host do it, and make sure that a login works.

        Raises:
            Interrupted: it was a signal.
            PutBack: it was a lock-out, and is none any more.
            NotPutBack: nobody gets in.
        """
        try:
            self.host.run(guard.give_back(unit), timeout=30)
        except FlotteqError:
            self.site.report.warn(f"the host takes {item.name} back by itself within {seconds} s")

        def gets_in() -> bool | None:
            try:
                self._log_in(item.name, Command("true"))
            except FlotteqError:
                return None
            return True

        try:
            wait_until(gets_in, timeout=seconds + _LATE, what="a login that works again", interval=2)
        except FlotteqError as second:
            raise NotPutBack(
                f"{error.message}; nor does a login work since {item.name} was taken back",
                hint="use your provider's console", details=second.message,
            ) from error  # fmt: skip
        if isinstance(error, Interrupted):
            raise error
        raise PutBack(
            f"{error.message}; {item.name} was put back", hint="look at [server] and the project's own server/ files"
        ) from error


def _serving(settings: Settings) -> frozenset[str]:
    """The services whose public names answer as they must, whatever their certificates."""
    return frozenset(one.service for one in verify_domains(settings, verify=()) if not one.problem)


def _await(settings: Settings, served: frozenset[str]) -> None:
    missing = served

    def all_answer() -> bool | None:
        nonlocal missing
        missing = served - _serving(settings)
        return True if not missing else None

    try:
        if served:
            wait_until(all_answer, timeout=settings.deploy.health_timeout, what="the public names")
    except FlotteqError as error:
        names = ", ".join(f"https://{settings.domain(one)}" for one in sorted(missing))
        raise Unhealthy(
            f"{error.message}: answered before Docker was restarted and does not now: {names}", hint="inv status"
        ) from error


def _files(item: Item) -> dict[str, File]:
    return {path.lstrip("/"): File(text.content.encode(), mode=text.mode) for path, text in item.files.items()}


def _notes(settings: Settings, facts: ServerFacts, changed: Sequence[str]) -> list[str]:
    notes = []
    if "daemon" in changed and facts.engine:
        notes.append("Docker was restarted with its new settings; containers that run keep their former ones")
    notes += _over_ipv6(settings, facts)
    if "sshd" in changed and not settings.server.root_login:
        notes.append(f"root does not get in any more: log in as {settings.host.user}, then sudo -i")
    return notes


def _over_ipv6(settings: Settings, facts: ServerFacts) -> list[str]:
    """What to do where visitors would come over IPv6 and could not, or as one and the same address."""
    if not facts.ipv6 or settings.edge.ipv6_subnet:
        return []
    then = "have one address for all" if settings.server.userland_proxy else "do not reach the edge"
    return [f"the host has IPv6 and visitors over it {then}: edge.ipv6_subnet in flotteq.toml"]
