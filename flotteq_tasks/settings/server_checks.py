"""Rules for what a host is made into."""

import re
from collections.abc import Iterator

from flotteq_tasks.model.server import ServerSettings
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.settings import schema

Finding = tuple[schema.Path, str]

_KEY = re.compile(r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-\S+@openssh\.com) [A-Za-z0-9+/]+=*(?: [^\n]*)?")
# Shorter, and a slow login would be taken for one that does not work.
_SHORTEST_CONFIRM = 10
_POSITIVE = ("ssh_rate", "ssh_burst", "log_mb", "log_files")
_NOT_NEGATIVE = ("swap_mb", "disk_mb", "memory_mb")


def check_server(settings: Settings) -> Iterator[Finding]:
    """Return a key path and a message for each rule that is broken."""
    server = settings.server
    for number, key in enumerate(server.keys, 1):
        if "PRIVATE KEY" in key:
            yield ("server", "keys"), f"number {number} is a private key: it takes the .pub file's line"
        elif not _KEY.fullmatch(key):
            yield ("server", "keys"), f"number {number} is no public key: one line like ssh-ed25519 AAAA… name"
    yield from _ports(server)
    for name in server.trusted_interfaces:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", name):
            yield ("server", "trusted_interfaces"), f'"{name}" is no name of a network interface: ip -brief link'
    for key in (*_POSITIVE, *_NOT_NEGATIVE):
        least = 1 if key in _POSITIVE else 0
        if getattr(server, key) < least:
            yield ("server", key), f"{getattr(server, key)} is less than {least}"
    if server.confirm < _SHORTEST_CONFIRM:
        yield ("server", "confirm"), f"{server.confirm} is less than {_SHORTEST_CONFIRM}: a login needs some seconds"
    if not re.fullmatch(r"[0-9A-F]{40}", server.docker_fingerprint):
        yield ("server", "docker_fingerprint"), "is no fingerprint: 40 of 0-9 and A-F, without spaces"
    if server.docker == "docker" and not server.docker_url:
        yield ("server", "docker_url"), "is empty: the repository of Docker's packages, which its manual names"
    if server.docker_url and not re.fullmatch(r"https://[A-Za-z0-9./:_-]+[A-Za-z0-9]", server.docker_url):
        yield ("server", "docker_url"), f'"{server.docker_url}" is no https URL'


def _ports(server: ServerSettings) -> Iterator[Finding]:
    ports = [("open_tcp", port) for port in server.open_tcp] + [("open_udp", port) for port in server.open_udp]
    for name, port in ports:
        if not 1 <= port <= 65535:
            yield ("server", name), f"{port} is no port: 1 to 65535"
    if not 0 <= server.ssh_port <= 65535:
        yield ("server", "ssh_port"), f"{server.ssh_port} is no port: 1 to 65535, or 0 for host.port"
    if not server.open_tcp:
        yield ("server", "open_tcp"), "is empty: nobody could reach the edge"
