"""What the zone says of a name: whether any authority may issue for it."""

from collections.abc import Callable

from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.audit.checks import Check
from flotteq_tasks.operations.certificates import dns

Policy = Callable[[str, str], tuple[str, list[str]]]

# No authority issues for them, so that nobody need be kept out (RFC 6761, RFC 2606, ICANN's for private use).
_PRIVATE = ("localhost", "test", "invalid", "example", "local", "internal", "home.arpa")


def caa(settings: Settings, domain: str, policy: Policy = dns.policy) -> Check:
    """The CAA records of a name let its own authority issue, and no other.

    Args:
        policy: how one DNS server is asked.
    """
    issuer = settings.acme.issuer
    if not issuer:
        return _unseen(domain, "acme.issuer is empty")
    if not settings.acme.resolvers:
        return _unseen(domain, "acme.resolvers is empty, and this machine's own resolver may know other records")
    silent = []
    for server in settings.acme.resolvers:
        try:
            place, found = policy(server, domain)
        except dns.Silent as error:
            silent.append(str(error))
        except dns.Broken as error:
            # No authority would issue either (RFC 8659 §4.2 wants an answer).
            fix = f"mend the zone or its DNSSEC: dig CAA {domain} @{server}"
            return Check("caa", domain, str(error), ok=False, fix=fix)
        else:
            return _judged(settings, domain, place, found)
    return _unseen(domain, "; ".join(silent))


def _judged(settings: Settings, domain: str, place: str, found: list[str]) -> Check:
    issuer = settings.acme.issuer
    listed = ", ".join(f'"{one}"' for one in found)
    if not dns.names_issuers(found):
        if domain.endswith(tuple(f".{one}" for one in _PRIVATE)):
            return _unseen(domain, "no authority issues for a name that is not public")
        zone = settings.project.domain
        said = f"{place} has {listed}: any authority may issue" if found else "no record: any authority may issue"
        return Check("caa", domain, said, ok=False, fix=f'add to the zone: {zone}. CAA 0 issue "{issuer}"')
    fix = f'add to the zone: {place}. CAA 0 issue "{issuer}"; or set acme.issuer to what this authority is called'
    return Check("caa", domain, f"{place} has {listed}", ok=dns.permits(found, issuer), fix=fix)


def _unseen(domain: str, why: str) -> Check:
    return Check("caa", domain, f"not checked: {why}")
