"""What DNS servers of our choice say of a name, as the certificate authority's would; not this machine's cache."""

import re
from collections.abc import Iterable
from typing import Literal

# Seconds for one question: a resolver that must ask on takes one or two.
LIMIT = 5.0
Kind = Literal["A", "AAAA", "CAA"]
# How the challenge is answered here (RFC 8657: a CAA record may name the methods that it allows).
METHOD = "http-01"


class Silent(Exception):
    """A server does not answer from here; that says nothing about the name."""


class Broken(Exception):
    """A server answers that it cannot find out: the authority could not either."""


def ask(server: str, name: str, kind: Kind, *, port: int = 53, limit: float = LIMIT) -> list[str]:
    """Ask one server, CNAMEs followed; nothing where there is no such record or no such name.

    Args:
        limit: seconds.

    Returns:
        addresses; for CAA ``FLAGS TAG VALUE``.

    Raises:
        Silent, Broken.
    """
    import dns.exception
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [server]
    resolver.port, resolver.lifetime = port, limit
    try:
        answer = resolver.resolve(f"{name}.", kind, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return []
    except dns.resolver.NoNameservers as error:
        # The same class for a port that refuses and for an answer of SERVFAIL or REFUSED.
        code = re.search(r"answered ([A-Z]{4,})", str(error))
        if code is None:
            raise Silent(f"DNS server {server} does not answer") from error
        raise Broken(f"DNS server {server} answers {code[1]} for {kind}") from error
    except (dns.exception.DNSException, OSError) as error:
        raise Silent(f"DNS server {server} does not answer") from error
    records = answer.rrset or ()
    if kind == "CAA":
        return [f"{one.flags} {one.tag.decode()} {one.value.decode(errors='replace')}" for one in records]
    return [str(one) for one in records]


def policy(server: str, name: str) -> tuple[str, list[str]]:
    """The CAA records that count for a name: its own, else those of the nearest name above it (RFC 8659 §3).

    Returns:
        the name that has them and the records; two empty values when nobody has any.

    Raises:
        Silent, Broken.
    """
    labels = name.split(".")
    for start in range(len(labels)):
        place = ".".join(labels[start:])
        found = ask(server, place, "CAA")
        if found:
            return place, found
    return "", []


def permits(records: Iterable[str], issuer: str) -> bool:
    """Whether CAA records let an authority issue by http-01. Pure.

    Args:
        issuer: its domain name.
    """
    values = _issuers(records)
    # Only contacts and the like: nobody is kept out (RFC 8659 §4.2).
    return not values or any(_allows(value, issuer) for value in values)


def names_issuers(records: Iterable[str]) -> bool:
    """Whether CAA records keep any authority out. Pure."""
    return bool(_issuers(records))


def _issuers(records: Iterable[str]) -> list[str]:
    split = [record.split(" ", 2) for record in records]
    return [value for _, tag, value in split if tag.lower() == "issue"]


def _allows(value: str, issuer: str) -> bool:
    who, *parameters = (part.strip() for part in value.split(";"))
    methods = [one.partition("=")[2] for one in parameters if one.partition("=")[0].strip() == "validationmethods"]
    return who.lower() == issuer.lower() and all(METHOD in words.split(",") for words in methods)
