"""What the edge's limits refuse, and what other ones would: read from its access log, nothing is changed."""

import gzip
import ipaddress
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from flotteq_tasks.commands import nginx
from flotteq_tasks.model.edge import Limits
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.edge_replay import Request, Tally, observe, parse, replay

# 100 MB, which is what Docker keeps of a container's log, are compressed and sent within this time.
LIMIT = 300
# Fewer requests say nothing about who sends them.
ENOUGH = 50
# Rate, key of its burst, unit.
RATES = (("api_rate", "api_burst", "s"), ("web_rate", "web_burst", "s"), ("login_rate", "login_burst", "min"))
CONNECTIONS = ("api_connections", "web_connections", "asset_connections")


@dataclass(frozen=True)
class LimitResult:
    """One limit: its value, whom it met, whom it refused or would have."""

    limit: str
    value: str
    requests: int
    clients: int
    refused: int
    clients_refused: int
    worst_client: str
    worst_request: str


@dataclass(frozen=True)
class LimitsReport:
    """What an access log says of limits.

    Args:
        dry_run: the results are those of the settings' limits, had they been in force; else what was refused.
        first, last: the time that the log covers, UTC; empty without requests.
        warning: why the results may not be what they seem.
    """

    dry_run: bool
    first: str
    last: str
    requests: int
    clients: int
    results: tuple[LimitResult, ...]
    warning: str = ""


def review_limits(site: Site, *, dry_run: bool, since: str) -> LimitsReport:
    """Read the edge's access log and say what limits do.

    Args:
        dry_run: apply the settings' limits to what was requested, instead of counting what was refused.
        since: a duration such as ``24h`` or a time, as Docker takes it.

    Raises:
        FlotteqError: the log cannot be read.
    """
    service = site.settings.of_kind("edge")[0]
    names = {domain: site.settings.services[name].vhost for name, domain in site.settings.public.items()}
    with tempfile.TemporaryFile() as file:
        command = nginx.recent_log(site.engine.containers, service=service, since=since)
        site.host.stream(command, sink=file, timeout=LIMIT)
        file.seek(0)
        requests = parse(_lines(file, site.host.name), names)
    return report(requests, site.settings.limits, dry_run=dry_run)


def report(requests: list[Request], limits: Limits, *, dry_run: bool) -> LimitsReport:
    """Put the results of a log together. Pure."""
    tallies = (replay if dry_run else observe)(requests, limits)
    rates = [
        _result(rate, f"{getattr(limits, rate)}/{unit} +{getattr(limits, burst)}", tallies[rate])
        for rate, burst, unit in RATES
    ]
    connections = [_result(name, str(getattr(limits, name)), tallies[name]) for name in CONNECTIONS]
    clients = Counter(one.client for one in requests)
    return LimitsReport(
        dry_run,
        first=_utc(requests[0].start) if requests else "",
        last=_utc(requests[-1].start) if requests else "",
        requests=len(requests),
        clients=len(clients),
        results=(*rates, *connections),
        warning=_warning(clients),
    )


def _result(name: str, value: str, tally: Tally) -> LimitResult:
    client, request = (next(iter(one.most_common(1)), ("", 0))[0] for one in (tally.by_client, tally.by_path))
    return LimitResult(
        name, value, tally.requests, len(tally.clients), tally.refused, len(tally.by_client), client, request
    )


def _warning(clients: Counter[str]) -> str:
    """Behind Docker's proxy for IPv6, or a load balancer that is not named, all clients have one address."""
    if len(clients) != 1 or clients.total() < ENOUGH:
        return ""
    address = next(iter(clients))
    if not ipaddress.ip_address(address).is_private:
        return ""
    return (
        f"all {clients.total():,} requests came from {address}: the limits count everybody as one client; name a load "
        "balancer in edge.trusted_proxies; for IPv6 give Docker's network `edge` IPv6, too"
    )


def _lines(file: BinaryIO, host: str) -> Iterator[str]:
    try:
        with gzip.open(file, "rt", encoding="utf-8", errors="replace") as text:
            yield from text
    except (EOFError, gzip.BadGzipFile) as error:
        raise FlotteqError(f"{host}: the edge's log came incomplete", hint="inv logs --service nginx") from error


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
