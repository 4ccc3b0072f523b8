"""The VPS itself: a container with systemd, sshd and its own Docker engine."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from flotteq_tasks.operations.sandbox import containers
from flotteq_tasks.operations.sandbox.containers import Definition
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names
from flotteq_tasks.operations.sandbox.network import Edge, Network, free_edge, free_ssh_port
from flotteq_tasks.operations.sandbox.report import Report
from flotteq_tasks.operations.wait import wait_until

USERS = ("deploy", "nosudo", "root")
BOOT_LIMIT = 90
_STOP_GRACE = 30
_SSH = 22
_HTTP = 80
_HTTPS = 443

# A container that is a machine. Works where --privileged does not (no CAP_SYS_RESOURCE, cgroup v1).
_CGROUP_V1 = (
    "--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined", "--device-cgroup-rule=a *:* rwm",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
)  # fmt: skip
# With cgroup v2 the machine gets a tree of its own and must not see its surroundings'.
_CGROUP_V2 = ("--privileged", "--cgroupns=private")
_MACHINE = ("--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", "--env=container=docker")

_AUTHORIZE = """set -eu
keys=$(cat)
for user in "$@"; do
    home=$(getent passwd "$user" | cut -d: -f6)
    install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
    printf '%s\\n' "$keys" >"$home/.ssh/authorized_keys"
    chown "$user:$user" "$home/.ssh/authorized_keys"
    chmod 600 "$home/.ssh/authorized_keys"
done
"""


@dataclass(frozen=True)
class Published:
    """Where this machine reaches the VPS."""

    ssh_address: str
    ssh_port: int
    edge: Edge


def ensure_machine(
    docker: Docker, names: Names, network: Network, image: str, report: Report, *, address: str = ""
) -> Published:
    """Start the VPS, or make one: a new one also when its definition changed, because it is throwaway.

    Args:
        address: its own in the network; empty: that of the VPS.
    """
    definition = _definition(docker, names, network, image, address or network.host)
    if not containers.is_current(docker, definition):
        if containers.state(docker, names.host) != "absent":
            report("the VPS's definition changed: making a new one")
        report(f"making {names.host}")
        remove_machine(docker, names)
        containers.create(docker, definition, _publish())
    elif containers.state(docker, names.host) != "running":
        report(f"starting {names.host}")
        containers.start(docker, names.host)
    where = published(docker, names)
    if where is None:
        raise RuntimeError(f"{names.host} publishes no ports although it was just made")
    return where


def remove_machine(docker: Docker, names: Names) -> None:
    """Remove the VPS and all it held."""
    if containers.state(docker, names.host) == "running":
        # Containers that end with their machine would leave their control groups on this one.
        kill_all = "docker ps --quiet | xargs --no-run-if-empty docker rm --force"
        docker.exec(names.host, "sh", "-c", kill_all, timeout=60, check=False)
    containers.remove(docker, names.host)
    docker.run("volume", "rm", "--force", names.docker_volume, timeout=120, check=False)


def published(docker: Docker, names: Names) -> Published | None:
    """Return where the VPS is reached, running or not; None when there is none."""
    ports = containers.published(docker, names.host)
    if not {_SSH, _HTTP, _HTTPS} <= set(ports):
        return None
    return Published(*ports[_SSH], Edge(*ports[_HTTP], ports[_HTTPS][1]))


def reboot_machine(docker: Docker, names: Names) -> None:
    """Restart the VPS as a reboot would, and wait until it answers again."""
    docker.run("restart", "--time", str(_STOP_GRACE), names.host, timeout=_STOP_GRACE + 60)
    wait_for_machine(docker, names)


def wait_for_machine(docker: Docker, names: Names) -> None:
    """Wait until the VPS's sshd greets and its Docker engine answers."""
    wait_for_login(docker, names)
    wait_until(
        lambda: docker.exec(names.host, "docker", "info", check=False).ok or None,
        timeout=BOOT_LIMIT, what="the Docker engine inside the sandbox", hint=_boot_hint(names),
    )  # fmt: skip


def wait_for_login(docker: Docker, names: Names) -> None:
    """Wait until the VPS's sshd greets."""
    where = published(docker, names)
    if where:
        wait_until(
            lambda: _greets(where.ssh_address, where.ssh_port) or None,
            timeout=BOOT_LIMIT, what="the sandbox's sshd", interval=0.2, hint=_boot_hint(names),
        )  # fmt: skip


def _boot_hint(names: Names) -> str:
    return f"look at: docker exec {names.host} journalctl -b"


def authorize(docker: Docker, names: Names, public_key: str, *, users: Iterable[str] = USERS) -> None:
    """Let the key in as these users."""
    docker.exec(names.host, "sh", "-c", _AUTHORIZE, "authorize", *users, stdin=public_key.encode())


def host_keys(docker: Docker, names: Names) -> list[tuple[str, str]]:
    """Return the public host keys (kind, key), read inside the VPS and not over the network: nobody else can answer."""
    return wait_until(
        lambda: _host_keys(docker, names.host), timeout=BOOT_LIMIT, what="the sandbox's host keys", interval=0.2
    )


def _host_keys(docker: Docker, name: str) -> list[tuple[str, str]] | None:
    # Only an sshd that runs has all its keys: they are made at the first boot.
    done = docker.exec(name, "sh", "-c", "systemctl -q is-active ssh && cat /etc/ssh/ssh_host_*_key.pub", check=False)
    keys = [(words[0], words[1]) for line in done.out.splitlines() if len(words := line.split()) > 1]
    return keys if done.ok and keys else None


def _definition(docker: Docker, names: Names, network: Network, image: str, address: str) -> Definition:
    version = docker.run("info", "--format", "{{.CgroupVersion}}").out.strip()
    cgroup = _CGROUP_V2 if version == "2" else _CGROUP_V1
    options = [
        "--hostname=vps", f"--network={network.name}", f"--ip={address}", *cgroup, *_MACHINE,
        f"--volume={names.docker_volume}:/var/lib/docker", f"--stop-timeout={_STOP_GRACE}",
    ]  # fmt: skip
    return Definition(names.host, image, options)


def _publish() -> list[str]:
    edge = free_edge()
    return [
        f"127.0.0.1:{free_ssh_port()}:{_SSH}",
        f"{edge.address}:{edge.http_port}:{_HTTP}",
        f"{edge.address}:{edge.https_port}:{_HTTPS}",
    ]


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
