"""Obtain, install and renew the certificates of the public names: one with all of them, or one for each.

certbot owns ``certbot/conf``; what nginx reads is the affair of ``placing``. A new certificate is checked, copied,
linked and tested before nginx reloads, and afterwards compared with what its names serve; what fails links the
previous one again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flotteq_tasks.commands import certbot
from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import File, Host
from flotteq_tasks.model.certificates import Lineage, in_use, is_issued, lineages, other_layout
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed, SettingsError
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import preflight, x509
from flotteq_tasks.operations.certificates.placing import Change, Failures, Place, Render
from flotteq_tasks.operations.certificates.store import Store, leaf_of

# Seconds: an order with five names takes 3 to 30; a slow server is asked again by certbot itself.
ACME_LIMIT = 300


@dataclass(frozen=True)
class Foreseen:
    """What the order of one certificate would be.

    Args:
        names: which it would have.
        reason: why it would be ordered; empty: it would not be.
        orders: what would be run, in turn.
    """

    names: tuple[str, ...]
    reason: str
    orders: tuple[Command, ...]


@dataclass(frozen=True)
class Forecast:
    """What ``init`` would order. ``notes``: what a person should know."""

    certificates: tuple[Foreseen, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Certificates:
    """The certificates of one site.

    Args:
        render: puts the edge's files on the host for what the links below ``certs/`` lead to; returns their generation.
        clock: the present, UTC.
    """

    host: Host
    settings: Settings
    containers: Containers
    report: Report
    render: Render
    clock: Callable[[], datetime] = field(default=x509.utc_now)

    @property
    def directory(self) -> str:
        """The project directory on the host."""
        return str(self.settings.directory)

    @property
    def names(self) -> list[str]:
        """All public names, in the order of flotteq.toml."""
        return list(self.settings.public.values())

    @property
    def store(self) -> Store:
        """What certbot keeps."""
        return Store(self.host, self.directory, self.clock)

    @property
    def place(self) -> Place:
        """What nginx reads them from."""
        return Place(self.host, self.settings, self.containers, self.report, self.render)

    def init(self, *, allow_partial: bool = False) -> bool:
        """Obtain certificates where none is fit, and install them. Again: nothing is due, nothing changes.

        One that has other names than flotteq.toml is replaced: this is how names are added and dropped. Those of the
        other layout serve until these do, and are then removed.

        Args:
            allow_partial: leave out the names that are not ready, but not from a certificate that has them and lasts:
                a DNS server that is down for an hour takes no name from the site. The names are chosen here, not by
                certbot (``--allow-subset-of-names``): it would order again at every call, and drop more of them by
                itself at a renewal. Where each name has its own certificate a name that is not ready holds no other
                back; it is an error only without this.

        Returns:
            whether another certificate is served now.

        Raises:
            PreflightFailed: a name is not ready for an order; the ACME server was not asked for its certificate.
            CommandFailed: certbot failed; its words are in the details.
            PutBack, NotPutBack: the new certificate could not be put into use.
            Unhealthy: one of these for some certificates while others were put into use.
        """
        self._place_ca()
        failures = Failures()
        obtained: dict[Lineage, Sequence[str]] = {}
        with self.report.step("check that every name is ready"):
            orders = self._ready(failures, allow_partial=allow_partial)
        for lineage, names in orders.items():
            with failures.kept():
                self._obtain(lineage, names)
                obtained[lineage] = names
        changed = self._install(obtained, failures)
        self.place.clear(self.place.links())
        failures.tell(changed=changed)
        return changed

    def foresee(self, *, allow_partial: bool = False) -> Forecast:
        """What ``init`` would ask for, by what can be read: nothing is written, and no authority is asked.

        Raises:
            PreflightFailed: a name is not ready for an order.
        """
        found = preflight.check(self.host, self.settings, self.names, self.clock, fetch=False)
        orders, refusal = self._orders(found, allow_partial=allow_partial)
        if refusal:
            raise refusal
        notes = [f"{one.name} is not ready and would be left out: {one.found}" for one in found.problems]
        foreseen = tuple(self._foreseen(lineage, names) for lineage, names in orders.items())
        return Forecast(foreseen, (*notes, *found.unseen))

    def _foreseen(self, lineage: Lineage, names: Sequence[str]) -> Foreseen:
        partly = len(names) < len(lineage.names) and self.store.lasts(lineage, names)
        reason = "" if partly else self._reason(lineage, names)
        runs = [True, False] if self._rehearsed(lineage, names) else [False]
        orders = [self._order(lineage, names, dry_run=dry_run) for dry_run in runs if reason]
        return Foreseen(tuple(names), reason, tuple(orders))

    def renew(self, *, dry_run: bool = False) -> bool:
        """Renew what is due. A certificate that was renewed earlier but never put into use is put into use.

        Args:
            dry_run: rehearse with the server; nothing is kept.

        Returns:
            whether another certificate is served now.

        Raises:
            FlotteqError: there is none yet.
            CommandFailed, PutBack, NotPutBack, Unhealthy, as ``init``.
        """
        there = self._there()
        if not there:
            raise FlotteqError(f"{self.host.name}: there is no certificate to renew", hint="inv ssl.init")
        self._place_ca()
        failures = Failures()
        renewed: dict[Lineage, Sequence[str]] = {}
        with self.report.step("rehearse the renewal" if dry_run else "renew what is due"):
            for lineage, names in there.items():
                with failures.kept():
                    self.host.run(self._renewal(lineage, dry_run=dry_run), timeout=ACME_LIMIT)
                    renewed[lineage] = names
            if dry_run or not renewed:
                failures.tell(changed=False)
        changed = False if dry_run else self._install(renewed, failures)
        failures.tell(changed=changed)
        return changed

    def install(self) -> bool:
        """Put certbot's newest certificates into use, unless they are already.

        What they must be valid for: the public names that the one in use has, all of them where none of an authority
        is in use or that one cannot be read.

        Returns:
            whether nginx was reloaded.

        Raises:
            FlotteqError: a certificate is not fit, or there is none; the previous one stays in use.
            PutBack: nginx refused it; the previous one is in use again.
            NotPutBack: neither works.
            Unhealthy: as ``init``.
        """
        failures = Failures()
        # Without any the first is missed by its path.
        wanted = self._there() or {one: [] for one in lineages(self.settings)[:1]}
        changed = self._install(wanted, failures)
        failures.tell(changed=changed)
        return changed

    def _ready(self, failures: Failures, *, allow_partial: bool) -> dict[Lineage, list[str]]:
        """What is to be ordered, and with which names; what holds others back goes into the failures.

        Raises:
            PreflightFailed: nothing can be.
        """
        found = preflight.check(self.host, self.settings, self.names, self.clock)
        for problem in found.unseen:
            self.report.warn(f"cannot be checked from here: {problem}")
        orders, refusal = self._orders(found, allow_partial=allow_partial)
        if refusal:
            failures.errors.append(refusal)
        for one in found.problems if allow_partial else ():
            self.report.warn(f"{one.name} is not ready: {one.found}; {one.fix}")
        return orders

    def _orders(
        self, found: preflight.Preflight, *, allow_partial: bool
    ) -> tuple[dict[Lineage, list[str]], PreflightFailed | None]:
        """What is to be ordered, with which names, and what to say of the names that hold a certificate back.

        Raises:
            PreflightFailed: nothing can be ordered.
        """
        ready = set(found.ready(self.names))
        wanted = {one: [name for name in one.names if name in ready] for one in lineages(self.settings)}
        # A name that the other layout's certificate serves would lose it.
        needed = self._elsewhere() if allow_partial else set(self.names)
        orders = {one: names for one, names in wanted.items() if names and not needed.intersection(one.names) - ready}
        if not orders:
            raise found.refusal(self.names, ordered=allow_partial)
        held = not allow_partial and len(orders) < len(wanted)
        return orders, found.refusal(self.names, ordered=True) if held else None

    def _obtain(self, lineage: Lineage, names: Sequence[str]) -> None:
        if len(names) < len(lineage.names) and self.store.lasts(lineage, names):
            self.report.note("the certificate has the other names and is not yet due; nothing was ordered")
            return
        whom = names[0] if len(names) == 1 else f"{len(names)} names"
        if self._rehearsed(lineage, names):
            # Five failed checks an hour and name are all that this server allows: its staging server is asked first.
            with self.report.step(f"rehearse with the staging server for {whom}"):
                self._certonly(lineage, names, dry_run=True)
        with self.report.step(f"obtain a certificate for {whom}") as note:
            note.text = _last_words(self._certonly(lineage, names, dry_run=False))

    def _install(self, wanted: Mapping[Lineage, Sequence[str]], failures: Failures) -> bool:
        """Put into use what is not; whether anything is served anew.

        Args:
            wanted: the names that each must be valid for; none: those that the one in use has.
        """
        links = self.place.links()
        changes = []
        for lineage, names in wanted.items():
            with failures.kept():
                change = self._change(lineage, names, links.get(lineage.link, ""))
                if change.target != change.previous:
                    changes.append(change)
                elif said := self.place.unserved(lineage, change.leaf, links):
                    raise FlotteqError(said, hint="inv ssl.status")
        if not changes:
            if not failures.errors:
                self.report.note("the certificate is not yet due; nothing changed")
            return False
        with self.report.step("put the certificate into use") as note:
            after = self.place.use(changes, links, failures)
            used = [one for one in changes if after.get(one.lineage.link) == one.target]
            note.text = "; ".join(
                f"{f'{one.lineage.certificate}: ' if len(wanted) > 1 else ''}{one.target}, "
                f"until {one.leaf.not_after:%Y-%m-%d}"
                for one in used
            )
            if not used:
                failures.tell(changed=False)
        return True

    def _change(self, lineage: Lineage, names: Sequence[str], previous: str) -> Change:
        """What is to be put into use; its target is the previous one when it is already.

        Args:
            previous: what its link leads to now.

        Raises:
            FlotteqError: it is not fit.
        """
        chain, key = self.store.live(lineage)
        place = certbot.folder(self.directory, lineage.place)
        used = self.store.pair(f"{place}/{previous}") if is_issued(previous) else (None, None)
        wrong = x509.faults(chain, key, list(names) or self._owed(lineage, used[0]), self.clock())
        if used == (chain, key) and not wrong:
            return Change(lineage, previous, previous, chain, key)
        if wrong:
            raise FlotteqError(
                f"{self.host.name}: the new certificate is not fit: {'; '.join(wrong)}",
                hint="the previous one stays in use; inv ssl.init obtains one for all names",
            )
        # One that lacks a half cannot be linked again.
        usable = previous if not is_issued(previous) or all(used) else ""
        return Change(lineage, f"rel-{self.clock():%Y%m%dT%H%M%SZ}", usable, chain, key)

    def _certonly(self, lineage: Lineage, names: Sequence[str], *, dry_run: bool) -> str:
        return self.host.run(self._order(lineage, names, dry_run=dry_run), timeout=ACME_LIMIT).out

    def _order(self, lineage: Lineage, names: Sequence[str], *, dry_run: bool) -> Command:
        acme = self.settings.acme
        return certbot.certonly(
            self.containers,
            names,
            certificate=lineage.certificate,
            directory=acme.directory,
            email=acme.email,
            profile=acme.profile,
            dry_run=dry_run,
        )

    def _renewal(self, lineage: Lineage, *, dry_run: bool) -> Command:
        name, acme = lineage.certificate, self.settings.acme
        if dry_run:
            return certbot.rehearse(self.containers, certificate=name, directory=acme.directory, profile=acme.profile)
        return certbot.renew(self.containers, certificate=name, profile=acme.profile)

    def _there(self) -> dict[Lineage, list[str]]:
        """The certificates that certbot has, and what they must be valid for (none: as ``install`` says).

        Those of the layout, and where a name has none yet those of the other one that have it.
        """
        own = [one for one in lineages(self.settings) if self.store.issued(one) is not None]
        bare = set(self.names).difference(*(one.names for one in own))
        found: dict[Lineage, list[str]] = {one: [] for one in own}
        for one in lineages(self.settings, other_layout(self.settings)) if bare else ():
            held = bare.intersection(one.names, self.store.covered(one))
            if held:
                found[one] = sorted(held)
        return found

    def _elsewhere(self) -> set[str]:
        """The names that are served with a certificate of the other layout."""
        own = {one.link for one in lineages(self.settings)}
        used = in_use(self.settings, self.place.links())
        return {name for name, use in used.items() if use.issued and use.lineage.link not in own}

    def _rehearsed(self, lineage: Lineage, names: Sequence[str]) -> bool:
        """Whether the authority's staging server is asked first."""
        return self.settings.acme.directory == certbot.LETS_ENCRYPT and self.store.covered(lineage) != set(names)

    def _reason(self, lineage: Lineage, names: Sequence[str]) -> str:
        """Why a certificate with these names would be ordered; empty: the one that is there is good."""
        covered = self.store.covered(lineage)
        if not covered:
            return "there is none yet"
        if covered != set(names):
            more, fewer = (", ".join(sorted(one)) for one in (set(names) - covered, covered - set(names)))
            changes = [f"{what} {which}" for what, which in (("gains", more), ("loses", fewer)) if which]
            return f"it {' and '.join(changes)}"
        return "" if self.store.lasts(lineage, names) else "less than a third of its life is left"

    def _owed(self, lineage: Lineage, used: bytes | None) -> list[str]:
        """The public names that must not be lost."""
        leaf = leaf_of(used)
        return ([name for name in lineage.names if leaf.holds(name)] if leaf else []) or list(lineage.names)

    def _place_ca(self) -> None:
        """Give certbot the CA of a private ACME server; the container reads it by REQUESTS_CA_BUNDLE."""
        if not self.settings.acme.ca_file:
            return
        path = self.settings.root / self.settings.acme.ca_file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"[acme] ca_file: {path}: {error.strerror or error}") from error
        place = f"{self.directory}/certbot/conf/acme-ca.pem"
        # What is there belongs to certbot's user since a deploy.
        if self.host.read(place) != content:
            self.host.write(place, File(content))


def _last_words(output: str) -> str:
    """What certbot says in one line: that the certificate was kept, or nothing."""
    return "not yet due" if "not yet due" in output else ""
