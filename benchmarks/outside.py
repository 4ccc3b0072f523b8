"""The site as visitors see it: load, and which version each domain shows."""

import http.client
import json
import ssl
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ground import Ground
from support.load import Load, Request, fetch
from support.stack import visits

from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.verification import PinnedConnection, tls_context

EVERY = 0.1


def load(ground: Ground, *, threads: int, seconds: float) -> Load:
    """Visitors of all domains over kept connections: pages, lists and posts, each answer compared."""
    settings = ground.settings
    return Load(
        visits(), address=settings.edge.address, port=settings.edge.https_port, context=tls_context(settings),
        threads=threads, pause=0.02, seconds=seconds,
    )  # fmt: skip


def served(settings: Settings, service: str, context: ssl.SSLContext) -> str:
    """The version that a domain shows over a connection of its own, empty when it does not answer."""
    spec = settings.services[service]
    request = Request(settings.domain(service), spec.health.path if spec.vhost == "api" else "/version.json")
    try:
        status, _, body = fetch(request, address=settings.edge.address, port=settings.edge.https_port, context=context)
        return str(json.loads(body)["version"]) if status == 200 else ""
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ""


class Asking:
    """Threads that ask from the beginning of a block until its end."""

    _threads: list[threading.Thread]

    def __init__(self) -> None:
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


class Watch(Asking):
    """Asks every domain for its version ten times a second until its block ends.

    Args:
        version: what they are to show.
    """

    def __init__(self, ground: Ground, version: str) -> None:
        super().__init__()
        self._settings, self._version = ground.settings, version
        self._context = tls_context(self._settings)
        self._first: dict[str, float] = {}
        self._all = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name,)) for name in self._settings.public]

    def wait(self, timeout: float) -> float:
        """Wait until every domain has shown the version; return the seconds from the block's begin until then.

        Raises:
            SystemExit: a domain has not shown it in time.
        """
        if not self._all.wait(timeout):
            missing = sorted(set(self._settings.public) - set(self._first))
            raise SystemExit(f"{', '.join(missing)}: {self._version} is not to be seen")
        return max(self._first.values())

    @property
    def mixed(self) -> float:
        """Seconds between the first domain with the new version and the last."""
        return max(self._first.values()) - min(self._first.values())

    def _ask(self, service: str) -> None:
        while not self._stop.is_set():
            if served(self._settings, service, self._context) == self._version:
                self._first[service] = time.monotonic() - self._started
                if len(self._first) == len(self._settings.public):
                    self._all.set()
                return
            self._stop.wait(EVERY)


class Pace(Asking):
    """Asks a service for its health, so many times a second over kept connections, and keeps how long each took.

    Args:
        rate: requests a second, all connections together.
        connections: a slow answer delays the next request of its own connection only.
    """

    def __init__(self, ground: Ground, service: str, *, rate: float, connections: int = 10) -> None:
        super().__init__()
        self._settings, self._service = ground.settings, service
        self._pause = connections / rate
        self._context = tls_context(self._settings)
        self.seconds: list[float] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(number / connections * self._pause,))
            for number in range(connections)
        ]

    def slowest(self, share: float) -> float:
        """Seconds within which this share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def _ask(self, delay: float) -> None:
        settings = self._settings
        connection = PinnedConnection(
            settings.domain(self._service), settings.edge.address, settings.edge.https_port, self._context
        )
        due = time.monotonic() + delay
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            started = time.monotonic()
            connection.request("GET", settings.services[self._service].health.path)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{settings.domain(self._service)} answers {answer.status} while it is measured")
            self.seconds.append(time.monotonic() - started)
            due += self._pause
        connection.close()
