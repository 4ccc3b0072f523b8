"""The sample stack on a sandbox host of the tests' own, with a project directory of its own."""

import difflib
import json
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flotteq_tasks.host.base import Done
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.stack import ScheduleSettings
from flotteq_tasks.operations.sandbox import lifecycle
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.files import Sandbox
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.wait import wait_until
from support.cli import Cli, Completed
from support.load import Load, Request, fetch

REPOSITORY = Path(__file__).resolve().parents[2]
# Two sessions on one machine need two of them.
INSTANCE = os.environ.get("FLOTTEQ_TEST_INSTANCE", "flotteq-test")
VERSION = "v1.0.0"
NEXT = "v1.1.0"
DOMAINS = {
    "backend": "api.flotteq.localhost",
    "frontend-client": "app.flotteq.localhost",
    "frontend-partner": "partner.flotteq.localhost",
    "frontend-driver": "driver.flotteq.localhost",
    "frontend-internal": "admin.flotteq.localhost",
}
API = DOMAINS["backend"]
FRONTENDS = tuple(name for name in DOMAINS if name != "backend")
SERVICES = ("postgres", "redis", *DOMAINS, "nginx", "certbot")

_LINKED = ("flotteq.toml", "tasks.py", "compose", "nginx", "sample", ".env.sandbox", ".sandbox")
# One client address sends all of the load: the limits of real life are the edge's own tests. Soaking is short. A timer
# that fired by itself would hold the lock that a test needs: all of them are half a day ahead.
_LOCAL = """
[environments.sandbox]
overlay = "{overlay}"
deploy = {{ monitor = 2, drain = 15, lease = 12 }}

[environments.sandbox.limits]
api_rate = 5000
api_burst = 5000
web_rate = 5000
web_burst = 5000
upload_burst = 5000
api_connections = 5000
web_connections = 5000
asset_connections = 5000

[environments.sandbox.schedule]
{schedule}
"""

_WIPE = """
docker ps --all --quiet | xargs -r docker rm --force --volumes >/dev/null
docker network prune --force >/dev/null
docker volume ls --quiet | xargs -r docker volume rm >/dev/null
rm -rf /opt/flotteq /var/backups/flotteq /var/log/flotteq
"""

# What an operation that fails must leave as it was. state/ holds the journal, releases/ what was staged and
# never used, assets/ and cache/ grow with what is asked for, by content hash; certbot notes when it looked last.
_SNAPSHOT = """
docker ps --all --no-trunc --format '{{.ID}} {{.Names}}' | sort
docker volume ls --quiet | sort
docker network ls --format '{{.Name}}' | sort
cd /opt/flotteq 2>/dev/null || exit 0
find . -path ./state -prune -o -path ./releases -prune -o -path ./assets -prune -o -path ./cache -prune \
    -o -path ./certbot/conf/renewal -prune -o -path './certbot/*/logs' -prune -o -type f -print0 \
    -o -type l -printf '%p %l\\0' | sort -z | tr '\\0' '\\n' | while IFS= read -r file; do
  if [ -f "$file" ] && [ ! -L "$file" ]; then stat -c '%a %u %g %n' "$file"; sha256sum "$file"; else echo "$file"; fi
done
cat state/current.json
"""


