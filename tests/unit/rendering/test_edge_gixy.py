"""gixy-ng reads the rendered edge as ``nginx -T`` would print it, and finds nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from edge_rendering_fixture import ISSUED, UPSTREAMS, fixture

from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.rendering.nginx import render_edge

# What its database of vulnerabilities is asked about: the least version that the image may have.
VERSION = "1.30.6"
NAIVE = """
events {}
http {
    server {
        listen 443 ssl;
        ssl_protocols TLSv1 TLSv1.2;
        server_tokens on;
        add_header X-Frame-Options DENY;
        location /files { alias /srv/files/; add_header Cache-Control no-store; }
        location / { proxy_set_header Host $http_host; proxy_pass http://backend; }
    }
}
"""


def gixy(folder: Path, text: str) -> set[str]:
    """Names of the checks that found something."""
    file = folder / "dump.conf"
    file.write_text(text)
    words = [str(Path(sys.executable).parent / "gixy"), "--format", "json", "--nginx-version", VERSION, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {0, 1}, done.stderr
    # An include that it cannot read would hide what is in it; the map of file types is nginx's own.
    unread = re.findall(r"(?:File not found|No such file)[^\n]*", done.stderr)
    assert all("/etc/nginx/mime.types" in line for line in unread), unread
    return {one["plugin"] for one in json.loads(done.stdout)}


def dump(settings: Settings) -> str:
    """The set in one text, each file under the line by which ``nginx -T`` names it, the main one first."""

    def parts() -> Iterator[str]:
        files = render_edge(settings, UPSTREAMS, certificates=ISSUED)
        for path in sorted(files, key=lambda path: (path != "nginx.conf", path)):
            if path.endswith((".conf", ".allow")):
                yield f"# configuration file /etc/nginx/flotteq/{path}:\n{files[path].decode()}\n"

    return "".join(parts())


@pytest.mark.parametrize("edge", [EdgeSettings(), EdgeSettings(http3=True, trusted_proxies=("203.0.113.0/24",))])
def test_the_rendered_edge_has_no_finding(tmp_path: Path, edge: EdgeSettings) -> None:
    settings = replace(fixture(), edge=edge)
    text = dump(settings)
    assert all(name in text for name in settings.public.values())
    assert gixy(tmp_path, text) == set()


def test_a_naive_configuration_has_many(tmp_path: Path) -> None:
    assert {"weak_ssl_tls", "version_disclosure", "alias_traversal", "host_spoofing"} <= gixy(tmp_path, NAIVE)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("proxy_set_header Host $host;", "proxy_set_header Host $http_host;", "host_spoofing"),
        ("ssl_protocols TLSv1.2 TLSv1.3;", "ssl_protocols TLSv1 TLSv1.3;", "weak_ssl_tls"),
        ("server_tokens off;", "server_tokens on;", "version_disclosure"),
        ("        allow 127.0.0.1;\n        deny all;\n", "", "status_page_exposed"),
    ],
)
def test_a_fault_anywhere_in_the_set_is_found(tmp_path: Path, old: str, new: str, found: str) -> None:
    text = dump(fixture())
    assert old in text
    assert found in gixy(tmp_path, text.replace(old, new))
