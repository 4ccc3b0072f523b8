"""The host as data: what a bare server is made into, and what was found on one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flotteq_tasks.model.edge import FORBID_UNKNOWN


@dataclass(frozen=True)
class ServerSettings:
    """``[server]``: what `inv server.setup` makes of a bare host. Each default's reason is in docs/SETTINGS.md.

    ``confirm`` is seconds, ``ssh_rate`` new connections a minute and address, ``ssh_port`` 0 that of the login.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    docker: Literal["distribution", "docker"] = "distribution"
    docker_url: str = ""
    docker_fingerprint: str = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
    keys: tuple[str, ...] = ()
    root_login: bool = False
    ssh_port: int = 0
    ssh_rate: int = 20
    ssh_burst: int = 40
    open_tcp: tuple[int, ...] = (80, 443)
    open_udp: tuple[int, ...] = ()
    trusted_interfaces: tuple[str, ...] = ()
    userland_proxy: bool = False
    log_mb: int = 10
    log_files: int = 3
    swap_mb: int = 2048
    disk_mb: int = 10_000
    memory_mb: int = 1900
    confirm: int = 60


@dataclass(frozen=True)
class ServerFacts:
    """What a host says of itself before anything is changed.

    Args:
        distribution: ``debian 13``: ID and VERSION_ID of os-release.
        codename: its name in package sources.
        root: whether commands run as root.
        systemd: whether systemd runs it.
        container: whether its kernel belongs to another machine.
        ipv6: whether it has a public IPv6 address.
        uplinks: interfaces of its default routes.
        disk: free MiB below ``/``.
        memory: MiB in all.
        ssh_ports: where its sshd listens.
        holders: port to the program that listens there and is no part of the stack.
        engine: the package of the Docker engine it has; empty: none.
        clock: the program that keeps its time; empty: none.
        daemon: text of Docker's daemon.json; empty: none.
        keys: lines of authorized_keys of who is logged in, and of who will deploy.
    """

    distribution: str = ""
    codename: str = ""
    root: bool = False
    systemd: bool = False
    container: bool = False
    ipv6: bool = False
    uplinks: tuple[str, ...] = ()
    disk: int = 0
    memory: int = 0
    ssh_ports: tuple[int, ...] = ()
    holders: Mapping[int, str] = field(default_factory=dict)
    engine: str = ""
    clock: str = ""
    daemon: str = ""
    keys: tuple[str, ...] = ()
    own_keys: tuple[str, ...] = ()
