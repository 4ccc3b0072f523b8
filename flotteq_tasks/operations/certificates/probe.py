"""Look at the edge from this machine: which certificate it shows, and whether a challenge can be fetched."""

import errno
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates.x509 import Certificate, read_der
from flotteq_tasks.operations.verification import tls_context

LIMIT = 10
# This machine has no way to such an address; that says nothing about the site.
_NO_ROUTE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH}


@dataclass(frozen=True)
class Shown:
    """What the edge showed for a name: ``problem`` says why nothing, ``distrust`` why it is not trusted here."""

    name: str
    certificate: Certificate | None = None
    problem: str = ""
    distrust: str = ""


def addresses(settings: Settings, name: str) -> list[str]:
    """Where a name is reached: the address of ``[edge]``, this machine for names below localhost, else what DNS says.

    Raises:
        OSError: DNS does not know the name.
    """
    if settings.edge.address:
        return [settings.edge.address]
    if name.endswith(".localhost"):
        return ["127.0.0.1"]
    found = socket.getaddrinfo(name, settings.edge.http_port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def show(settings: Settings, names: Iterable[str], *, verify: bool = True) -> list[Shown]:
    """Ask for the certificate of each name over TLS, all at once.

    Args:
        verify: find out, too, whether this machine trusts it: a second connection.
    """
    wanted = list(names)
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        return list(pool.map(lambda name: _show(settings, name, verify=verify), wanted))


def fetch(settings: Settings, name: str, address: str, token: str) -> tuple[str, bool]:
    """Fetch a challenge the way the certificate authority would, at one address of a name.

    Returns:
        what is wrong, empty when nothing, and whether this machine could look at all.
    """
    connection = http.client.HTTPConnection(address, settings.edge.http_port, timeout=LIMIT)
    try:
        connection.request("GET", f"/.well-known/acme-challenge/{token}", headers={"Host": name})
        response = connection.getresponse()
        body = response.read(1 << 12)
    except (OSError, http.client.HTTPException) as error:
        seen = not (_is_v6(address) and isinstance(error, OSError) and error.errno in _NO_ROUTE)
        return f"port {settings.edge.http_port} does not answer: {error or type(error).__name__}", seen
    finally:
        connection.close()
    if response.status == 200 and body.decode(errors="replace").strip() == token:
        return "", True
    return f"somebody else answers there (status {response.status} instead of the test file)", True


def _show(settings: Settings, name: str, *, verify: bool) -> Shown:
    try:
        address = addresses(settings, name)[0]
        certificate = _handshake(settings, name, address, verify=False)
    except (OSError, ssl.SSLError) as error:
        return Shown(name, problem=f"no TLS on port {settings.edge.https_port}: {error}")
    if certificate is None:
        return Shown(name, problem="no certificate was shown")
    if not verify:
        return Shown(name, certificate)
    try:
        _handshake(settings, name, address, verify=True)
    except ssl.SSLCertVerificationError as error:
        return Shown(name, certificate, distrust=error.verify_message)
    except OSError as error:
        return Shown(name, certificate, distrust=str(error))
    return Shown(name, certificate)


def _handshake(settings: Settings, name: str, address: str, *, verify: bool) -> Certificate | None:
    context = tls_context(settings, verify=verify)
    with (
        socket.create_connection((address, settings.edge.https_port), LIMIT) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        content = secured.getpeercert(binary_form=True)
    return read_der(content) if content else None


def _is_v6(address: str) -> bool:
    return ipaddress.ip_address(address).version == 6 if ":" in address else False
