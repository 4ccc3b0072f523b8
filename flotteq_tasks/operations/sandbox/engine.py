"""A working Docker engine on this machine, with Compose and buildx. One that runs is used as it is."""

import re
import shutil
from pathlib import Path

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Host
from flotteq_tasks.model.errors import FlotteqError, PreflightFailed
from flotteq_tasks.operations.sandbox import packages
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.report import Report
from flotteq_tasks.operations.wait import wait_until

OLDEST_COMPOSE = (2, 20)
_START_LIMIT = 60


def ensure_engine(host: Host, state: Path, report: Report) -> Docker:
    """Return the engine; install and start what is missing where that is possible.

    Args:
        state: the directory for the log and the pid of a dockerd that is started by hand.

    Raises:
        PreflightFailed: something is missing and this user cannot install it.
    """
    docker = Docker(host)
    if not _answers(docker):
        _refuse_where_hopeless(docker)
        if not shutil.which("dockerd"):
            report("installing the Docker engine from this machine's package sources")
            _install_engine(host)
        _start(docker, state, report)
    _ensure_plugins(docker, report)
    return docker


def _answers(docker: Docker) -> bool:
    return docker.run("version", "--format", "{{.Server.Version}}", timeout=20, check=False).ok


def _refuse_where_hopeless(docker: Docker) -> None:
    if packages.is_root() and (shutil.which("dockerd") or packages.has_apt()):
        return
    words = docker.run("version", timeout=20, check=False).err
    if "permission denied" in words.lower():
        raise PreflightFailed(
            "the Docker engine on this machine does not let this user in",
            hint="sudo usermod -aG docker $USER, then log in again",
        )
    raise PreflightFailed(
        "no Docker engine answers on this machine, and without root none can be installed or started",
        hint="install and start Docker Engine with its Compose and buildx plugins (or Docker Desktop), "
        "or run the same command as root on Debian",
    )


def _install_engine(host: Host) -> None:
    packages.update(host)
    wanted = ["docker.io"]
    if not shutil.which("docker") and packages.candidate(host, "docker-cli"):
        wanted.append("docker-cli")
    packages.install(host, *wanted)


def _start(docker: Docker, state: Path, report: Report) -> None:
    log = state / "dockerd.log"
    if Path("/run/systemd/system").is_dir():
        docker.host.run(Command("systemctl", "enable", "--now", "docker"), timeout=_START_LIMIT)
        hint = "look at: journalctl -u docker"
    elif not _started_by_its_package(docker):
        report("starting the Docker engine (this machine has no systemd)")
        state.mkdir(parents=True, exist_ok=True)
        script = 'setsid -f dockerd --pidfile "$1" </dev/null >>"$2" 2>&1'
        docker.host.run(Command("sh", "-c", script, "start", str((state / "dockerd.pid").resolve()), str(log)))
        hint = f"look at its log: tail {log}"
    else:
        return
    wait_until(lambda: _answers(docker) or None, timeout=_START_LIMIT, what="the Docker engine to answer", hint=hint)


def _started_by_its_package(docker: Docker) -> bool:
    """Debian's package starts the engine by its init script where there is no systemd."""
    running = docker.host.run(Command("sh", "-c", "pidof dockerd"), check=False)
    if not running.ok:
        return False
    try:
        return wait_until(lambda: _answers(docker) or None, timeout=20, what="the Docker engine to answer")
    except FlotteqError:
        return False


def _ensure_plugins(docker: Docker, report: Report) -> None:
    wanted = [name for name, there in (("compose", _has_compose(docker)), ("buildx", _has_buildx(docker))) if not there]
    if not wanted:
        return
    names = " and ".join(f"docker {name}" for name in wanted)
    if not (packages.is_root() and packages.has_apt()):
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        raise PreflightFailed(
            f"{names}: missing or too old on this machine (Compose ≥ {oldest} and buildx are needed)",
            hint="install the plugins: apt-get install docker-compose docker-buildx (Debian 13), "
            "docker-compose-plugin docker-buildx-plugin (Docker's own packages)",
        )
    report(f"installing {names}")
    packages.update(docker.host)
    here, newer = _plugin_packages(docker.host, wanted)
    if here:
        packages.install(docker.host, *here)
    if newer:
        packages.install_newer(docker.host, *newer)
    if not (_has_compose(docker) and _has_buildx(docker)):
        raise PreflightFailed(
            f"{names}: installed, but the docker client on this machine does not find it",
            hint="look at: docker info --format '{{.ClientInfo.Plugins}}'",
        )


def _plugin_packages(host: Host, plugins: list[str]) -> tuple[list[str], list[str]]:
    here: list[str] = []
    newer: list[str] = []
    for plugin in plugins:
        name = f"docker-{plugin}"
        version = packages.candidate(host, name)
        if plugin == "compose" and packages.candidate(host, "docker-compose-v2"):
            here.append("docker-compose-v2")
        elif version and (plugin != "compose" or _at_least(version, OLDEST_COMPOSE)):
            here.append(name)
        else:
            newer.append(name)
    return here, newer


def _has_compose(docker: Docker) -> bool:
    done = docker.run("compose", "version", "--short", check=False)
    return done.ok and _at_least(done.out, OLDEST_COMPOSE)


def _has_buildx(docker: Docker) -> bool:
    return docker.run("buildx", "version", check=False).ok


def _at_least(version: str, oldest: tuple[int, int]) -> bool:
    found = re.search(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= oldest
