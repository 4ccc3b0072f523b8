"""Single requests to an edge, with names and hosts that browsers would not combine."""

import http.client
import socket
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.audit import hello
from flotteq_tasks.operations.certificates.probe import addresses
from flotteq_tasks.operations.verification import LIMIT, words

# More than this of an answer is not looked at.
ENOUGH = 1 << 21


@dataclass(frozen=True)
class Response:
    """An answer with its headers as they came, or why there was none."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    problem: str = ""

    def header(self, name: str) -> str:
        """A header's value; empty without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def twice(self) -> list[str]:
        """Names of headers that came more than once; cookies may."""
        names = [key.lower() for key, _ in self.headers if key.lower() != "set-cookie"]
        return sorted({name for name in names if names.count(name) > 1})


@dataclass(frozen=True)
class Visitor:
    """Somebody outside who asks an environment's edge."""

    settings: Settings

    def ask(
        self,
        domain: str,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        host: str = "",
        plain: bool = False,
    ) -> Response:
        """Send one request on a connection of its own; the certificate is not checked.

        Args:
            host: the Host header, where it is not the domain.
            plain: over http.
        """
        try:
            raw = self._open(domain, plain=plain)
        except OSError as error:
            return Response(problem=words(error))
        connection = http.client.HTTPConnection(domain, timeout=LIMIT)
        connection.sock = raw
        sent = {"User-Agent": "flotteq-tasks", "Accept": "*/*", "Host": host or domain, **(headers or {})}
        try:
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            return Response(answer.status, tuple(answer.getheaders()), answer.read(ENOUGH))
        except (OSError, http.client.HTTPException) as error:
            return Response(problem=words(error))
        finally:
            connection.close()

    def handshake(self, name: str, context: ssl.SSLContext) -> tuple[str, str]:
        """Return version and application protocol of a TLS connection.

        Args:
            name: asked for in the handshake; empty: none is.

        Raises:
            OSError: it did not come about.
        """
        with self._open(name, plain=False, context=context) as secured:
            assert isinstance(secured, ssl.SSLSocket)  # noqa: S101 - it is not plain
            return secured.version() or "", secured.selected_alpn_protocol() or ""

    def negotiates(self, name: str, group: int) -> bool:
        """Whether a client that knows one group of key exchange only is taken (``hello.negotiates``).

        Raises:
            OSError: nothing answers.
        """
        with self._connect(name, self.settings.edge.https_port) as opened:
            return hello.negotiates(opened, name, group)

    def connects(self, port: int) -> bool:
        """Whether a port of the edge's host takes connections from here."""
        try:
            with socket.create_connection((self._address(next(iter(self.settings.public.values()))), port), 2):
                return True
        except OSError:
            return False

    def _open(self, name: str, *, plain: bool, context: ssl.SSLContext | None = None) -> socket.socket:
        opened = self._connect(name, self.settings.edge.http_port if plain else self.settings.edge.https_port)
        if plain:
            return opened
        try:
            return (context or _unverified()).wrap_socket(opened, server_hostname=name or None)
        except BaseException:
            opened.close()
            raise

    def _connect(self, name: str, port: int) -> socket.socket:
        return socket.create_connection((self._address(name), port), LIMIT)

    def _address(self, name: str) -> str:
        """A foreign name is asked for at the first of the stack's own."""
        known = name if name in self.settings.public.values() else next(iter(self.settings.public.values()))
        return addresses(self.settings, known)[0]


def modern_context() -> ssl.SSLContext:
    """What a browser offers, without looking at the certificate."""
    context = _unverified()
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def old_context() -> ssl.SSLContext:
    """What a browser of 2012 offers: TLS 1.1 at most."""
    context = _unverified()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    # OpenSSL's own default would keep the client from asking.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _unverified() -> ssl.SSLContext:
    # Not create_default_context: reading the system's roots takes longer than a request.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
