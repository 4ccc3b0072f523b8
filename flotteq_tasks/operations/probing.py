"""Requests from outside while something changes: how many, and how many failed."""

import http.client
import ssl
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.verification import LIMITED, PinnedConnection, problem, tls_context, words

# Two requests a second and domain: the frontends share one limit for each client address, and people use it, too.
INTERVAL = 0.5


@dataclass
class Tally:
    """What the probe saw so far. Safe to read while it runs.

    Args:
        sent: requests that the edge let through.
        failed: those without a right answer.
        limited: requests that the edge's rate limit refused; they say nothing about the release.
        first: what went wrong first, with domain and second.
    """

    sent: int = 0
    failed: int = 0
    limited: int = 0
    first: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, domain: str, wrong: str) -> None:
        """Add one request."""
        with self._lock:
            self.sent += 1
            if wrong:
                self.failed += 1
                self.first = self.first or f"{domain}: {wrong}"


@dataclass(frozen=True)
class _Watch:
    interval: float
    tally: Tally = field(default_factory=Tally)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def probing(settings: Settings, *, verify: Container[str], interval: float = INTERVAL) -> Iterator[Tally]:
    """Ask every public name again and again, over kept connections, until the block ends.

    Args:
        verify: names whose certificate is checked: all but those that none has been issued for.
        interval: seconds between two requests to one name.
    """
    watch = _Watch(interval)
    contexts = {checked: tls_context(settings, verify=checked) for checked in (True, False)}
    threads = [
        threading.Thread(target=_probe, args=(settings, service, contexts[name in verify], watch), daemon=True)
        for service, name in settings.public.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch.tally
    finally:
        watch.stop.set()
        for thread in threads:
            thread.join(timeout=15)


def _probe(settings: Settings, service: str, context: ssl.SSLContext, watch: _Watch) -> None:
    domain, health = settings.domain(service), settings.services[service].health
    connection = PinnedConnection(domain, settings.edge.address, settings.edge.https_port, context)
    while not watch.stop.is_set():
        started = time.monotonic()
        try:
            connection.request("GET", health.path, headers={"User-Agent": "flotteq-probe"})
            response = connection.getresponse()
            body = response.read(1 << 20).decode(errors="replace")
            if response.status == LIMITED:
                watch.tally.limited += 1
                watch.stop.wait(watch.interval)
                continue
            wrong = problem(response.status, body, health.expect)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            wrong = words(error)
        watch.tally.count(domain, wrong)
        watch.stop.wait(max(0.0, watch.interval - (time.monotonic() - started)))
    connection.close()
