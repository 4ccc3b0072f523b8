"""Rules for what the edge is told: limits, times, sizes, proxies in front of it, headers and policies."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields

from flotteq_tasks.model import policy
from flotteq_tasks.model.edge import Limits
from flotteq_tasks.model.stack import Service, Settings
from flotteq_tasks.settings import schema

Finding = tuple[schema.Path, str]

# nginx keeps a file descriptor for the client and one for the app.
FILES_PER_CONNECTION = 2
# A directive of nginx is one line of at most 4096 bytes.
LONGEST = 2000
# Wider ones hold whole countries; 0.0.0.0/0 would believe everybody.
NARROWEST = {4: 8, 6: 16}
# Of one site at most; and room for two edges, one beside the other.
WIDEST_SUBNET, NARROWEST_SUBNET = 48, 112
_EXAMPLE = '"fd9b:6e4c:21d7::/64"'
_HEADER = r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"
_PATH = r"/[A-Za-z0-9_./-]*"
_SOURCE = re.compile(
    r"(?:https|wss|data|blob|mediastream):"
    r"|(?:(?:https|wss)://)?(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]{1,5}|:\*)?(?:/[A-Za-z0-9_./%~-]*)?"
)
_HASH = re.compile(r"'sha(?:256|384|512)-[A-Za-z0-9+/_-]+={0,2}'")


def check_edge(settings: Settings) -> Iterator[Finding]:
    """Return a key path and a message for each rule that is broken."""
    yield from _limits(settings.limits)
    yield from _numbers(settings)
    yield from _proxies(settings)
    for name, service in settings.services.items():
        for key, message in _public(service):
            yield ("services", name, "public", *key), message


def _limits(limits: Limits) -> Iterator[Finding]:
    for field in fields(limits):
        value = getattr(limits, field.name)
        path = ("limits", field.name)
        if field.name == "login_paths":
            yield from _paths(path, value)
        elif field.name == "hsts_seconds":
            if value < 0:
                yield path, f"{value} is less than 0: 0 makes browsers forget it"
        elif value == 0:
            yield path, "0 would refuse every request: write at least 1, a large number for no limit"
        elif value < 0:
            yield path, f"{value} is less than 1"
    if 0 < limits.upload_mb < limits.body_mb:
        yield ("limits", "upload_mb"), f"{limits.upload_mb} is less than limits.body_mb, {limits.body_mb}"


def _numbers(settings: Settings) -> Iterator[Finding]:
    for table in ("timeouts", "sizes"):
        values = getattr(settings.edge, table)
        for field in fields(values):
            value = getattr(values, field.name)
            if value < 1:
                yield ("edge", table, field.name), f"{value} is less than 1"
    sizes, timeouts = settings.edge.sizes, settings.edge.timeouts
    if sizes.gzip_level > 9:
        yield ("edge", "sizes", "gzip_level"), f"{sizes.gzip_level} is more than 9"
    least = FILES_PER_CONNECTION * sizes.worker_connections
    if sizes.open_files < least:
        yield ("edge", "sizes", "open_files"), f"{sizes.open_files} is less than {least}, two for each connection"
    if timeouts.keepalive < timeouts.keepalive_min:
        yield (
            ("edge", "timeouts", "keepalive"),
            f"{timeouts.keepalive} is less than edge.timeouts.keepalive_min, {timeouts.keepalive_min}",
        )


def _proxies(settings: Settings) -> Iterator[Finding]:
    path = ("edge", "trusted_proxies")
    for text in settings.edge.trusted_proxies:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            yield path, f'"{text}" is no network: write it like "203.0.113.0/24"'
            continue
        if network.prefixlen < NARROWEST[network.version]:
            yield path, f'"{text}" would believe whatever any client says about its address'
    if settings.edge.ipv6_subnet:
        reason = _subnet(settings.edge.ipv6_subnet)
        if reason:
            yield ("edge", "ipv6_subnet"), f'"{settings.edge.ipv6_subnet}" {reason}'
    if not re.fullmatch(_HEADER, settings.edge.client_header):
        yield ("edge", "client_header"), f'"{settings.edge.client_header}" is no name of a header'


def _subnet(text: str) -> str:
    """Say why containers cannot have addresses from it; empty when they can."""
    try:
        network = ipaddress.IPv6Network(text)
    except ValueError:
        return f"is no IPv6 network: write it like {_EXAMPLE}"
    if network.is_link_local or network.is_multicast or network.is_loopback or network.is_unspecified:
        return f"is no network for containers: take one of your own, like {_EXAMPLE}"
    if network.prefixlen < WIDEST_SUBNET or network.prefixlen > NARROWEST_SUBNET:
        return f"must be /{WIDEST_SUBNET} to /{NARROWEST_SUBNET}: 64 is usual"
    return ""


def _public(service: Service) -> Iterator[tuple[schema.Path, str]]:
    public = service.public
    for feature in public.permissions:
        if feature not in policy.FEATURES:
            yield ("permissions",), f'no browser feature "{feature}"{_meant(feature, policy.FEATURES)}'
    yield from _csp(service)
    for name, value in public.headers.items():
        reason = _header(name, value)
        if reason:
            yield ("headers", name), reason
    yield from _paths(("upload_paths",), public.upload_paths)
    if service.vhost == "web":
        if public.upload_paths != type(public)().upload_paths:
            yield ("upload_paths",), 'are for services with vhost = "api"'
    elif public.csp or public.csp_report_only or public.permissions:
        yield ("csp" if public.csp else "permissions",), 'is for services with vhost = "web": an API shows no page'


def _csp(service: Service) -> Iterator[tuple[schema.Path, str]]:
    for directive, sources in service.public.csp.items():
        path = ("csp", directive)
        if directive not in policy.DIRECTIVES:
            yield path, f'no CSP directive "{directive}"{_meant(directive, policy.DIRECTIVES)}'
        for source in sources:
            reason = _source(source)
            if reason:
                yield path, reason
    if len(policy.content_policy(service.public.csp, [])) > LONGEST:
        yield ("csp",), f"makes a header of more than {LONGEST} characters: name fewer sources"


def _source(source: str) -> str:
    """Say why browsers would not read a source as it is meant; empty when they would."""
    if source in policy.KEYWORDS and source != "'none'":
        return ""
    if source == "'none'":
        return "'none' adds nothing: leave it out"
    if _HASH.fullmatch(source) or _SOURCE.fullmatch(source):
        return ""
    bare = f"'{source.strip(chr(39))}'"
    if bare in policy.KEYWORDS:
        return f'{source} needs its single quotes: "{bare}"'
    near = schema.nearest(source, policy.KEYWORDS)
    if near and source.startswith("'"):
        return f'no CSP keyword {source}, did you mean "{near}"?'
    return f'"{source}" is no source: write https://host, *.host, data: or a keyword in single quotes'


def _header(name: str, value: str) -> str:
    """Say why a header cannot be sent; empty when it can."""
    if not re.fullmatch(_HEADER, name):
        return "is no name of a header: use letters, digits and -"
    owned = next((one for one in policy.OWNED if one.lower() == name.lower()), "")
    if owned:
        keys = {"Content-Security-Policy": ": use public.csp", "Permissions-Policy": ": use public.permissions"}
        return f"{owned} is the edge's own{keys.get(owned, '')}"
    if re.search(r"[\r\n]", value):
        return "has a line break: what follows it would be a header of its own"
    bad = re.search(r"[^ -~]|[\"\\$]", value)
    if bad:
        return f"may not hold {bad.group()!r}: use printable ASCII without quotation marks, backslashes and $"
    if not value or len(value) > LONGEST:
        return "is empty" if not value else f"is longer than {LONGEST} characters"
    return ""


def _paths(path: schema.Path, values: Iterable[str]) -> Iterator[Finding]:
    for value in values:
        if not re.fullmatch(_PATH, value) or ".." in value:
            yield path, f'"{value}" is no path: begin it with / and use letters, digits and _ . - /'


def _meant(word: str, choices: Iterable[str]) -> str:
    near = schema.nearest(word, choices)
    return f', did you mean "{near}"?' if near else f"; there are: {', '.join(choices)}"
