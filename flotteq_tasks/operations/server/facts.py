"""What is read before anything is changed, and when a host is refused."""

import re
from collections.abc import Iterator

from flotteq_tasks.commands import server as commands
from flotteq_tasks.host.base import Host
from flotteq_tasks.model.errors import AccessDenied, FlotteqError, PreflightFailed
from flotteq_tasks.model.server import ServerFacts
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.server.items import PACKAGES
from flotteq_tasks.rendering import server as rendering

# How the firewall's rules know a container's network.
_OF_DOCKER = ("docker", "br-")
# Options before a key, as cloud images write them for root, hold for that user only.
_KEY = re.compile(r"(?:ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+(?: .*)?")


def read(settings: Settings, host: Host, *, login: str) -> ServerFacts:
    """Ask the host in one round trip.

    Args:
        login: the user who is logged in.
    """
    text = host.run(commands.read_facts(login, settings.host.user, settings.server.open_tcp)).out
    return parse(text)


def parse(text: str) -> ServerFacts:
    """Understand what ``commands.server.read_facts`` printed."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@@ "):
            lines = found.setdefault(line[3:], [])
        else:
            lines.append(line)

    def of(name: str) -> list[str]:
        return [line for line in found.get(name, []) if line]

    def first(name: str) -> str:
        return next(iter(of(name)), "")

    holders = {}
    for port, program, pid in (line.split() for line in of("holders")):
        holders[int(port)] = f"{program} (pid {pid})"
    return ServerFacts(
        distribution=" ".join(of("distribution")),
        codename=first("codename"),
        root=first("uid") == "0",
        systemd=first("systemd") == "yes",
        container=bool(first("container")),
        ipv6=bool(first("ipv6")),
        uplinks=tuple(dict.fromkeys(of("uplink"))),
        disk=int(first("disk") or 0),
        memory=int(first("memory") or 0),
        ssh_ports=tuple(sorted({int(line) for line in of("ssh")})),
        holders=holders,
        engine=first("engine"),
        clock=first("clock"),
        daemon="\n".join(found.get("daemon", [])).strip(),
        keys=tuple(line for line in of("keys") if _KEY.fullmatch(line)),
        own_keys=tuple(line for line in of("own") if _KEY.fullmatch(line)),
    )


def require(settings: Settings, host: Host, facts: ServerFacts) -> None:
    """Refuse a host that cannot become one for this stack.

    Raises:
        AccessDenied: commands do not run as root.
        PreflightFailed: anything else; every reason is in the message.
    """
    if not facts.root:
        raise AccessDenied(
            f"{host.name}: commands do not run as root", hint="inv server.setup --user root, or a user with sudo"
        )
    refusals = list(_refusals(settings, facts))
    if refusals:
        raise PreflightFailed(
            "\n".join(f"{host.name}: {what}" for what, _ in refusals), hint="; ".join(fix for _, fix in refusals)
        )


def _refusals(settings: Settings, facts: ServerFacts) -> Iterator[tuple[str, str]]:
    server = settings.server
    if facts.distribution not in PACKAGES or not facts.systemd:
        without = "" if facts.systemd else " without systemd"
        known = ", ".join(name.capitalize() for name in PACKAGES)
        yield f"{facts.distribution or 'an unknown system'}{without} is not supported", f"install one of: {known}"
        return
    if server.docker == "distribution" and not PACKAGES[facts.distribution]:
        yield (
            f"{facts.distribution} has no Compose v2 in its packages",
            'server.docker = "docker" in flotteq.toml, and server.docker_url: where Docker has its packages',
        )
    wrong = {"docker.io": "docker", "docker-ce": "distribution"}.get(facts.engine)
    if wrong == server.docker:
        other = "distribution" if wrong == "docker" else "docker"
        yield f"it has {facts.engine}, and server.docker is {wrong}", f'server.docker = "{other}" in flotteq.toml'
    port = rendering.ssh_port(settings)
    if facts.ssh_ports and port not in facts.ssh_ports:
        there = ", ".join(map(str, facts.ssh_ports))
        yield f"its sshd listens on {there}, the firewall would open {port}", f"server.ssh_port = {facts.ssh_ports[0]}"
    for name in facts.uplinks:
        if name.startswith(_OF_DOCKER):
            yield (
                f"its way outside is {name}, which the firewall would take for one of Docker's",
                "rename the interface",
            )
    for number, program in sorted(facts.holders.items()):
        yield f"port {number} is held by {program}", f"stop it: systemctl disable --now {program.partition(' ')[0]}"
    # What a stack uses once it is there is no reason against looking after its host.
    if facts.disk < server.disk_mb and not facts.engine:
        yield f"{facts.disk} MiB are free, {server.disk_mb} are needed", "a larger disk, or server.disk_mb"
    if facts.memory < server.memory_mb and not facts.engine:
        yield f"it has {facts.memory} MiB of memory, {server.memory_mb} are needed", "more memory, or server.memory_mb"
    if not (server.keys or facts.keys or facts.own_keys):
        yield "there is no public key to let in", "server.keys in flotteq.toml: cat ~/.ssh/id_ed25519.pub"


def require_user(settings: Settings) -> None:
    """Refuse an environment that has nobody to deploy.

    Raises:
        PreflightFailed: it is this machine, or its user is root.
    """
    where = f"environments.{settings.environment}.host"
    if settings.host.address == "local":
        raise PreflightFailed(
            f"{where}.address is local: a host is set up over SSH, by a login that must work afterwards",
            hint=f"set {where}.address",
        )
    if settings.host.user == "root":
        raise PreflightFailed(
            f"{where}.user is root: name the user that will deploy", hint=f'{where}.user = "deploy" in flotteq.toml'
        )


def failed(host: Host, what: str, said: str) -> FlotteqError:
    """An item that could not be made, with the last line of what was said."""
    last = (said.strip().splitlines() or ["no reason was given"])[-1]
    return FlotteqError(
        f"{host.name}: {what}: {last}", hint="correct it and run inv server.setup again", details=said.strip()
    )


def other_key(host: Host, settings: Settings, found: str) -> FlotteqError:
    """The packages' key is not the one that is known.

    Args:
        found: its fingerprint.
    """
    server = settings.server
    return FlotteqError(
        f"{host.name}: the key of {server.docker_url} has the fingerprint {found.strip()}, and not "
        f"{server.docker_fingerprint}: nothing of it was installed",
        hint="compare with Docker's manual; a right one belongs into server.docker_fingerprint in flotteq.toml",
    )
