"""A running edge, its clients and a stand-in for all apps behind it."""

import base64
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from flotteq_tasks.commands.compose import Compose
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.edge import EdgeSettings, Limits, PublicSettings
from flotteq_tasks.model.stack import (
    DeploySettings,
    HostSettings,
    Project,
    Registry,
    Service,
    Settings,
)
from flotteq_tasks.operations.wait import wait_until

API, APP, OTHER = "api.fleet.localhost", "app.fleet.localhost", "admin.fleet.localhost"
CHUNK = "/assets/index-DiwrgT3a.js"
GENEROUS = Limits(
    api_rate=1000, api_burst=1000, web_rate=1000, web_burst=1000, upload_burst=1000, login_rate=1000, login_burst=1000,
    upload_mb=2,
)  # fmt: skip
# What the links below certs/ lead to once a certificate with all names is issued.
ISSUED = {"current": "rel-1"}
OWN_POLICY = "default-src 'self'; frame-ancestors 'none'"


def docker(*words: str, check: bool = True) -> str:
    """Run the Docker CLI of this machine and return what it prints."""
    done = subprocess.run(["docker", *words], check=check, capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).strip()


class Apps(BaseHTTPRequestHandler):
    """Answers for every app: echoes, assets, a WebSocket, headers that the edge must not say twice."""

    protocol_version = "HTTP/1.1"
    known: ClassVar[set[str]] = {CHUNK}
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Apps.seen.append(self.path)
        if self.headers.get("Upgrade") == "websocket":
            self._websocket()
        elif self.path.startswith("/assets/fallback-"):
            self._answer(200, b"<!doctype html>the app", "text/html")
        elif self.path.startswith("/assets/"):
            hit = self.path in self.known
            self._answer(200 if hit else 404, b"x = 1;\n" * 400 if hit else b"missing", "application/javascript")
        elif self.path.startswith(("/api", "/socket.io/", "/uploads/")):
            body = {
                "method": self.command,
                "path": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
            }
            self._answer(200, json.dumps(body).encode(), "application/json")
        else:
            self._answer(
                200, f'<!doctype html><script src="{CHUNK}"></script>'.encode() + b"the app " * 400, "text/html"
            )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(200, json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        for name in ("X-Frame-Options", "Strict-Transport-Security", "X-Powered-By", "Cache-Control", "X-Robots-Tag"):
            self.send_header(name, "from the app")
        if self.path.startswith("/own-policy"):
            self.send_header("Content-Security-Policy", OWN_POLICY)
        self.end_headers()
        self.wfile.write(body)

    def _websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        # What comes is sent back as it is: the frames are the client's business.
        while chunk := self.connection.recv(4096):
            self.connection.sendall(chunk)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Listener(ThreadingHTTPServer):
    """Takes all connections that an edge under load opens at once: the usual five would let it wait for seconds."""

    daemon_threads = True
    request_queue_size = 256


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that must not come twice."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def json(self) -> dict[str, object]:
        """The body as JSON."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class OneContainer(Compose):
    """``docker exec`` in place of ``docker compose exec``: in the edge, or in certbot's container."""

    container: str = ""
    certbot: str = ""

    def exec(self, service: str, command: Iterable[str], *, tty: bool = False, user: str = "") -> Command:
        """Run a command in the container of the service."""
        return Command("docker", "exec", self.certbot if service == "certbot" else self.container, command)


@dataclass
class Edge:
    """A running edge."""

    container: str
    directory: Path
    settings: Settings
    upstreams: dict[str, list[str]]
    http_port: int = 0
    https_port: int = 0
    context: ssl.SSLContext = field(default_factory=ssl._create_unverified_context)

    @property
    def files(self) -> Path:
        """The rendered set."""
        return self.directory / "nginx"

    @property
    def reach(self) -> Settings:
        """The settings with the ports that this test reaches it by."""
        return replace(self.settings, edge=EdgeSettings("127.0.0.1", self.http_port, self.https_port))

    @property
    def compose(self) -> "OneContainer":
        """Stands for the Compose project: there is one container."""
        return OneContainer("fleet", str(self.directory), container=self.container)

    def find_ports(self) -> None:
        """Ask where it is published; a restart changes that."""
        self.http_port, self.https_port = (
            int(docker("port", self.container, port).splitlines()[0].rpartition(":")[2]) for port in ("80", "443")
        )

    def restart(self) -> None:
        """Let nginx start anew, with the files that are there."""
        docker("restart", "--time", "2", self.container)
        wait_until(self.generation, timeout=20, what="nginx to start", interval=0.1)
        self.find_ports()

    def tls(self, name: str) -> ssl.SSLSocket:
        """A TLS connection that asks for a name; an empty one: for none."""
        plain = socket.create_connection(("127.0.0.1", self.https_port), 10)
        try:
            return self.context.wrap_socket(plain, server_hostname=name or None)
        except BaseException:
            plain.close()
            raise

    def websocket(self, path: str) -> ssl.SSLSocket:
        """A WebSocket to the API, open."""
        secured = self.tls(API)
        secured.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {API}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert secured.recv(4096).startswith(b"HTTP/1.1 101 ")
        return secured

    def connect(self, host: str, *, plain: bool = False, sni: str = "") -> http.client.HTTPConnection:
        """A connection that requests can be sent on."""
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.sock = (
            socket.create_connection(("127.0.0.1", self.http_port), 10) if plain else self.tls(sni or host)
        )
        return connection

    def ask(
        self,
        host: str,
        path: str = "/",
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        plain: bool = False,
        sni: str = "",
    ) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect(host, plain=plain, sni=sni)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command in the container."""
        return docker("exec", self.container, *words, check=check)

    def generation(self) -> str | None:
        """What the running configuration calls itself; None while nothing answers."""
        answer = self.run("curl", "-fsS", "http://127.0.0.1:8081/healthz", check=False)
        return None if answer.startswith("curl") else answer

    def logged(self, text: str, count: int = 1) -> list[str]:
        """The lines of the access log with a text; Docker writes them a moment later than nginx."""

        def lines() -> list[str] | None:
            found = [
                line for line in docker("logs", self.container).splitlines() if line.startswith("{") and text in line
            ]
            return found if len(found) >= count else None

        return wait_until(lines, timeout=10, what=f"{count} lines of the log with {text}", interval=0.1)


def small_settings(port: int, limits: Limits, directory: Path, edge: EdgeSettings) -> Settings:
    """Three public names, all of them answered by the apps."""
    api = PublicSettings(upload_paths=("/api/upload", "/api/stripe/"))
    client = PublicSettings(
        permissions=("geolocation",),
        csp={"script-src": ("https://js.pay.example",)},
        headers={"X-Robots-Tag": "noindex"},
    )
    return Settings(
        project=Project(name="fleet", domain="fleet.localhost", directory=str(directory)),
        host=HostSettings(address="local"),
        registry=Registry(server="registry.invalid"),
        services={
            "backend": Service(kind="rolling", image="backend", port=port, subdomain="api", vhost="api", public=api),
            "frontend-client": Service(kind="rolling", image="client", port=port, subdomain="app", public=client),
            "frontend-internal": Service(kind="rolling", image="internal", port=1, subdomain="admin"),
            "nginx": Service(kind="edge", image="nginx"),
        },
        limits=limits,
        edge=edge,
        deploy=DeploySettings(drain=5),
    )


def put(root: Path, files: dict[str, bytes]) -> None:
    """Write files that the workers of nginx may read."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        part.chmod(0o644)
        part.replace(target)
