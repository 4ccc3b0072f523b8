"""A small load generator: keep-alive connections over verified TLS, failures counted by kind. Loopback only."""

import http.client
import ipaddress
import itertools
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

LIMIT = 20


@dataclass(frozen=True)
class Request:
    """One kind of request. ``expect`` says what is wrong with a body, nothing when it is right."""

    domain: str
    path: str
    method: str = "GET"
    body: bytes = b""
    expect: Callable[[bytes], str] = field(default=lambda body: "")


@dataclass
class Result:
    """What came of it. A failure's kind is refused, reset, timeout, 5xx, 4xx, body or the error's name."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    versions: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    slowest: float = 0.0
    reconnects: int = 0

    @property
    def total(self) -> int:
        """Requests that were sent."""
        return sum(self.answered.values()) + sum(self.failed.values())

    def __str__(self) -> str:
        return (
            f"{self.total} requests ({dict(self.answered)}), {sum(self.failed.values())} failed {dict(self.failed)}, "
            f"slowest {self.slowest:.2f} s, versions {self.versions}, {self.reconnects} reconnects {self.examples[:5]}"
        )


class Load:
    """Sends requests in a loop from several threads for as long as its block lasts, at most ``seconds``.

    Args:
        address: where the edge listens; an address of the loopback range.
        pause: seconds between two requests of one thread.
        faithful: each thread stays with one domain, so that no connection idles while the thread asks elsewhere.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        *,
        address: str,
        port: int,
        context: ssl.SSLContext,
        threads: int = 6,
        pause: float = 0.01,
        seconds: float = 300,
        faithful: bool = False,
    ) -> None:
        assert ipaddress.ip_address(address).is_loopback, "load goes to this machine only"
        self.requests, self.address, self.port, self.context = requests, address, port, context
        self.pause, self.deadline = pause, time.monotonic() + seconds
        self._domains = list(dict.fromkeys(one.domain for one in requests)) if faithful else []
        self.result = Result()
        self._turn, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LIMIT + 5)

    def wait_for(self, more: int, *, timeout: float = 60) -> None:
        """Wait until so many more requests have been answered or have failed."""
        wanted, deadline = self.result.total + more, time.monotonic() + timeout
        while self.result.total < wanted:
            assert time.monotonic() < deadline, f"{self.result.total} of {wanted} requests after {timeout:g} s"
            time.sleep(0.05)

    def _run(self, number: int) -> None:
        connections: dict[str, _Pinned] = {}
        domain = self._domains[number % len(self._domains)] if self._domains else ""
        requests = [one for one in self.requests if domain in ("", one.domain)]
        for request in itertools.islice(itertools.cycle(requests), number, None):
            if self._stop.is_set() or time.monotonic() > self.deadline:
                break
            connection = connections.setdefault(
                request.domain, _Pinned(request.domain, self.address, self.port, self.context)
            )
            self._one(connection, request)
            time.sleep(self.pause)
        for connection in connections.values():
            connection.close()

    def _one(self, connection: "_Pinned", request: Request) -> None:
        started = time.monotonic()
        if connection.dropped():
            connection.close()
            self.result.reconnects += 1
        try:
            headers = {"Content-Type": "application/json"} if request.body else {}
            connection.request(request.method, request.path, body=request.body or None, headers=headers)
            response = connection.getresponse()
            body, status = response.read(), response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._failed(_kind(error), request, repr(error))
            return
        wrong = f"{status // 100}xx" if status >= 400 else "body" if request.expect(body) else ""
        with self._turn:
            self.result.slowest = max(self.result.slowest, time.monotonic() - started)
            version = response.headers.get("X-App-Version", "")
            if version and version not in self.result.versions:
                self.result.versions.append(version)
            if not wrong:
                self.result.answered[request.method] += 1
                return
        self._failed(wrong, request, f"{status} {body[:200]!r}")

    def _failed(self, kind: str, request: Request, what: str) -> None:
        with self._turn:
            self.result.failed[kind] += 1
            self.result.examples.append(f"{request.method} {request.domain}{request.path}: {what}")


class _Pinned(http.client.HTTPSConnection):
    def __init__(self, domain: str, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(domain, port, timeout=LIMIT, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), LIMIT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)

    def dropped(self) -> bool:
        """Whether the server has closed the idle connection: every HTTP client looks before it uses one again."""
        if self.sock is None:
            return False
        # Not select(): it takes no more than 1,024 open files.
        waiting = select.poll()
        waiting.register(self.sock, select.POLLIN)
        return bool(waiting.poll(0))


def fetch(request: Request, *, address: str, port: int, context: ssl.SSLContext) -> tuple[int, dict[str, str], bytes]:
    """Send one request and return status, headers and body."""
    connection = _Pinned(request.domain, address, port, context)
    try:
        connection.request(request.method, request.path, body=request.body or None)
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionError | http.client.RemoteDisconnected):
        return "reset"
    return type(error).__name__
