"""The list of what a host must have: for each item the state that is wanted, and how to get there. Pure."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flotteq_tasks.commands import server as commands
from flotteq_tasks.commands import server_docker
from flotteq_tasks.commands.shell import Command, chain, sequence
from flotteq_tasks.model.server import ServerFacts
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.preflight import MINIMUM_COMPOSE, MINIMUM_ENGINE
from flotteq_tasks.rendering import server as rendering

# Docker and Compose in the distribution's own packages; none where its Compose is too old.
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "debian 12": (),
    "debian 13": ("docker.io", "docker-cli", "docker-compose"),
    "ubuntu 24.04": ("docker.io", "docker-compose-v2"),
}
_FROM_DOCKER = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin")
# What the tasks use on a host, and the parts of this one.
_NEEDED = ("sudo", "nftables", "iproute2", "procps", "curl", "ca-certificates", "unattended-upgrades")
_TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
_SSHD = {
    "kbdinteractiveauthentication": "no",
    "passwordauthentication": "no",
    "permitemptypasswords": "no",
    "pubkeyauthentication": "yes",
}
# Seconds.
_INSTALL_LIMIT, _ENGINE_WAIT, _LIMIT = 1200, 60, 180


@dataclass(frozen=True)
class Text:
    """A file of the host."""

    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class Guard:
    """A change that could lock everybody out.

    Args:
        load: shell text that makes the files count, or says why not.
        back: shell text that makes the former ones count again.
        units: enabled when the change is kept.
    """

    load: str
    back: str
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One thing that a host must have.

    Args:
        name: one word.
        what: what it is for, shown in tables.
        probe: prints its state.
        wanted: what ``probe`` prints when all is well.
        files: path and content; looked at before the rest, and written first.
        before: run before the files are written.
        apply: makes it so; may be run again.
        limit: seconds for that.
        guard: how it is taken back when nobody can log in any more.
    """

    name: str
    what: str
    probe: Command | None = None
    wanted: str = ""
    files: Mapping[str, Text] = field(default_factory=dict)
    before: Command | None = None
    apply: Command | None = None
    limit: int = _LIMIT
    guard: Guard | None = None

    @property
    def look(self) -> Command:
        """Print its state: files, then the rest."""
        parts = [commands.files(self.files)] if self.files else []
        return sequence(*parts, *([self.probe] if self.probe else []))

    @property
    def state(self) -> str:
        """What ``look`` prints when all is well."""
        shown = (f"== {path} {text.mode:o} root\n{text.content}" for path, text in self.files.items())
        return "".join(shown) + self.wanted


@dataclass(frozen=True)
class State:
    """One item as it was found."""

    name: str
    what: str
    found: str
    wanted: str

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return self.found.strip() == self.wanted.strip()

    @property
    def changes(self) -> list[str]:
        """The lines that differ: ``-`` is there, ``+`` is wanted."""
        pairs = difflib.ndiff(self.found.strip().splitlines(), self.wanted.strip().splitlines())
        return [line for line in pairs if line[0] in "+-"]


def items(settings: Settings, facts: ServerFacts) -> list[Item]:
    """Return everything a host must have, in the order in which it is made. What locks out comes last."""
    return [
        *_upgrades(settings, facts),
        _daemon(settings, facts),
        *_repository(settings, facts),
        *_packages(settings, facts),
        _user(settings),
        _keys(settings, facts),
        _sudo(settings),
        _directories(settings),
        *_kernel(settings, facts),
        _stack(settings, facts),
        _sshd(settings, facts),
        _firewall(settings, facts),
    ]


def _file(settings: Settings, facts: ServerFacts, name: str, mode: int = 0o644) -> dict[str, Text]:
    return {rendering.place(settings, name): Text(rendering.text(settings, facts, name), mode)}


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _unit(settings: Settings, name: str) -> str:
    return rendering.place(settings, name).rpartition("/")[2]


def _upgrades(settings: Settings, facts: ServerFacts) -> list[Item]:
    """Before the packages, so that the first one that runs knows what to leave alone."""
    files = {**_file(settings, facts, "upgrades.conf"), **_file(settings, facts, "needrestart.conf")}
    timers = _lines(f"{name} enabled" for name in _TIMERS)
    return [
        Item("upgrades", "security updates by themselves, never of Docker", commands.units(_TIMERS), timers, files,
             apply=commands.enable(_TIMERS)),
    ]  # fmt: skip


def _daemon(settings: Settings, facts: ServerFacts) -> Item:
    """Before the packages, so that the engine's first start has it."""
    return Item(
        "daemon", "Docker: limits for logs, containers outlive its restart, no proxy processes",
        files={rendering.DAEMON: Text(rendering.daemon(settings, facts.daemon))},
        before=server_docker.keep_daemon(rendering.DAEMON),
        apply=server_docker.restart_engine(rendering.DAEMON, wait=_ENGINE_WAIT),
    )  # fmt: skip


def _repository(settings: Settings, facts: ServerFacts) -> list[Item]:
    server = settings.server
    if server.docker != "docker":
        return []
    tools, key = ("ca-certificates", "curl", "gpg"), rendering.place(settings, "docker.asc")
    url = f"{server.docker_url}/{facts.distribution.partition(' ')[0]}/gpg"
    return [
        Item("tools", "to fetch and check a key", commands.packages(tools), _lines(f"{one} installed" for one in tools),
             apply=commands.install(tools), limit=_INSTALL_LIMIT),
        Item("repository", "Docker's packages, by the key with the known fingerprint", server_docker.key(key),
             _lines([server.docker_fingerprint]), _file(settings, facts, "docker.sources"),
             before=server_docker.fetch_key(url, key, server.docker_fingerprint)),
    ]  # fmt: skip


