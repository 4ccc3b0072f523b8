"""Put certificates where nginx reads them: linked by one rename, taken in one reload, compared, or put back.

nginx reads ``certs/current``, a link to ``placeholder`` or to ``rel-<time>``, and ``certs/names/NAME/current``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from flotteq_tasks.commands import certbot, renewal
from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.host import interruption
from flotteq_tasks.host.base import File, Host
from flotteq_tasks.model.certificates import PLACEHOLDER, Lineage, in_use, left_over
from flotteq_tasks.model.errors import FlotteqError, HostUnreachable, Interrupted, NotPutBack, PutBack, Unhealthy
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import probe, x509
from flotteq_tasks.operations.edge import reload_edge, test_config

# Puts the edge's files on the host for what the links below certs/ lead to; returns their generation.
Render = Callable[[Mapping[str, str]], str]


@dataclass(frozen=True)
class Change:
    """A certificate that is to be served: ``target`` takes the place of ``previous``, empty where none can be used."""

    lineage: Lineage
    target: str
    previous: str
    chain: bytes
    key: bytes

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.read_pem(self.chain)


@dataclass
class Failures:
    """What went wrong with single certificates: one that fails does not hold the others back."""

    errors: list[FlotteqError] = field(default_factory=list)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep an error that concerns one certificate."""
        try:
            yield
        except (HostUnreachable, Interrupted, NotPutBack):
            raise
        except FlotteqError as error:
            self.errors.append(error)

    def tell(self, *, changed: bool) -> None:
        """Raise what was kept: an error alone as it is, else one that says all.

        Raises:
            FlotteqError, Unhealthy: the latter when others were put into use meanwhile, or several failed.
        """
        if not self.errors:
            return
        first, *others = self.errors
        if not others and not changed:
            raise first
        raise Unhealthy(
            ("other certificates are in use, but " if changed else "") + "; ".join(one.message for one in self.errors),
            hint="\n".join(dict.fromkeys(one.hint for one in self.errors if one.hint)),
            details="\n".join(one.details for one in self.errors if one.details),
        ) from first


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
    _make_placeholder(host, directory, now)
    host.run(certbot.point(directory, PLACEHOLDER))
    return True


@dataclass(frozen=True)
class Place:
    """What nginx reads certificates from.

    Args:
        render: puts the edge's files on the host for what the links below ``certs/`` lead to.
    """

    host: Host
    settings: Settings
    containers: Containers
    report: Report
    render: Render

    @property
    def directory(self) -> str:
        """The project directory on the host."""
        return str(self.settings.directory)

    def links(self) -> dict[str, str]:
        """What the links below ``certs/`` lead to."""
        return certbot.parse_links(self.host.run(certbot.links(self.directory)).out)

    def use(self, changes: Sequence[Change], links: Mapping[str, str], failures: Failures) -> dict[str, str]:
        """Put certificates into use in one reload; return the links afterwards.

        What a name does not serve is put back, into ``failures``; the others stay.

        Raises:
            NotPutBack: neither the new nor the previous ones work.
        """
        after = {**links, **{one.lineage.link: one.target for one in changes}}
        for one in changes:
            _put(self.host, self.directory, f"{one.lineage.place}/{one.target}".lstrip("/"), one.chain, one.key)
        wrong = list(changes)
        with failures.kept():
            try:
                for one in changes:
                    self.host.run(certbot.point(self.directory, one.target, place=one.lineage.place))
                self._reload(after)
                said = {one: self.unserved(one.lineage, one.leaf, after) for one in changes}
                wrong = [one for one in changes if said[one]]
                if wrong:
                    raise FlotteqError("; ".join(said[one] for one in wrong), hint="inv ssl.status")
            except FlotteqError as error:
                after = self._put_back(wrong, after, error)
                raise PutBack(
                    "the new certificate could not be put into use and the previous one is served again: "
                    f"{error.message}",
                    hint=error.hint,
                    details=error.details,
                ) from error
        return after

    def unserved(self, lineage: Lineage, wanted: x509.Certificate, links: Mapping[str, str]) -> str:
        """Compare what the names of a certificate serve with it; what is wrong in words, empty when nothing."""
        used = in_use(self.settings, links)
        shown = probe.show(self.settings, [name for name, use in used.items() if use.lineage.link == lineage.link])
        wrong = [
            f"{one.name} serves {one.problem or (one.certificate and one.certificate.serial)}"
            for one in shown
            if one.certificate is None or one.certificate.serial != wanted.serial
        ]
        if wrong:
            return f"the certificate with serial {wanted.serial} is not served everywhere: {'; '.join(wrong)}"
        for reason in sorted({one.distrust for one in shown if one.distrust}):
            self.report.warn(f"the certificate is served but not trusted here: {reason}")
        return ""

    def clear(self, links: Mapping[str, str]) -> None:
        """Remove the certificates that no name is served with: of names that went, of the other layout."""
        gone = left_over(self.settings, links)
        for link in gone:
            place = link.rpartition("/")[0]
            if place:
                self.host.run(certbot.forget(self.directory, place))
            else:
                if self.host.read(f"{self.directory}/certs/{PLACEHOLDER}/privkey.pem") is None:
                    _make_placeholder(self.host, self.directory)
                self.host.run(certbot.point(self.directory, PLACEHOLDER, keep=0))
        if gone:
            listed = ", ".join(f"certs/{link}" for link in gone)
            self.report.note(f"served no more and removed: {listed}; certbot keeps its own, and renews it no more")

    def _reload(self, links: Mapping[str, str]) -> None:
        generation = self.render(links)
        self._take(generation)

    def _take(self, generation: str) -> None:
        drain, edge = self.settings.deploy.drain, self.settings.of_kind("edge")[0]
        reload_edge(self.host, self.containers, generation=generation, drain=drain, service=edge)

    def _put_back(self, changes: Sequence[Change], after: Mapping[str, str], error: FlotteqError) -> dict[str, str]:
        """Link the previous ones again; return the links afterwards.

        Raises:
            NotPutBack: they do not work either.
        """
        put = {one.lineage.link for one in changes}
        links = {link: target for link, target in after.items() if link not in put}
        # What all names share is never nothing.
        back = {one: one.previous or ("" if one.lineage.place else PLACEHOLDER) for one in changes}
        links |= {one.lineage.link: target for one, target in back.items() if target}
        try:
            with interruption.ignored():
                for one, target in back.items():
                    if target:
                        self.host.run(certbot.point(self.directory, target, place=one.lineage.place))
                generation = self.render(links)
                test_config(self.host, self.containers, service=self.settings.of_kind("edge")[0])
                self._take(generation)
                for one, target in back.items():
                    if target:
                        self.host.run(certbot.discard(self.directory, one.target, place=one.lineage.place))
                    else:
                        self.host.run(certbot.forget(self.directory, one.lineage.place))
        except FlotteqError as second:
            raise NotPutBack(
                f"the new certificate could not be put into use ({error.message}), and neither could the previous one: "
                f"{second.message}",
                hint="inv nginx.test",
                details=second.details or error.details,
            ) from error
        return links


def _make_placeholder(host: Host, directory: str, now: datetime | None = None) -> None:
    chain, key = x509.make_placeholder(now or x509.utc_now())
    _put(host, directory, PLACEHOLDER, chain, key)


def _put(host: Host, directory: str, target: str, chain: bytes, key: bytes) -> None:
    files = {
        name: File(content, mode=renewal.KEY_MODE, group=certbot.KEY_READERS)
        for name, content in {"fullchain.pem": chain, "privkey.pem": key}.items()
    }
    host.write_tree(f"{directory}/certs/{target}", files)
