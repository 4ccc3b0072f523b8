"""What limits do to requests: nginx's own arithmetic, applied to its access log."""

import heapq
import ipaddress
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from flotteq_tasks.model.edge import Limits
from flotteq_tasks.model.stack import Vhost

TOO_MANY = 429
REJECTED = "REJECTED"
# As in nginx/http/limits.conf.j2.
CLIENT_BITS = 64
# nginx counts in thousandths of a request.
ONE = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the access log.

    Args:
        start: when it arrived, seconds since 1970.
        end: when its answer was sent.
        limit: what came of comparing it with rates, ``PASSED`` or ``REJECTED``; empty: it was not compared.
        refused: the edge answered 429 itself.
    """

    start: float
    end: float
    client: str
    kind: Vhost
    method: str
    path: str
    limit: str
    refused: bool


@dataclass(frozen=True)
class Rate:
    """A limit per second or minute: one counter for each client, shared by all places of that name."""

    name: str
    per_thousand_seconds: int
    burst: int


@dataclass
class Tally:
    """What one limit met."""

    requests: int = 0
    refused: int = 0
    clients: set[str] = field(default_factory=set)
    by_client: Counter[str] = field(default_factory=Counter)
    by_path: Counter[str] = field(default_factory=Counter)

    def met(self, request: Request, *, refused: bool) -> None:
        """Count one."""
        self.requests += 1
        self.clients.add(request.client)
        if refused:
            self.refused += 1
            self.by_client[request.client] += 1
            self.by_path[f"{request.method} {request.path}"] += 1


def parse(lines: Iterable[str], names: Mapping[str, Vhost]) -> list[Request]:
    """Read an access log, whatever stands before each line's ``{``; other lines and unknown names are left out.

    Args:
        names: kind by public name.

    Returns:
        the requests in the order in which they arrived.
    """
    found = (_request(line, names) for line in lines)
    return sorted((one for one in found if one), key=lambda one: one.start)


def _request(line: str, names: Mapping[str, Vhost]) -> Request | None:
    try:
        entry = json.loads(line[line.index('{"time":') :])
        kind = names.get(entry["host"])
        # Over plain HTTP there is only the redirect.
        if kind is None or not entry["tls"]:
            return None
        end = float(entry["ended"]) if "ended" in entry else datetime.fromisoformat(entry["time"]).timestamp()
        refused = entry["status"] == TOO_MANY and not entry["upstream"]
        start = end - float(entry["seconds"])
        return Request(start, end, entry["client"], kind, entry["method"], entry["path"], entry["limit"], refused)
    except (ValueError, KeyError, TypeError):
        return None


def observe(requests: Iterable[Request], limits: Limits) -> dict[str, Tally]:
    """Count what the limits that were in force did refuse."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for one in requests:
        rates = _rates(one, limits)
        by_rate = one.refused and one.limit == REJECTED
        for rate in rates:
            tallies[rate.name].met(one, refused=by_rate and rate is rates[-1])
        tallies[f"{_place(one)}_connections"].met(one, refused=one.refused and not by_rate)
    return tallies


def replay(requests: Iterable[Request], limits: Limits) -> dict[str, Tally]:
    """Count what limits would have refused, had they been in force.

    A request that one limit refuses is counted by none of the others, as in nginx. Clients are taken to have sent the
    same requests; WebSockets that are still open are not in the log.

    Args:
        requests: in the order in which they arrived.
    """
    tallies: dict[str, Tally] = defaultdict(Tally)
    buckets: dict[tuple[str, str], tuple[int, int]] = {}
    open_until: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in requests:
        rates, client = _rates(one, limits), _counted(one.client)
        moments = {rate: _excess(buckets.get((rate.name, client)), rate, one.start) for rate in rates}
        refusing = next((rate for rate in rates if moments[rate] > rate.burst * ONE), None)
        for rate in rates:
            tallies[rate.name].met(one, refused=rate is refusing)
            if refusing is None:
                buckets[rate.name, client] = (moments[rate], _milliseconds(one.start))
        name = f"{_place(one)}_connections"
        waiting = open_until[name, client]
        while waiting and waiting[0] <= one.start:
            heapq.heappop(waiting)
        too_many = refusing is None and len(waiting) >= getattr(limits, name)
        tallies[name].met(one, refused=too_many)
        if refusing is None and not too_many:
            heapq.heappush(waiting, one.end)
    return tallies


@cache
def _counted(client: str) -> str:
    """What the limits count a client as: over IPv6 the /64 that a visitor has to himself."""
    if ":" not in client:
        return client
    return str(ipaddress.IPv6Network((client, CLIENT_BITS), strict=False))


def _excess(bucket: tuple[int, int] | None, rate: Rate, now: float) -> int:
    """ngx_http_limit_req_lookup: the leaky bucket in thousandths of a request; a client's first one is free."""
    if bucket is None:
        return 0
    before, at = bucket
    return max(0, before - rate.per_thousand_seconds * max(0, _milliseconds(now) - at) // 1000 + ONE)


def _milliseconds(seconds: float) -> int:
    return math.floor(seconds * 1000 + 0.5)


def _place(request: Request) -> str:
    if request.kind == "api":
        return "api"
    return "asset" if request.path.startswith("/assets/") else "web"


def _rates(request: Request, limits: Limits) -> list[Rate]:
    """The rates that nginx compares a request with (``nginx/vhosts``), the one that is told apart last."""
    if not request.limit:
        return []
    web = limits.web_rate * ONE
    if request.kind == "web":
        return [Rate("web_rate", web, limits.web_burst)]
    if request.path.startswith("/uploads/"):
        return [Rate("web_rate", web, limits.upload_burst)]
    rates = [] if request.method == "OPTIONS" else [Rate("api_rate", limits.api_rate * ONE, limits.api_burst)]
    path = request.path.lower().removesuffix("/")
    if request.method == "POST" and path.endswith(tuple(one.lower() for one in limits.login_paths)):
        rates.append(Rate("login_rate", limits.login_rate * ONE // 60, limits.login_burst))
    return rates