def _packages(settings: Settings, facts: ServerFacts) -> list[Item]:
    engine = _FROM_DOCKER if settings.server.docker == "docker" else PACKAGES[facts.distribution]
    names = [*_NEEDED, *engine, facts.clock or "systemd-timesyncd"]
    clock = f"{names[-1]}.service"
    oldest, compose = (".".join(map(str, version)) for version in (MINIMUM_ENGINE, MINIMUM_COMPOSE))
    return [
        Item("packages", "what the tasks use on the host", commands.packages(names),
             _lines(f"{name} installed" for name in names), apply=commands.install(names), limit=_INSTALL_LIMIT),
        Item("engine", "Docker runs, also after a reboot", server_docker.engine(oldest, compose),
             _lines(["enabled", "live-restore true", f"engine {oldest} or later", f"compose {compose} or later"]),
             # Also where one is there that is too old: the distribution may have had updates since.
             apply=chain(commands.install(engine), server_docker.start_engine()), limit=_INSTALL_LIMIT),
        Item("clock", "the time is kept", commands.units([clock]), _lines([f"{clock} enabled"]),
             apply=commands.enable([clock])),
    ]  # fmt: skip


def _user(settings: Settings) -> Item:
    name = settings.host.user
    return Item("user", f"{name} deploys, and may talk to Docker", commands.user(name),
                "shell /bin/bash\ngroup docker\n", apply=commands.make_user(name))  # fmt: skip


def _keys(settings: Settings, facts: ServerFacts) -> Item:
    """Those of the settings and no others; without any there, those of who sets the host up."""
    name = settings.host.user
    text = _lines(dict.fromkeys(settings.server.keys or facts.own_keys or facts.keys))
    return Item("keys", f"who may log in as {name}", commands.keys(name), f"600 {name}\n{text}",
                apply=commands.make_keys(name, text))  # fmt: skip


def _sudo(settings: Settings) -> Item:
    """Every task runs `sudo -n sh -c …`: a shorter list would allow as much and say less."""
    path, text = rendering.place(settings, "sudoers"), f"{settings.host.user} ALL=(ALL) NOPASSWD: ALL\n"
    return Item("sudo", "the tasks' root rights", commands.files([path]), f"== {path} 440 root\n{text}",
                apply=commands.make_sudo(path, text))  # fmt: skip


def _directories(settings: Settings) -> Item:
    project = settings.project
    paths = [project.directory, project.backups, project.logs]
    return Item("directories", "where the stack and its backups lie", commands.directories(paths),
                _lines(f"{path} root" for path in paths), apply=commands.make_directories(paths))  # fmt: skip


def _kernel(settings: Settings, facts: ServerFacts) -> list[Item]:
    """A container has some values of its own, and no swap."""
    path = rendering.place(settings, "sysctl.conf")
    files = _file(settings, facts, "sysctl.conf")
    values = [line for line in files[path].content.splitlines() if " = " in line and not line.startswith("#")]
    found = [Item("sysctl", "values of the kernel", commands.kernel(path), _lines(values), files,
                  apply=commands.load_kernel(path))]  # fmt: skip
    size = settings.server.swap_mb
    if size and not facts.container:
        found.append(
            Item("swap", "memory for what sleeps", commands.swap(size), "swap enough\n",
                 apply=commands.make_swap(rendering.place(settings, "swap"), size))
        )  # fmt: skip
    return found


def _stack(settings: Settings, facts: ServerFacts) -> Item:
    unit = _unit(settings, "stack.service")
    files = {**_file(settings, facts, "stack.sh", 0o755), **_file(settings, facts, "stack.service")}
    return Item("stack", "up in order after a boot, down in order before", commands.units([unit]),
                _lines([f"{unit} enabled"]), files, apply=commands.enable([unit], wait=False))  # fmt: skip


def _sshd(settings: Settings, facts: ServerFacts) -> Item:
    root = "without-password" if settings.server.root_login else "no"
    wanted = _lines(f"{key} {value}" for key, value in sorted({**_SSHD, "permitrootlogin": root}.items()))
    # Not a reload: that returns while the former configuration still lets people in. Sessions outlive both.
    restart = "systemctl try-restart ssh.service"
    return Item("sshd", "keys only" + ("" if settings.server.root_login else ", root not at all"), commands.sshd(),
                wanted, _file(settings, facts, "sshd.conf"), guard=Guard(f"sshd -t && {restart}", restart))  # fmt: skip


def _firewall(settings: Settings, facts: ServerFacts) -> Item:
    rules, table = rendering.place(settings, "firewall.nft"), rendering.table(settings)
    unit = _unit(settings, "firewall.service")
    files = {**_file(settings, facts, "firewall.nft"), **_file(settings, facts, "firewall.service")}
    load = f"nft --check --file {rules} && nft --file {rules}"
    back = f"if [ -e {rules} ]; then nft --file {rules}; else nft delete table inet {table} 2>/dev/null || true; fi"
    open_ports = " ".join(map(str, [rendering.ssh_port(settings), *settings.server.open_tcp]))
    return Item("firewall", f"from outside: {open_ports}, also past Docker", commands.firewall(table, rules, unit),
                _lines(["loaded", f"{unit} enabled"]), files, guard=Guard(load, back, (unit,)))  # fmt: skip
