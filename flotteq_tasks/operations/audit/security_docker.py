"""Judgements on containers and the engine, by the numbers of the CIS Docker Benchmark 1.6. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flotteq_tasks.model.security import Level, Risk

# Directories of the host that a container has no business in.
SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/sys", "/usr")
SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock")

Container = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """One recommendation: ``wrong`` says what of a container breaks it; empty: nothing."""

    id: str
    title: str
    wrong: Callable[[Container], str]
    fix: str
    level: Level = "warning"


def containers(inspected: Sequence[Container], *, public: frozenset[int]) -> Iterator[Risk]:
    """Judge all containers of a project, rule by rule.

    Args:
        inspected: documents of ``docker inspect``.
        public: ports of the host that may be published.
    """
    for rule in (*RULES, _published(public)):
        broken = {_name(one): said for one in inspected if (said := rule.wrong(one))}
        found = "; ".join(f"{name}: {said}" for name, said in broken.items())
        yield Risk(
            rule.id,
            rule.title,
            found or f"{len(inspected)} containers",
            not broken,
            rule.level,
            rule.fix,
            tuple(broken),
        )


def engine(info: Mapping[str, Any], daemon: Mapping[str, Any], sshd: Sequence[str]) -> Iterator[Risk]:
    """Judge the engine's settings.

    Args:
        info: the document of ``docker info``.
        daemon: daemon.json; what is not in it has Docker's default.
        sshd: names of containers in which one runs.
    """
    file = "/etc/docker/daemon.json"
    state = str((info.get("Swarm") or {}).get("LocalNodeState") or "inactive")
    yield Risk(
        "CIS-5.1", "swarm mode is off where it is not used", state, state == "inactive", fix="docker swarm leave"
    )
    yield Risk(
        "CIS-5.7",
        "no sshd runs in a container",
        ", ".join(sshd) or "none",
        not sshd,
        "error",
        "inv exec and docker exec need none",
        tuple(sshd),
    )
    icc = daemon.get("icc", True)
    yield Risk(
        "CIS-2.2",
        "containers on the default bridge cannot reach each other",
        f"icc is {_said(icc)}",
        icc is False,
        fix=f'"icc": false in {file}',
    )
    level = str(daemon.get("log-level", "info"))
    yield Risk("CIS-2.3", "the engine logs at level info", level, level == "info", "note", f"log-level in {file}")
    tables = daemon.get("iptables", True)
    yield Risk(
        "CIS-2.4",
        "the engine may write its firewall rules",
        f"iptables is {_said(tables)}",
        tables is not False,
        "error",
        f"remove iptables from {file}: networks would not be separated",
    )
    insecure = [str(one) for one in daemon.get("insecure-registries") or []]
    yield Risk(
        "CIS-2.5",
        "every registry is asked over TLS",
        ", ".join(insecure) or "none without",
        not insecure,
        fix=f"insecure-registries in {file}",
        places=tuple(insecure),
    )
    driver = str(info.get("Driver", ""))
    yield Risk(
        "CIS-2.6",
        "the storage driver is maintained",
        driver,
        driver not in {"aufs", "devicemapper", ""},
        fix=f"storage-driver in {file}",
    )
    open_hosts = [str(one) for one in daemon.get("hosts") or [] if str(one).startswith("tcp:")]
    safe = not open_hosts or bool(daemon.get("tlsverify"))
    yield Risk(
        "CIS-2.7",
        "the engine is not reached over the network without certificates",
        ", ".join(open_hosts) or "by its socket only",
        safe,
        "error",
        f"hosts and tlsverify in {file}",
    )
    rootless = any("rootless" in str(one) for one in info.get("SecurityOptions") or [])
    privileges = daemon.get("no-new-privileges", False)
    yield Risk(
        "CIS-2.14",
        "containers get no new privileges unless they ask",
        f"no-new-privileges is {_said(privileges)}",
        privileges is True,
        fix=f'"no-new-privileges": true in {file}',
    )
    live = bool(info.get("LiveRestoreEnabled"))
    yield Risk(
        "CIS-2.15",
        "containers outlive a restart of the engine",
        f"live-restore is {_said(live)}",
        live or rootless,
        fix=f'"live-restore": true in {file}',
    )
    proxy = daemon.get("userland-proxy", True)
    yield Risk(
        "CIS-2.16",
        "no proxy of the engine hides the addresses of clients",
        f"userland-proxy is {_said(proxy)}",
        proxy is False,
        fix=f'"userland-proxy": false in {file}',
    )
    trial = bool(info.get("ExperimentalBuild")) or bool(daemon.get("experimental"))
    yield Risk(
        "CIS-2.18",
        "the engine runs without experiments",
        f"experimental is {_said(trial)}",
        not trial,
        fix=f"experimental in {file}",
    )


def _host(one: Container) -> Mapping[str, Any]:
    return one.get("HostConfig") or {}


def _name(one: Container) -> str:
    return str(one.get("Name", "")).lstrip("/")


def _said(value: object) -> str:
    return "on" if value is True else "off" if value is False else str(value)


def _user(one: Container) -> str:
    user = str((one.get("Config") or {}).get("User") or "")
    return f"runs as {user or 'root'}" if user.partition(":")[0] in {"", "0", "root"} else ""


def _apparmor(one: Container) -> str:
    labels = [str(option) for option in _host(one).get("SecurityOpt") or []]
    if any(option.startswith(("label=type", "label:type")) for option in labels):
        return ""
    profile = str(one.get("AppArmorProfile") or "")
    return "" if profile not in {"", "unconfined"} else profile or "no profile"


def _capabilities(one: Container) -> str:
    dropped = {str(name).upper().removeprefix("CAP_") for name in _host(one).get("CapDrop") or []}
    added = [str(name).removeprefix("CAP_") for name in _host(one).get("CapAdd") or []]
    if "ALL" not in dropped:
        return "has Docker's default ones"
    return f"has {', '.join(added)}" if added else ""


def _mounts(one: Container) -> Iterator[str]:
    for mount in one.get("Mounts") or []:
        if mount.get("Type") == "bind":
            yield str(mount.get("Source", "")).rstrip("/") or "/"


def _sensitive(one: Container) -> str:
    found = [
        path
        for path in _mounts(one)
        if path == "/"
        or (path not in SOCKETS and path.startswith(tuple(f"{top}/" for top in SENSITIVE)))
        or path in SENSITIVE
    ]
    return f"mounts {', '.join(found)}" if found else ""


def _propagation(one: Container) -> str:
    found = [str(mount["Source"]) for mount in one.get("Mounts") or [] if mount.get("Propagation") == "shared"]
    return f"shares {', '.join(found)}" if found else ""


def _bindings(one: Container) -> Iterator[tuple[str, int]]:
    for listed in (_host(one).get("PortBindings") or {}).values():
        for binding in listed or []:
            yield str(binding.get("HostIp") or "0.0.0.0"), int(binding.get("HostPort") or 0)  # noqa: S104 - it is read


def _everywhere(one: Container) -> str:
    found = sorted({port for address, port in _bindings(one) if address in {"0.0.0.0", "::"}})  # noqa: S104 - compared
    return f"{', '.join(map(str, found))} on every address" if found else ""


def _published(public: frozenset[int]) -> Rule:
    def wrong(one: Container) -> str:
        found = sorted({port for _, port in _bindings(one) if port not in public})
        return f"publishes {', '.join(map(str, found))}" if found else ""

    return Rule("CIS-5.9", "only the edge's ports are published", wrong, "remove ports: from the Compose file", "error")


def _restart(one: Container) -> str:
    policy = _host(one).get("RestartPolicy") or {}
    name, count = str(policy.get("Name") or "no"), int(policy.get("MaximumRetryCount") or 0)
    return "" if name == "no" or (name == "on-failure" and 0 < count <= 5) else f"{name}, without a bound"


def _logs(one: Container) -> str:
    config = _host(one).get("LogConfig") or {}
    driver, options = str(config.get("Type", "")), config.get("Config") or {}
    endless = driver == "json-file" and "max-size" not in options
    return "json-file without max-size" if endless or driver == "none" else ""


def _option(name: str) -> Callable[[Container], str]:
    def wrong(one: Container) -> str:
        found = [str(option) for option in _host(one).get("SecurityOpt") or []]
        return name if any(option.replace(":", "=") == name for option in found) else ""

    return wrong


def _mode(key: str) -> Callable[[Container], str]:
    return lambda one: f"{key} is the host's" if _host(one).get(key) == "host" else ""


def _lacks(key: str, said: str) -> Callable[[Container], str]:
    return lambda one: "" if int(_host(one).get(key) or 0) > 0 else said


def _new_privileges(one: Container) -> str:
    options = {str(option).replace(":", "=") for option in _host(one).get("SecurityOpt") or []}
    return "" if options & {"no-new-privileges", "no-new-privileges=true"} else "may get new privileges"


def _unpinned(one: Container) -> str:
    image = str((one.get("Config") or {}).get("Image") or "")
    return "" if "@sha256:" in image or image.startswith("sha256:") else f"{image} is a tag"


def _health(one: Container) -> str:
    state = (one.get("State") or {}).get("Health")
    if not state:
        return "has no check"
    return "" if state.get("Status") != "unhealthy" else "is unhealthy"


def _bridge(one: Container) -> str:
    return "is on docker0" if "bridge" in ((one.get("NetworkSettings") or {}).get("Networks") or {}) else ""


def _cgroup(one: Container) -> str:
    parent = str(_host(one).get("CgroupParent") or "")
    return f"is in {parent}" if parent else ""


_FILE = "in the Compose file"
RULES = (
    Rule("CIS-4.1", "no container runs as root", _user, f"services.NAME.user, user: {_FILE}", "error"),
    Rule(
        "CIS-5.2",
        "AppArmor or SELinux confines every container",
        _apparmor,
        "install apparmor on the host, restart Docker",
    ),
    Rule("CIS-5.4", "no container has a capability", _capabilities, f"cap_drop: [ALL] {_FILE}", "error"),
    Rule(
        "CIS-5.5",
        "no container is privileged",
        lambda one: "is privileged" if _host(one).get("Privileged") else "",
        f"remove privileged: {_FILE}",
        "error",
    ),
    Rule("CIS-5.6", "no directory of the host's system is mounted", _sensitive, f"remove the mount {_FILE}", "error"),
    Rule(
        "CIS-5.10",
        "no container has the host's network",
        _mode("NetworkMode"),
        f"remove network_mode: {_FILE}",
        "error",
    ),
    Rule("CIS-5.11", "memory is limited", _lacks("Memory", "has no limit"), "services.NAME.memory"),
    Rule("CIS-5.12", "processor time is limited", _lacks("NanoCpus", "has no limit"), "services.NAME.cpus"),
    Rule(
        "CIS-5.13",
        "the root file system is read-only",
        lambda one: "" if _host(one).get("ReadonlyRootfs") else "can write to it",
        f"read_only: true {_FILE}",
    ),
    Rule("CIS-5.14", "ports are bound to one address", _everywhere, f'"ADDRESS:80:80" {_FILE}', "note"),
    Rule("CIS-5.15", "restarts are bounded", _restart, f"restart: on-failure:5 {_FILE}", "note"),
    Rule("CIS-5.16", "no container sees the host's processes", _mode("PidMode"), f"remove pid: {_FILE}", "error"),
    Rule(
        "CIS-5.17", "no container shares the host's memory segments", _mode("IpcMode"), f"remove ipc: {_FILE}", "error"
    ),
    Rule(
        "CIS-5.18",
        "no device of the host is given away",
        lambda one: "has devices" if _host(one).get("Devices") else "",
        f"remove devices: {_FILE}",
        "error",
    ),
    Rule("CIS-5.20", "no mount is propagated to the host", _propagation, f"remove shared {_FILE}"),
    Rule("CIS-5.21", "no container has the host's name", _mode("UTSMode"), f"remove uts: {_FILE}"),
    Rule("CIS-5.22", "system calls are filtered", _option("seccomp=unconfined"), f"remove seccomp {_FILE}", "error"),
    Rule("CIS-5.25", "no container is in a cgroup of its own choice", _cgroup, f"remove cgroup_parent: {_FILE}"),
    Rule("CIS-5.26", "no process gets new privileges", _new_privileges, f"no-new-privileges {_FILE}", "error"),
    Rule("CIS-5.27", "health is checked", _health, f"healthcheck: {_FILE}; inv status"),
    Rule("CIS-5.28", "images are pinned by digest", _unpinned, "inv deploy pins them"),
    Rule("CIS-5.29", "processes are limited", _lacks("PidsLimit", "has no limit"), "services.NAME.pids"),
    Rule("CIS-5.30", "nobody is on the default bridge", _bridge, f"networks: {_FILE}"),
    Rule(
        "CIS-5.31",
        "no container shares the host's users by choice",
        _mode("UsernsMode"),
        f"remove userns_mode: {_FILE}",
        "error",
    ),
    Rule(
        "CIS-5.32",
        "nobody is given the engine's socket",
        lambda one: "mounts it" if any(path in SOCKETS for path in _mounts(one)) else "",
        f"remove the mount {_FILE}",
        "error",
    ),
    Rule("LOGS", "logs cannot fill the disk", _logs, f"logging: {_FILE}"),
)
