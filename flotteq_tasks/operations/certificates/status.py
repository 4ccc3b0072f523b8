"""Which certificate is served on every public name, for how long, and whether it is the one on the host."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flotteq_tasks.host.base import Host
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import probe
from flotteq_tasks.operations.certificates.x509 import Certificate, read_pem, utc_now


@dataclass(frozen=True)
class CertificateStatus:
    """One public name. ``problem`` says what a person should look at; empty when nothing."""

    name: str
    serial: str = ""
    issuer: str = ""
    not_after: datetime | None = None
    days_left: float = 0.0
    matches_file: bool = False
    trusted: bool = False
    placeholder: bool = False
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "not_after": self.not_after.isoformat() if self.not_after else None}


def status(host: Host, settings: Settings, *, now: datetime | None = None) -> list[CertificateStatus]:
    """Compare what every public name serves with the file on the host, in the order of flotteq.toml."""
    moment = now or utc_now()
    content = host.read(f"{settings.directory}/certs/current/fullchain.pem")
    on_disk = read_pem(content) if content else None
    return [judge(one, on_disk, moment) for one in probe.show(settings, settings.public.values())]


def served_days(settings: Settings, *, now: datetime | None = None) -> float | None:
    """Days until the served certificate that ends first; None when a name serves none."""
    moment = now or utc_now()
    served = [one.certificate for one in probe.show(settings, settings.public.values(), verify=False)]
    left = [round(one.days_left(moment), 1) for one in served if one is not None]
    return min(left) if left and len(left) == len(served) else None


def judge(shown: probe.Shown, on_disk: Certificate | None, now: datetime) -> CertificateStatus:
    """Say what is wrong with a name's certificate, the gravest first."""
    served = shown.certificate
    if served is None:
        return CertificateStatus(shown.name, problem=shown.problem)
    matches = on_disk is not None and on_disk.serial == served.serial
    left = served.days_left(now)
    problem = ""
    if served.placeholder:
        problem = "only the placeholder is served: inv ssl.init"
    elif left <= 0:
        problem = "it has expired"
    elif not matches:
        problem = "it is not the one on the host: inv nginx.reload"
    elif served.stale(now):
        problem = "less than a quarter of its life is left: inv ssl.renew"
    elif shown.distrust:
        problem = f"it is not trusted here: {shown.distrust}"
    return CertificateStatus(
        name=shown.name,
        serial=served.serial,
        issuer=served.issuer,
        not_after=served.not_after,
        days_left=round(left, 1),
        matches_file=matches,
        trusted=not shown.distrust,
        placeholder=served.placeholder,
        problem=problem,
    )
