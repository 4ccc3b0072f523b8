"""The edge as the outside sees it: protocols, names, headers, caches, limits, ports."""

import math
import re
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from flotteq_tasks.host import interruption
from flotteq_tasks.model.stack import Settings, Vhost
from flotteq_tasks.operations.audit import checks, hello, zone
from flotteq_tasks.operations.audit.asking import Visitor, modern_context, old_context
from flotteq_tasks.operations.audit.checks import Check
from flotteq_tasks.operations.verification import tls_context, words

FOREIGN = "unknown.invalid"
HIDDEN = ("/.env", "/.git/config", "/stub_status", "/metrics")
MISSING = "/assets/missing-Ab3dEf9h.js"
# What a stack has, and what should not be reached from outside: databases, engines, consoles, metrics.
INTERNAL_PORTS = (2375, 2376, 3000, 3306, 5000, 5432, 6379, 8080, 8081, 9000, 9090, 9100, 9200, 27017)
PAGE = 60
AT_ONCE = 30
# Larger bursts are not used up for a look.
LARGEST_BURST = 200
_ASSET = re.compile(rb"[\"'](/assets/[^\"']+\.(?:js|css))[\"']")


def audit_edge(settings: Settings, *, limits: bool = False) -> list[Check]:
    """Look at every public name from this machine.

    Args:
        limits: use up this machine's own limits, too, and see that they hold: it gets 429 for some seconds afterwards.
    """
    visitor = Visitor(settings)
    kinds = {domain: settings.services[name].vhost for name, domain in settings.public.items()}
    parts: list[Callable[[], list[Check]]] = [lambda: list(_everywhere(visitor))]
    parts += [lambda d=domain, k=kind: list(_domain(visitor, d, k)) for domain, kind in kinds.items()]  # type: ignore[misc]
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        found = [check for part in pool.map(lambda part: part(), parts) for check in part]
    interruption.check()
    if limits:
        found += [check for domain, kind in kinds.items() if kind == "api" for check in _limits(visitor, domain)]
    return found


def _everywhere(visitor: Visitor) -> Iterator[Check]:
    """What is true of the edge, whatever the name."""
    domain = next(iter(visitor.settings.public.values()))
    answer = visitor.ask(domain, "/", host=FOREIGN, plain=True)
    told = f"{answer.status} {answer.header('Location')}".strip() if answer.status else "no answer"
    yield Check("foreign-host-http", "", told, ok=not answer.status)
    answer = visitor.ask(domain, "/", host=FOREIGN)
    yield Check("foreign-host-https", "", f"{answer.status or answer.problem}", ok=answer.status in {0, 421})
    for name, asked, what in (("foreign-name", FOREIGN, "another name"), ("no-name", "", "no name")):
        try:
            visitor.handshake(asked, modern_context())
            yield Check(name, "", f"shows a certificate to whoever asks for {what}", ok=False)
        except OSError as error:
            refused = isinstance(error, ssl.SSLError)
            yield Check(name, "", "refused in the handshake" if refused else words(error), ok=refused)
    with ThreadPoolExecutor(max_workers=len(INTERNAL_PORTS)) as pool:
        is_open = dict(zip(INTERNAL_PORTS, pool.map(visitor.connects, INTERNAL_PORTS), strict=True))
    reached = [port for port in INTERNAL_PORTS if is_open[port]]
    named = ", ".join(str(port) for port in reached)
    yield Check("ports", "", f"open: {named}" if reached else "none of the internal ones", ok=not reached,
                fix="only the edge has ports: in the Compose file; close what else listens on the host")  # fmt: skip


