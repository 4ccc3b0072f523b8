"""A headless Chromium that finds the sandbox's domains and trusts its certificate."""

import base64
import hashlib
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.packages import install_packages
from support.stack import API, Stack

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium(say: Callable[[str], None]) -> str:
    """Return the browser's path; as root on a machine with apt it is installed where it is missing."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return found
    install_packages("chromium", say=say)
    return find_chromium(say)


@dataclass
class Browser:
    """Pages of one profile, and all that went wrong in them."""

    context: "BrowserContext"
    complaints: list[str] = field(default_factory=list)

    def open(self, url: str) -> "Page":
        """Open a page; its errors, failed requests and refusals by the content policy are written down."""
        page = self.context.new_page()
        page.on("console", lambda said: self._complain(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("requestfailed", lambda request: self._complain(f"{request.url}: {request.failure}"))
        page.on("response", lambda got: self._complain(f"{got.url}: {got.status}") if got.status >= 400 else None)
        answer = page.goto(url, wait_until="load")
        assert answer is not None
        assert answer.status == 200
        return page

    def _complain(self, text: str) -> None:
        self.complaints.append(text)


@contextmanager
def browser(stack: Stack, executable: str, profile: Path) -> Iterator[Browser]:
    """Start Chromium for the sandbox's edge."""
    from playwright.sync_api import sync_playwright

    edge = stack.sandbox.edge
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=executable,
            headless=True,
            viewport={"width": 1000, "height": 800},
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                f"--host-resolver-rules=MAP *.flotteq.localhost:443 {edge.address}:{edge.https_port}",
                # The key of the certificate that was verified just now, and no other.
                f"--ignore-certificate-errors-spki-list={_key_hash(stack)}",
            ],
        )
        context.set_default_timeout(20_000)
        try:
            yield Browser(context)
        finally:
            context.close()


def _key_hash(stack: Stack) -> str:
    edge = stack.sandbox.edge
    with (
        socket.create_connection((edge.address, edge.https_port), 10) as plain,
        stack.trust().wrap_socket(plain, server_hostname=API) as tls,
    ):
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
