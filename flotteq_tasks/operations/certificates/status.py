"""Which certificate is served on every public name, for how long, and whether it is the one on the host."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from flotteq_tasks.commands import certbot, renewal
from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Host
from flotteq_tasks.model.certificates import Use, in_use, lineages
from flotteq_tasks.model.errors import CommandTimedOut, FlotteqError
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import probe
from flotteq_tasks.operations.certificates.x509 import Certificate, read_pem, utc_now

# Seconds that the ACME server has to say when it wants a renewal.
WINDOW_LIMIT = 20


@dataclass(frozen=True)
class LastRenewal:
    """How the last renewal ended: ``at`` is ISO 8601, ``what`` the task or timer, ``code`` its exit code."""

    at: str
    what: str
    code: int


@dataclass(frozen=True)
class CertificateStatus:
    """One public name. ``problem`` says what a person should look at; empty when nothing.

    ``certificate`` is what certbot calls it, or should where none is served.
    ``life_left`` is the share of its life that is left; ``renew_from`` and ``renew_until`` are when the ACME server
    wants a renewal (ARI), ISO 8601, empty where it does not say.
    """

    name: str
    certificate: str = ""
    serial: str = ""
    issuer: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    days_left: float = 0.0
    life_left: float = 0.0
    renew_from: str = ""
    renew_until: str = ""
    matches_file: bool = False
    trusted: bool = False
    placeholder: bool = False
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        moments = {"not_before": self.not_before, "not_after": self.not_after}
        return {**asdict(self), **{key: one.isoformat() if one else None for key, one in moments.items()}}


@dataclass(frozen=True)
class Overview:
    """All public names, and the last renewal; None before the first."""

    names: list[CertificateStatus]
    last: LastRenewal | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with any name."""
        return not any(one.problem for one in self.names)

    def document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        last = asdict(self.last) if self.last else None
        return {"ok": self.ok, "names": [one.document() for one in self.names], "last_renewal": last}


def overview(host: Host, settings: Settings, containers: Containers) -> Overview:
    """What every name serves, when the ACME server wants a renewal, and how the last one ended."""
    found = status(host, settings)
    wanted = dict.fromkeys(one.certificate for one in found if one.matches_file)
    asked = [
        Command("cat", f"{settings.directory}/state/{renewal.RESULT}"),
        certbot.renewal_windows(containers, certificates=wanted, directory=settings.acme.directory),
    ]
    # Neither needs to be there: it was never renewed, or the server does not answer.
    said, answers = (_said(host, one) for one in asked)
    windows = {_field(line, "certificate"): line for line in answers.splitlines()}
    names = [
        replace(one, renew_from=_field(window, "start"), renew_until=_field(window, "end"))
        if one.matches_file and (window := windows.get(one.certificate))
        else one
        for one in found
    ]
    at = _field(said, "at")
    return Overview(names, LastRenewal(at, _field(said, "what"), int(_field(said, "code") or 0)) if at else None)


def _said(host: Host, command: Command) -> str:
    try:
        return host.run(command, timeout=WINDOW_LIMIT, check=False).out
    except CommandTimedOut:
        return ""


def _field(text: str, key: str) -> str:
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    return str(document.get(key, "")) if isinstance(document, dict) else ""


def status(host: Host, settings: Settings, *, now: datetime | None = None) -> list[CertificateStatus]:
    """Compare what every public name serves with the file on the host, in the order of flotteq.toml."""
    moment = now or utc_now()
    used, files = _files(host, settings)
    own = {name: one.certificate for one in lineages(settings) for name in one.names}
    return [
        judge(one, files[one.name], moment, own=own[one.name], used=used[one.name].lineage.certificate)
        for one in probe.show(settings, settings.public.values())
    ]


def on_host(host: Host, settings: Settings) -> dict[str, Certificate | None]:
    """The certificate that lies on the host for every public name; None: none that can be read."""
    return _files(host, settings)[1]


def _files(host: Host, settings: Settings) -> tuple[dict[str, Use], dict[str, Certificate | None]]:
    directory = str(settings.directory)
    used = in_use(settings, certbot.parse_links(host.run(certbot.links(directory)).out))
    read = {link: _read(host, f"{directory}/certs/{link}") for link in {use.lineage.link for use in used.values()}}
    return used, {name: read[use.lineage.link] for name, use in used.items()}


def _read(host: Host, place: str) -> Certificate | None:
    content = host.read(f"{place}/fullchain.pem")
    try:
        return read_pem(content) if content else None
    except FlotteqError:
        return None


def ends_first(settings: Settings) -> Certificate | None:
    """The served certificate that ends first; None when a name serves none."""
    shown = [one.certificate for one in probe.show(settings, settings.public.values(), verify=False)]
    served = [one for one in shown if one is not None]
    return min(served, key=lambda one: one.not_after) if served and len(served) == len(shown) else None


def served_days(settings: Settings, *, now: datetime | None = None) -> float | None:
    """Days until the served certificate that ends first; None when a name serves none."""
    first = ends_first(settings)
    return round(first.days_left(now or utc_now()), 1) if first else None


def judge(shown: probe.Shown, on_disk: Certificate | None, now: datetime, *, own: str, used: str) -> CertificateStatus:
    """Say what is wrong with a name's certificate, the gravest first.

    Args:
        own: what certbot calls the one that the layout wants for it.
        used: what certbot calls the one in use.
    """
    served = shown.certificate
    if served is None:
        return CertificateStatus(shown.name, own, problem=shown.problem)
    matches = on_disk is not None and on_disk.serial == served.serial
    left = served.days_left(now)
    problem = ""
    if served.placeholder:
        problem = "only the placeholder is served: inv ssl.init"
    elif left <= 0:
        problem = "it has expired"
    elif served.staging:
        problem = "the staging server issued it, no browser accepts it: set acme.directory, inv ssl.init"
    elif on_disk is None:
        problem = "the file on the host cannot be read, a restart would fail: inv ssl.renew"
    elif not matches:
        problem = "it is not the one on the host: inv nginx.reload"
    elif served.stale(now):
        problem = "less than a quarter of its life is left: inv ssl.renew"
    elif not served.holds(shown.name):
        problem = "it is not valid for this name: inv ssl.init"
    elif used != own:
        problem = f"acme.layout wants the certificate {own}, served is still {used}: inv ssl.init"
    elif shown.distrust:
        problem = f"it is not trusted here: {shown.distrust}"
    return CertificateStatus(
        name=shown.name,
        certificate=own if served.placeholder else used,
        serial=served.serial,
        issuer=served.issuer,
        not_before=served.not_before,
        not_after=served.not_after,
        days_left=round(left, 1),
        life_left=round(served.life_left(now), 3),
        matches_file=matches,
        trusted=not shown.distrust,
        placeholder=served.placeholder,
        problem=problem,
    )
