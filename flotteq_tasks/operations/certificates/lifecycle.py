"""Obtain, install and renew the one certificate with all public names.

certbot owns ``certbot/conf``; nginx reads ``certs/current``, a link to ``placeholder`` or to ``rel-<time>``. A new
certificate is checked, copied, linked and tested before nginx reloads, and afterwards compared with what every name
serves; whatever fails links the previous one again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from flotteq_tasks.commands import certbot, renewal
from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host import interruption
from flotteq_tasks.host.base import File, Host
from flotteq_tasks.model.errors import FlotteqError, NotPutBack, PutBack, SettingsError
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import preflight, probe, x509
from flotteq_tasks.operations.edge import reload_edge, test_config

PLACEHOLDER = "placeholder"
# Seconds: an order with five names takes 3 to 30; a slow server is asked again by certbot itself.
ACME_LIMIT = 300


@dataclass(frozen=True)
class Foreseen:
    """What an order would be.

    Args:
        names: which the certificate would have.
        reason: why one would be ordered; empty: none would be.
        orders: what would be run, in turn.
        notes: what a person should know.
    """

    names: tuple[str, ...]
    reason: str
    orders: tuple[Command, ...]
    notes: tuple[str, ...] = ()


# Puts the edge's files for an issued certificate (True) or the placeholder on the host; returns their generation.
Render = Callable[[bool], str]


def is_issued(target: str) -> bool:
    """Whether ``certs/current`` with this target holds an issued certificate (``Facts.certificate``)."""
    return target.startswith("rel-")


def ensure_placeholder(host: Host, settings: Settings, *, now: datetime | None = None) -> bool:
    """Give nginx something to start with; an existing certificate stays.

    Returns:
        whether it was needed.

    Raises:
        CommandFailed, HostUnreachable, as the host does.
    """
    directory = str(settings.directory)
    if host.run(certbot.current(directory)).out.strip():
        return False
    chain, key = x509.make_placeholder(now or x509.utc_now())
    _put(host, directory, PLACEHOLDER, chain, key)
    host.run(certbot.point(directory, PLACEHOLDER))
    return True


@dataclass(frozen=True)
class Certificates:
    """The certificate of one site.

    Args:
        render: puts the edge's files on the host for an issued certificate or for none; returns their generation.
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

    def init(self, *, allow_partial: bool = False) -> bool:
        """Obtain a certificate where there is none that is fit, and install it. Again: nothing is due, nothing changes.

        One that has other names than flotteq.toml is replaced: this is how names are added and dropped.

        Args:
            allow_partial: leave out the names that are not ready, but not from a certificate that has them and lasts:
                a DNS server that is down for an hour takes no name from the site. The names are chosen here, not by
                certbot (``--allow-subset-of-names``): it would order again at every call, and drop more of them by
                itself at a renewal.

        Returns:
            whether another certificate is served now.

        Raises:
            PreflightFailed: a name is not ready for an order; the ACME server was not asked.
            CommandFailed: certbot failed; its words are in the details.
            PutBack, NotPutBack: the new certificate could not be put into use.
        """
        self._place_ca()
        with self.report.step("check that every name is ready"):
            names = self._ready(allow_partial=allow_partial)
        if len(names) < len(self.names) and self._lasts(names):
            self.report.note("the certificate has the other names and is not yet due; nothing was ordered")
            return self.install(names)
        if self._rehearsed(names):
            # Five failed checks an hour and name are all that this server allows: its staging server is asked first.
            with self.report.step("rehearse with the staging server"):
                self._certonly(names, dry_run=True)
        with self.report.step(f"obtain a certificate for {len(names)} names") as note:
            note.text = _last_words(self._certonly(names, dry_run=False))
        return self.install(names)

    def foresee(self, *, allow_partial: bool = False) -> Foreseen:
        """What ``init`` would ask for, by what can be read: nothing is written, and no authority is asked.

        Raises:
            PreflightFailed: a name is not ready for an order.
        """
        found = preflight.check(self.host, self.settings, self.names, self.clock, fetch=False)
        names = found.require(self.names, allow_partial=allow_partial)
        notes = [f"{one.name} is not ready and would be left out: {one.found}" for one in found.problems]
        partly = len(names) < len(self.names) and self._lasts(names)
        reason = "" if partly else self._reason(names)
        orders = [
            self._order(names, dry_run=dry_run) for dry_run in (True, False) if self._rehearsed(names) or not dry_run
        ]
        return Foreseen(tuple(names), reason, tuple(orders if reason else ()), (*notes, *found.unseen))

    def renew(self, *, dry_run: bool = False) -> bool:
        """Renew when due. A certificate that was renewed earlier but never put into use is put into use.

        Args:
            dry_run: rehearse with the server; nothing is kept.

        Returns:
            whether another certificate is served now.

        Raises:
            FlotteqError: there is none yet.
            CommandFailed, PutBack, NotPutBack, as ``init``.
        """
        if self._issued() is None:
            raise FlotteqError(f"{self.host.name}: there is no certificate to renew", hint="inv ssl.init")
        self._place_ca()
        with self.report.step("rehearse the renewal" if dry_run else "renew what is due"):
            self.host.run(self._rehearse() if dry_run else self._renew(), timeout=ACME_LIMIT)
        return False if dry_run else self.install()

    def install(self, names: Sequence[str] = ()) -> bool:
        """Put certbot's newest certificate into use, unless it is already.

        Args:
            names: what it must be valid for; none: for the public names that the one in use has, for all of them where
                none of an authority is in use or that one cannot be read.

        Returns:
            whether nginx was reloaded.

        Raises:
            FlotteqError: the certificate is not fit; the previous one stays in use.
            PutBack: nginx refused it; the previous one is in use again.
            NotPutBack: neither works.
        """
        chain, key = self._live()
        previous = self.host.run(certbot.current(self.directory)).out.strip()
        used = self._pair(f"{self.directory}/certs/{previous}") if is_issued(previous) else (None, None)
        wrong = x509.faults(chain, key, list(names) or self._owed(used[0]), self.clock())
        if used == (chain, key) and not wrong:
            self._require_served(x509.read_pem(chain))
            self.report.note("the certificate is not yet due; nothing changed")
            return False
        if wrong:
            raise FlotteqError(
                f"{self.host.name}: the new certificate is not fit: {'; '.join(wrong)}",
                hint="the previous one stays in use; inv ssl.init obtains one for all names",
            )
        target = f"rel-{self.clock():%Y%m%dT%H%M%SZ}"
        with self.report.step("put the certificate into use") as note:
            self._switch(target, previous, chain, key)
            note.text = f"{target}, until {x509.read_pem(chain).not_after:%Y-%m-%d}"
        return True

    def _switch(self, target: str, previous: str, chain: bytes, key: bytes) -> None:
        _put(self.host, self.directory, target, chain, key)
        with self._or_back(target, previous):
            self.host.run(certbot.point(self.directory, target))
            generation = self.render(True)
            reload_edge(self.host, self.containers, generation=generation, drain=self.settings.deploy.drain)
            self._require_served(x509.read_pem(chain))

    @contextmanager
    def _or_back(self, target: str, previous: str) -> Iterator[None]:
        try:
            yield
        except FlotteqError as error:
            with interruption.ignored():
                self._back(target, previous, error)
            raise PutBack(
                f"the new certificate could not be put into use and the previous one is served again: {error.message}",
                hint=error.hint,
                details=error.details,
            ) from error

    def _back(self, target: str, previous: str, error: FlotteqError) -> None:
        try:
            self.host.run(certbot.point(self.directory, previous or PLACEHOLDER))
            generation = self.render(is_issued(previous))
            test_config(self.host, self.containers)
            reload_edge(self.host, self.containers, generation=generation, drain=self.settings.deploy.drain)
            self.host.run(certbot.discard(self.directory, target))
        except FlotteqError as second:
            raise NotPutBack(
                f"the new certificate could not be put into use ({error.message}), and neither could the previous one: "
                f"{second.message}",
                hint="inv nginx.test",
                details=second.details or error.details,
            ) from error

    def _require_served(self, wanted: x509.Certificate) -> None:
        """Compare what every name serves with the file.

        Raises:
            FlotteqError: a name serves another certificate, or none.
        """
        shown = probe.show(self.settings, self.names)
        wrong = [
            f"{one.name} serves {one.problem or (one.certificate and one.certificate.serial)}"
            for one in shown
            if one.certificate is None or one.certificate.serial != wanted.serial
        ]
        if wrong:
            raise FlotteqError(
                f"the certificate with serial {wanted.serial} is not served everywhere: {'; '.join(wrong)}",
                hint="inv ssl.status",
            )
        distrust = {one.distrust for one in shown if one.distrust}
        for reason in sorted(distrust):
            self.report.warn(f"the certificate is served but not trusted here: {reason}")

    def _certonly(self, names: Sequence[str], *, dry_run: bool) -> str:
        return self.host.run(self._order(names, dry_run=dry_run), timeout=ACME_LIMIT).out

    def _order(self, names: Sequence[str], *, dry_run: bool) -> Command:
        acme = self.settings.acme
        return certbot.certonly(
            self.containers,
            names,
            certificate=self.settings.project.name,
            directory=acme.directory,
            email=acme.email,
            profile=acme.profile,
            dry_run=dry_run,
        )

    def _renew(self) -> Command:
        return certbot.renew(
            self.containers, certificate=self.settings.project.name, profile=self.settings.acme.profile
        )

    def _rehearse(self) -> Command:
        name, acme = self.settings.project.name, self.settings.acme
        return certbot.rehearse(self.containers, certificate=name, directory=acme.directory, profile=acme.profile)

    def _issued(self) -> bytes | None:
        return self.host.read(f"{self._lineage}/fullchain.pem")

    @property
    def _lineage(self) -> str:
        return f"{self.directory}/certbot/conf/live/{self.settings.project.name}"

    def _pair(self, directory: str) -> tuple[bytes | None, bytes | None]:
        return self.host.read(f"{directory}/fullchain.pem"), self.host.read(f"{directory}/privkey.pem")

    def _live(self) -> tuple[bytes, bytes]:
        chain, key = self._pair(self._lineage)
        if not chain or not key:
            raise FlotteqError(f"{self.host.name}: certbot left no certificate in {self._lineage}", hint="inv ssl.init")
        path = f"{self._lineage}/privkey.pem"
        mode = self.host.run(certbot.permissions(path)).out.strip()
        if not mode.endswith("0"):
            raise FlotteqError(
                f"{self.host.name}: {path} may be read by others (mode {mode}): it is not put into use",
                hint=f"on the host: chmod 600 {path}",
            )
        return chain, key

    def _rehearsed(self, names: Sequence[str]) -> bool:
        """Whether the authority's staging server is asked first."""
        return self.settings.acme.directory == certbot.LETS_ENCRYPT and self._covered() != set(names)

    def _reason(self, names: Sequence[str]) -> str:
        """Why a certificate with these names would be ordered; empty: the one that is there is good."""
        covered = self._covered()
        if not covered:
            return "there is none yet"
        if covered != set(names):
            more, fewer = (", ".join(sorted(one)) for one in (set(names) - covered, covered - set(names)))
            changes = [f"{what} {which}" for what, which in (("gains", more), ("loses", fewer)) if which]
            return f"it {' and '.join(changes)}"
        return "" if self._lasts(names) else "less than a third of its life is left"

    def _covered(self) -> set[str]:
        """The names of certbot's newest certificate."""
        leaf = _leaf(self._issued())
        return set(leaf.names) if leaf else set()

    def _lasts(self, names: Sequence[str]) -> bool:
        """Whether certbot's newest certificate has these names and need not be renewed yet."""
        leaf = _leaf(self._issued())
        return leaf is not None and set(names) <= set(leaf.names) and leaf.life_left(self.clock()) > x509.DUE_LIFE

    def _owed(self, used: bytes | None) -> list[str]:
        """The public names that must not be lost."""
        leaf = _leaf(used)
        return ([name for name in self.names if leaf.holds(name)] if leaf else []) or self.names

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

    def _ready(self, *, allow_partial: bool) -> list[str]:
        found = preflight.check(self.host, self.settings, self.names, self.clock)
        for problem in found.unseen:
            self.report.warn(f"cannot be checked from here: {problem}")
        names = found.require(self.names, allow_partial=allow_partial)
        for one in found.problems:
            self.report.warn(f"{one.name} is not ready: {one.found}; {one.fix}")
        return names


def _put(host: Host, directory: str, target: str, chain: bytes, key: bytes) -> None:
    files = {
        name: File(content, mode=renewal.KEY_MODE, group=certbot.KEY_READERS)
        for name, content in {"fullchain.pem": chain, "privkey.pem": key}.items()
    }
    host.write_tree(f"{directory}/certs/{target}", files)


def _leaf(chain: bytes | None) -> x509.Certificate | None:
    try:
        return x509.read_pem(chain) if chain else None
    except FlotteqError:
        return None


def _last_words(output: str) -> str:
    """What certbot says in one line: that the certificate was kept, or nothing."""
    return "not yet due" if "not yet due" in output else ""
