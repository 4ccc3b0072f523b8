"""Look at everything that an order of a certificate needs, before the authority is asked: failed orders are counted."""

import ipaddress
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from flotteq_tasks.commands import certbot
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import File, Host
from flotteq_tasks.model.errors import PreflightFailed
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import dns, probe
from flotteq_tasks.operations.preflight import CLOCK_SKEW


@dataclass(frozen=True)
class Finding:
    """Why a name would get no certificate: what was found, and what to do. No name: none would."""

    name: str
    found: str
    fix: str


@dataclass(frozen=True)
class Preflight:
    """What stands in the way, and what could not be looked at from here."""

    problems: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()

    def ready(self, names: Iterable[str]) -> list[str]:
        """The names that can be ordered."""
        wrong = {one.name for one in self.problems}
        return [] if "" in wrong else [name for name in names if name not in wrong]

    def refusal(self, names: Sequence[str], *, ordered: bool = False) -> PreflightFailed:
        """What to say of names that are not ready.

        Args:
            ordered: the others are ordered all the same.
        """
        ready = self.ready(names)
        said = "; ".join(f"{one.name}: {one.found}" if one.name else one.found for one in self.problems)
        fixes = list(dict.fromkeys(one.fix for one in self.problems))
        if ready and not ordered:
            fixes.append(f"or obtain one for the other {len(ready)} now: inv ssl.init --allow-partial")
        whom = " for them" if ordered and ready else ""
        return PreflightFailed(
            f"{len(names) - len(ready)} of {len(names)} names are not ready, "
            f"the ACME server was not asked{whom}: {said}",
            hint="\n".join(fixes),
        )


@dataclass(frozen=True)
class _Records:
    """What one DNS server knows of a name."""

    server: str
    addresses: tuple[str, ...]


def check(
    host: Host, settings: Settings, names: Sequence[str], clock: Callable[[], datetime], *, fetch: bool = True
) -> Preflight:
    """Compare names, addresses, CAA records and clocks, and fetch a file of the webroot at every name from here.

    An address is right when the file comes from there, whatever it is (a load balancer, an address that is
    translated). Where it cannot be tried from here, it must be one of the host's.

    Args:
        clock: the present, UTC.
        fetch: put the file there, and fetch it; without, nothing is written, and where it would have decided is told.
    """
    token = f"flotteq-{secrets.token_urlsafe(24)}" if fetch else ""
    asked = certbot.clock_and_addresses()
    seconds, *own = (_put(host, settings, token, asked) if fetch else host.run(asked).out).split()
    skew = int(seconds) - clock().timestamp()
    expected = settings.acme.addresses or tuple(own)
    try:
        with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
            found = list(pool.map(lambda name: _look(settings, name, token, expected), names))
    finally:
        if fetch:
            host.run(certbot.forget_challenge(str(settings.directory), token), check=False)
    problems = [*_clock(host.name, skew), *(one for wrong, _ in found for one in wrong)]
    return Preflight(tuple(problems), tuple(dict.fromkeys(text for _, unseen in found for text in unseen)))


def _put(host: Host, settings: Settings, token: str, then: Command) -> str:
    folder, _, leaf = certbot.challenge(str(settings.directory), token).rpartition("/")
    return host.write_tree(folder, {leaf: File(token.encode())}, then=[then])[-1].out


def _clock(where: str, skew: float) -> list[Finding]:
    if abs(skew) <= CLOCK_SKEW:
        return []
    found = f"the clock of {where} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    return [Finding("", found, "turn on time synchronisation on the host: timedatectl set-ntp true")]


