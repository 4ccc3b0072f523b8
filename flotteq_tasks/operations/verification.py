"""Ask every public name from outside, over TLS, the way a browser would."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import Unhealthy
from flotteq_tasks.model.stack import Settings

LIMIT = 10
# The edge's rate limit: other requests from this address used it up. It says nothing about the application.
LIMITED = 429
TRIES = 5


@dataclass(frozen=True)
class Answer:
    """What a domain answered. ``problem`` is empty when it is as it must be."""

    service: str
    domain: str
    status: int
    seconds: float
    problem: str = ""

    @property
    def limited(self) -> bool:
        """Whether the edge's rate limit answered: it serves, but nothing can be said of the service from here."""
        return self.status == LIMITED


class PinnedConnection(http.client.HTTPSConnection):
    """Connects to a given address while TLS and the Host header carry the public name."""

    def __init__(self, domain: str, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(domain, port, timeout=LIMIT, context=context)
        self._address = address or domain
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), LIMIT)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def tls_context(settings: Settings, *, verify: bool = True) -> ssl.SSLContext:
    """What certificates are checked against: the system's roots, and the ACME server's own where it is private."""
    context = ssl.create_default_context()
    root = settings.root / settings.acme.root_file if settings.acme.root_file else None
    if root is not None and Path(root).exists():
        context.load_verify_locations(cafile=str(root))
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def ask(settings: Settings, service: str, *, verify: Container[str] | None = None) -> Answer:
    """Ask one service's public name for its health path; a request that the rate limit refuses is sent again.

    Args:
        verify: names whose certificate is checked: all but those that none has been issued for. None: all.
    """
    context = tls_context(settings, verify=verify is None or settings.domain(service) in verify)
    for turn in range(1, TRIES + 1):
        interruption.check()
        answer = _ask_once(settings, service, context)
        if not answer.limited or turn == TRIES:
            break
        time.sleep(0.5 * turn)
    return replace(answer, problem="") if answer.limited else answer


def _ask_once(settings: Settings, service: str, context: ssl.SSLContext) -> Answer:
    domain, health = settings.domain(service), settings.services[service].health
    started = time.monotonic()
    connection = PinnedConnection(domain, settings.edge.address, settings.edge.https_port, context)
    try:
        connection.request("GET", health.path, headers={"User-Agent": "flotteq-tasks", "Accept": "*/*"})
        response = connection.getresponse()
        status, body = response.status, response.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        return Answer(service, domain, 0, time.monotonic() - started, problem=words(error))
    finally:
        connection.close()
    wrong = problem(status, body.decode(errors="replace"), health.expect)
    return Answer(service, domain, status, time.monotonic() - started, problem=wrong)


def problem(status: int, body: str, expect: Mapping[str, str]) -> str:
    """Return what is wrong with an answer, nothing when it is as it must be.

    Args:
        expect: JSON fields (dots go deeper) and the values they must have.
    """
    if status != 200:
        return f"status {status} instead of 200" if status else f"no answer: {body[:200]}"
    if not expect:
        return ""
    try:
        document = json.loads(body)
    except ValueError:
        return "the answer is not JSON"
    wrong = [
        f"{path} is {_field(document, path)!r} instead of {value!r}"
        for path, value in expect.items()
        if str(_field(document, path)) != value
    ]
    return "; ".join(wrong)


def verify_domains(
    settings: Settings, *, verify: Container[str] | None = None, maintenance: bool = False
) -> list[Answer]:
    """Ask all public names at once, in the order of flotteq.toml.

    Args:
        verify: as in ``ask``.
        maintenance: the maintenance page is on: a 503 is as it must be.
    """
    names = list(settings.public)
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        answers = list(pool.map(lambda name: ask(settings, name, verify=verify), names))
    return [replace(one, problem="") if maintenance and one.status == 503 else one for one in answers]


def require(answers: list[Answer]) -> None:
    """Raise when an answer is not as it must be.

    Raises:
        Unhealthy: names each domain and what is wrong.
    """
    bad = [answer for answer in answers if answer.problem]
    if bad:
        raise Unhealthy(
            "from outside, " + "; ".join(f"https://{one.domain} is not right: {one.problem}" for one in bad),
            hint="inv logs --service nginx",
        )


def _field(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def words(error: Exception) -> str:
    """A failed request in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT} s"
    return str(error) or type(error).__name__
