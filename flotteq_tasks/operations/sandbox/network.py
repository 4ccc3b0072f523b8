"""The sandbox's private network, and free addresses of this machine to publish on."""

import ipaddress
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from flotteq_tasks.model.errors import PreflightFailed
from flotteq_tasks.operations.sandbox.docker import Docker

# Rarely used ranges; each instance takes the first that is free.
_SUBNETS = tuple(f"10.213.{third}.0/24" for third in range(77, 93))
_HTTP_PORTS = ((80, 443), (8080, 8443), (8880, 9443))
_SSH_PORTS = range(2222, 2262)
_REGISTRY_PORTS = range(5555, 5595)
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Network:
    """A docker network with fixed addresses, so that DNS answers stay true after a restart."""

    name: str
    subnet: str

    @property
    def host(self) -> str:
        """The address of the VPS."""
        return self._address(10)

    @property
    def bare(self) -> str:
        """The address of the bare host."""
        return self._address(11)

    @property
    def dns(self) -> str:
        """The address of the DNS server."""
        return self._address(2)

    @property
    def registry(self) -> str:
        """The address of the registry."""
        return self._address(3)

    @property
    def acme(self) -> str:
        """The address of the ACME server."""
        return self._address(4)

    @property
    def reachable(self) -> bool:
        """Whether this machine reaches its addresses: not where Docker runs in a virtual machine."""
        return sys.platform == "linux"

    def _address(self, number: int) -> str:
        return str(ipaddress.ip_network(self.subnet)[number])


@dataclass(frozen=True)
class Edge:
    """Where HTTP and HTTPS of the VPS are reached from this machine."""

    address: str
    http_port: int
    https_port: int


def ensure_network(docker: Docker, name: str) -> Network:
    """Return the network; make it when it is not there."""
    found = _existing(docker, name)
    if found:
        return found
    taken = _routed_networks()
    for subnet in _SUBNETS:
        free = not any(ipaddress.ip_network(subnet).overlaps(other) for other in taken)
        if free and docker.run("network", "create", "--subnet", subnet, name, check=False).ok:
            return Network(name, subnet)
    return _network_of_dockers_choice(docker, name)


def _network_of_dockers_choice(docker: Docker, name: str) -> Network:
    """Fixed addresses need a subnet that was named: ask Docker for a free one, then name that."""
    docker.run("network", "create", name)
    chosen = _existing(docker, name)
    docker.run("network", "rm", name)
    if chosen is None:
        raise PreflightFailed(
            "Docker has no free subnet for the sandbox's network", hint="docker network prune removes unused networks"
        )
    docker.run("network", "create", "--subnet", chosen.subnet, name)
    return chosen


def _existing(docker: Docker, name: str) -> Network | None:
    found = docker.inspect("network", name)
    subnets = [config["Subnet"] for config in found["IPAM"]["Config"]] if found else []
    return next((Network(name, subnet) for subnet in subnets if ":" not in subnet), None)


def _routed_networks() -> list[ipaddress.IPv4Network]:
    """What this machine already reaches, without its default route."""
    table = Path("/proc/net/route")
    networks = []
    for line in table.read_text().splitlines()[1:] if table.exists() else []:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        if mask:
            address = ipaddress.IPv4Address(destination)
            networks.append(ipaddress.IPv4Network(f"{address}/{mask.bit_count()}", strict=False))
    return networks


def free_edge() -> Edge:
    """Return an address of the loopback range with two free ports: 80 and 443 where possible.

    127.0.0.1 comes first, because browsers take every ``*.localhost`` name to it.
    """
    others = [f"127.0.0.{last}" for last in range(2, 10)] if sys.platform == "linux" else []
    first, *high = _HTTP_PORTS
    choices = [(address, *first) for address in (_LOOPBACK, *others)] + [(_LOOPBACK, *ports) for ports in high]
    for address, http, https in choices:
        if is_free(address, http) and is_free(address, https):
            return Edge(address, http, https)
    raise PreflightFailed(
        "no free ports for the sandbox's HTTP and HTTPS on 127.0.0.1 to 127.0.0.9 (tried 80/443, 8080/8443, 8880/9443)",
        hint="see who has them: ss -ltnp",
    )


def free_ssh_port() -> int:
    """Return a free port of 127.0.0.1 for SSH, 2222 where possible."""
    return _first_free(_SSH_PORTS, "SSH")


def free_registry_port() -> int:
    """Return a free port of 127.0.0.1 for the registry, 5555 where possible."""
    return _first_free(_REGISTRY_PORTS, "registry")


def is_free(address: str, port: int) -> bool:
    """Whether nobody listens there. Asked by connecting: binding a low port needs root."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) != 0


def _first_free(ports: range, what: str) -> int:
    for port in ports:
        if is_free(_LOOPBACK, port):
            return port
    raise PreflightFailed(
        f"no free port for the sandbox's {what} on 127.0.0.1 ({ports[0]} to {ports[-1]})",
        hint="see who has them: ss -ltnp",
    )