def _look(settings: Settings, name: str, token: str, expected: Sequence[str]) -> tuple[list[Finding], list[str]]:
    records, problems, unseen = _resolve(settings, name)
    if not records and not problems:
        tried = ", ".join(settings.acme.resolvers)
        fix = "let DNS out (port 53), or name other servers in acme.resolvers; []: this machine's own"
        return [Finding(name, f"no DNS server answers from here: {tried}", fix)], unseen
    for known in records:
        if not known.addresses:
            here = next((one for one in expected if ":" not in one), "the host's address")
            found = f"{known.server} knows neither an A nor an AAAA record"
            problems.append(Finding(name, found, f"add a record to the zone and wait: {name} A {here}"))
    addresses = list(dict.fromkeys(one for known in records for one in known.addresses))
    told = {one: ", ".join(known.server for known in records if one in known.addresses) for one in addresses}
    places = [settings.edge.address] if settings.edge.address else addresses
    outcome = {place: probe.fetch(settings, name, place, token) for place in places} if token else {}
    for place, (problem, seen) in outcome.items():
        if problem and seen:
            problems.append(_unreached(name, place, problem, expected))
        elif problem:
            unseen.append(f"{name} at {place}: {problem}")
    for address in addresses:
        proved = address in outcome and (not outcome[address][0] or outcome[address][1])
        if not token and not _is_one_of(address, expected):
            unseen.append(
                f"{name} leads to {address}, which is none of the host's addresses: right if port 80 leads here"
            )
        elif not proved and not _is_one_of(address, expected):
            problems.append(_stranger(name, address, told[address], expected))
    return problems + _caa(settings, name, records), unseen


def _resolve(settings: Settings, name: str) -> tuple[list[_Records], list[Finding], list[str]]:
    if not settings.acme.resolvers:
        return [_Records("this machine's resolver", tuple(_system(settings, name)))], [], []
    records, problems, unseen = [], [], []
    for server in settings.acme.resolvers:
        try:
            records.append(_Records(server, (*dns.ask(server, name, "A"), *dns.ask(server, name, "AAAA"))))
        except dns.Silent as error:
            unseen.append(str(error))
        except dns.Broken as error:
            problems.append(Finding(name, str(error), f"mend the zone or its DNSSEC: dig {name} @{server}"))
    return records, problems, unseen


def _system(settings: Settings, name: str) -> list[str]:
    try:
        return probe.addresses(settings, name)
    except OSError:
        return []


def _unreached(name: str, place: str, problem: str, expected: Sequence[str]) -> Finding:
    if _is_one_of(place, expected):
        return Finding(name, f"at {place} {problem}", "let port 80 through to the edge: inv status")
    kind = "AAAA" if ":" in place else "A"
    known = ", ".join(expected) or "unknown"
    return Finding(
        name, f"at {place} {problem}", f"point its {kind} record at the host ({known}), and let port 80 through"
    )


def _stranger(name: str, address: str, servers: str, expected: Sequence[str]) -> Finding:
    kind = "AAAA" if ":" in address else "A"
    same = [one for one in expected if (":" in one) == (":" in address)]
    return Finding(
        name,
        f"its {kind} record {address} ({servers}) is none of the host's addresses ({', '.join(expected) or 'none'})",
        f"point {name} {kind} at {same[0]}, or name the address in acme.addresses"
        if same
        else f"remove the {kind} record of {name}: authorities prefer IPv6; or name the address in acme.addresses",
    )


def _caa(settings: Settings, name: str, records: Sequence[_Records]) -> list[Finding]:
    issuer = settings.acme.issuer
    if not issuer or not settings.acme.resolvers:
        return []
    for known in records:
        try:
            place, found = dns.policy(known.server, name)
        except dns.Silent:
            continue
        except dns.Broken as error:
            return [Finding(name, str(error), f"mend the zone or its DNSSEC: dig CAA {name} @{known.server}")]
        if dns.permits(found, issuer):
            return []
        listed = ", ".join(f'"{one}"' for one in found)
        fix = f'add to the zone: {place} CAA 0 issue "{issuer}"; or set acme.issuer to what this authority is called'
        return [Finding(name, f"the CAA records of {place} ({listed}) do not let {issuer} issue", fix)]
    return []


def _is_one_of(address: str, expected: Iterable[str]) -> bool:
    return ipaddress.ip_address(address) in {ipaddress.ip_address(one) for one in expected}