def make_project(directory: Path, overlay: str) -> Path:
    """Make a project as a user has it: the repository's files, settings and secrets of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in _LINKED:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(REPOSITORY / name)
    # The sandbox's clock is in UTC.
    far = f"*-*-* {datetime.now(UTC) + timedelta(hours=12):%H:%M}:00"
    times = (one.name for one in fields(ScheduleSettings) if isinstance(one.default, str))
    schedule = "\n".join(f'{name} = "{far}"' for name in times)
    (directory / "flotteq.local.toml").write_text(_LOCAL.format(overlay=overlay, schedule=schedule))
    return directory


@dataclass
class Stack:
    """The host, the project and the command line of one test session.

    Args:
        fresh: whether this session has installed it from nothing; then ``first`` holds what the first calls said.
    """

    sandbox: Sandbox
    inv: Cli
    fresh: bool
    first: dict[str, Completed]

    @property
    def project(self) -> Path:
        """The working directory of all calls."""
        return self.inv.project

    def host(self, script: str, *, check: bool = True, timeout: float = 120, stdin: bytes = b"") -> Done:
        """Run a shell script as root on the host, past its sshd."""
        return lifecycle.exec_on_host("sh", "-c", script, instance=INSTANCE, timeout=timeout, check=check, stdin=stdin)

    def wipe(self) -> None:
        """Make the host what it was before the first deploy."""
        self.host(_WIPE)

    def snapshot(self) -> str:
        """Containers, volumes, networks and files of the project on the host, as text that can be compared."""
        return self.host(_SNAPSHOT).out

    def containers(self) -> list[dict[str, Any]]:
        """What ``inv ps --json`` says."""
        found: list[dict[str, Any]] = json.loads(self.inv("ps", "--json").ok().out)
        return found

    def ids(self) -> dict[str, str]:
        """Name and ID of each container on the host."""
        lines = self.host("docker ps --all --no-trunc --format '{{.Names}} {{.ID}}'").out.splitlines()
        return dict(line.split() for line in lines)

    def status(self) -> dict[str, Any]:
        """What ``inv status --json`` says, whatever its exit code."""
        found: dict[str, Any] = json.loads(self.inv("status", "--json").out)
        return found

    def secret(self, name: str) -> str:
        """The value in the project's own store."""
        return self.secret_file(name).read_text()

    def secret_file(self, name: str) -> Path:
        """Where the project keeps a secret."""
        return self.project / ".secrets" / "sandbox" / name

    def trust(self) -> ssl.SSLContext:
        """Trust in the sandbox's own certificate authority and in nothing else."""
        context = ssl.create_default_context(cafile=str(self.sandbox.acme_root))
        context.check_hostname, context.verify_mode = True, ssl.CERT_REQUIRED
        return context

    def get(self, domain: str, path: str = "/") -> tuple[int, dict[str, str], bytes]:
        """Ask the edge over verified TLS."""
        edge = self.sandbox.edge
        return fetch(Request(domain, path), address=edge.address, port=edge.https_port, context=self.trust())

    def health(self) -> dict[str, Any]:
        """What the API says about itself."""
        code, _, body = self.get(API, "/api/health")
        assert code == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def load(self, *, threads: int = 6, pause: float = 0.01, seconds: float = 300) -> Load:
        """Visitors of all five domains: pages, lists and posts."""
        edge = self.sandbox.edge
        return Load(
            visits(), address=edge.address, port=edge.https_port, context=self.trust(), threads=threads,
            pause=pause, seconds=seconds,
        )  # fmt: skip

    def publish(self, version: str, *arguments: str, frontends: bool = False) -> str:
        """Build and push a version; frontends are those of v1.0.0 unless they are to be built, too. Return it."""
        flags = [flag for argument in arguments for flag in ("--arg", argument)]
        names = [] if frontends else ["--service", "backend"]
        self.inv("build", "--version", version, *names, *flags, timeout=900).ok()
        if not frontends:
            self._retag(version)
        self.inv("push", "--version", version, timeout=300).ok()
        return version

    def want_renewal(self, certificate: str = "flotteq") -> None:
        """Let the ACME server say that a certificate should have been renewed an hour ago (ARI)."""
        chain = self.host(f"cat /opt/flotteq/certbot/conf/live/{certificate}/fullchain.pem").out
        end = "-----END CERTIFICATE-----\n"
        now = datetime.now(UTC)
        window = {"start": now - timedelta(hours=2), "end": now - timedelta(hours=1)}
        answer = {"suggestedWindow": {key: f"{one:%Y-%m-%dT%H:%M:%SZ}" for key, one in window.items()}}
        body = {"Certificate": chain.partition(end)[0] + end, "ARIResponse": json.dumps(answer)}
        place = "https://localhost:15000/set-renewal-info/"
        words = ("curl", "-fsS", "--cacert", "/var/lib/acme/ca.pem", "-d", json.dumps(body), place)
        _docker().exec(Names(INSTANCE).acme, *words)
        # certbot asks again only after the server's own pause, six hours; here they have passed.
        self.host(f"sed -i '/^ari_retry_after/d' /opt/flotteq/certbot/conf/renewal/{certificate}.conf")

    def say_in_dns(self, what: str, **body: object) -> None:
        """Let the sandbox's DNS server answer differently: ``what`` is a path of its own interface."""
        words = ("curl", "-fsS", "-d", json.dumps(body), f"http://127.0.0.1:8055/{what}")
        _docker().exec(Names(INSTANCE).dns, *words)

    def _retag(self, version: str) -> None:
        docker = _docker()
        for name in (*FRONTENDS, "backup"):
            repository = f"{self.sandbox.push_server}/flotteq/flotteq-{name}"
            docker.run("tag", f"{repository}:{VERSION}", f"{repository}:{version}")

    def published(self, version: str) -> bool:
        """Whether the registry has the backend of a version."""
        path = f"/var/lib/registry/docker/registry/v2/repositories/flotteq/flotteq-backend/_manifests/tags/{version}"
        return _docker().exec(Names(INSTANCE).registry, "test", "-d", path, check=False).ok


def _docker() -> Docker:
    return Docker(LocalHost())


def difference(before: str, after: str) -> list[str]:
    """The lines in which two snapshots differ; empty when nothing was changed."""
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


def visits() -> list[Request]:
    """What visitors ask for, in turn."""
    return [
        Request(API, "/api/vehicles", expect=_is_json_list),
        Request(API, "/api/echo", method="POST", body=b'{"plate":"LOAD"}', expect=_echoes),
        *(Request(DOMAINS[name], "/", expect=_is_page) for name in FRONTENDS),
        Request(API, "/api/slow?ms=50", method="POST", body=b"{}"),
        Request(API, "/api/health", expect=_is_connected),
    ]


@contextmanager
def without_failure(load: Load, *, at_least: int = 0) -> Iterator[Load]:
    """Load around a block; afterwards not one request may have failed."""
    with load:
        load.wait_for(50)
        yield load
        load.wait_for(50)
        if load.result.total < at_least:
            load.wait_for(at_least - load.result.total, timeout=120)
    assert not load.result.failed, str(load.result)


def wait_for(check: Callable[[], Any], what: str, *, timeout: float = 60) -> Any:
    """Wait for a condition, never for a time."""
    return wait_until(lambda: check() or None, timeout=timeout, what=what, interval=0.2)


def _is_json_list(body: bytes) -> str:
    return "" if body.startswith((b"[", b"{")) and b"database" not in body else "not a list of vehicles"


def _echoes(body: bytes) -> str:
    return "" if b"LOAD" in body else "not what was sent"


def _is_page(body: bytes) -> str:
    return "" if b'id="root"' in body else "not the app's page"


def _is_connected(body: bytes) -> str:
    return "" if b'"connected"' in body else "the database is not connected"