def _domain(visitor: Visitor, domain: str, kind: Vhost) -> Iterator[Check]:
    yield from _tls(visitor, domain)
    yield zone.caa(visitor.settings, domain)
    suffix = "" if visitor.settings.edge.https_port == 443 else f":{visitor.settings.edge.https_port}"
    plain = visitor.ask(domain, "/a/b?c=d", method="POST", plain=True)
    yield checks.redirect(domain, plain, f"https://{domain}{suffix}/a/b?c=d")
    page = visitor.ask(domain, "/", headers={"Accept-Encoding": "identity"})
    yield from checks.headers(domain, "page", page)
    yield checks.policy(domain, kind, page)
    yield checks.page_cache(domain, page)
    for path in HIDDEN if kind == "web" else HIDDEN[2:]:
        yield checks.private(domain, path, visitor.ask(domain, path))
    large = visitor.ask(domain, "/", method="POST", headers={"Content-Length": str(1 << 40)})
    yield checks.too_large(domain, kind, large)
    yield from checks.headers(domain, "too-large", large)
    if kind == "web":
        yield from _assets(visitor, domain, page.body)


def _tls(visitor: Visitor, domain: str) -> Iterator[Check]:
    try:
        visitor.handshake(domain, tls_context(visitor.settings))
        yield Check("certificate", domain, "trusted")
    except OSError as error:
        yield Check("certificate", domain, words(error), ok=False, fix="inv ssl.status")
    try:
        version, protocol = visitor.handshake(domain, modern_context())
        yield Check("tls", domain, f"{version}, {protocol or 'no ALPN'}", ok=(version, protocol) == ("TLSv1.3", "h2"))
    except OSError as error:
        yield Check("tls", domain, words(error), ok=False)
    try:
        hybrid = visitor.negotiates(domain, hello.X25519MLKEM768)
        yield Check("tls-hybrid", domain, f"X25519MLKEM768 is {'negotiated' if hybrid else 'refused'}", ok=hybrid,
                    fix="an image whose nginx has OpenSSL 3.5 or later: inv nginx.upgrade")  # fmt: skip
    except OSError as error:
        yield Check("tls-hybrid", domain, words(error), ok=False)
    try:
        version, _ = visitor.handshake(domain, old_context())
        yield Check("tls-old", domain, f"{version} is still spoken", ok=False)
    except OSError:
        yield Check("tls-old", domain, "nothing before TLS 1.2")


def _assets(visitor: Visitor, domain: str, page: bytes) -> Iterator[Check]:
    missing = visitor.ask(domain, MISSING)
    yield checks.missing_asset(domain, missing)
    yield from checks.headers(domain, "missing", missing)
    found = _ASSET.search(page)
    if found is None:
        return
    path = found[1].decode(errors="replace")
    answer = visitor.ask(domain, path, headers={"Accept-Encoding": "gzip"})
    yield checks.asset_cache(domain, path, answer)
    coding, vary = answer.header("Content-Encoding"), answer.header("Vary")
    small = len(answer.body) < visitor.settings.edge.sizes.gzip_bytes
    yield Check("compression", domain, coding or "none", ok=small or (bool(coding) and "Accept-Encoding" in vary))
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        statuses = list(pool.map(lambda _: visitor.ask(domain, path).status, range(PAGE)))
    good = statuses.count(200)
    yield Check("page-load", domain, f"{good} of {PAGE} files at once", ok=good == PAGE, fix="limits.asset_connections")


def _limits(visitor: Visitor, domain: str) -> Iterator[Check]:
    limits, waits = visitor.settings.limits, visitor.settings.edge.timeouts
    # The login first: what it is refused by must not be the rate of all requests.
    for name, burst, wait, path, method in (
        ("limit-login", limits.login_burst, math.ceil(60 / limits.login_rate), limits.login_paths[:1], "POST"),
        ("limit-requests", limits.api_burst, waits.retry_after_limit, ("/flotteq-audit",), "GET"),
    ):
        if not path or burst > LARGEST_BURST:
            yield Check(name, domain, f"not tried: a burst of {burst}")
            continue
        # As many again are refused; a high rate lets some more through meanwhile.
        count = (2 if method == "POST" else 4) * (burst + 1)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            answers = list(pool.map(lambda _, p=path[0], m=method: visitor.ask(domain, p, method=m), range(count)))
        yield checks.refused(domain, name, answers, str(wait))
