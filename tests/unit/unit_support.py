"""What several unit tests share: a small stack's settings, a list of events, running a script, shellcheck."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.events import Event, Report
from flotteq_tasks.model.facts import Instance
from flotteq_tasks.model.stack import (
    Database,
    DeploySettings,
    Health,
    HostSettings,
    Migrations,
    Project,
    Registry,
    SecretSpec,
    Service,
    ServiceBuild,
    Settings,
)

DIGEST = "sha256:" + "a" * 64
# Words that a shell would take apart.
NASTY = ["a b", "it's", "$(id)", "`id`", "x;y", "*", "", "-n", "a\nb", "é", '"', "\\", "#x", "~", "!h", "{a,b}", "a=b"]


def fleet(root: Path = Path("/nowhere"), **changes: Any) -> Settings:
    """Settings of a stack that is not FlotteQ: a database, a cache, an API, an app, an edge and a tool."""
    values: dict[str, Any] = {
        "project": Project(name="fleet", domain="fleet.example", directory="/srv/fleet", backups="/var/backups/fleet"),
        "host": HostSettings(address="fleet.example"),
        "registry": Registry(server="registry.example", namespace="team"),
        "services": {
            "store": Service(kind="stateful", image="postgres:15"),
            "cache": Service(kind="stateful", image="redis:7"),
            "core": Service(
                kind="rolling",
                image="fleet-core",
                port=4000,
                subdomain="api",
                vhost="api",
                replicas=2,
                build=ServiceBuild(context="core"),
                health=Health(path="/health", expect={"status": "ok"}),
            ),
            "web-app": Service(
                kind="rolling", image="fleet-web", port=80, subdomain="@", build=ServiceBuild(context="web")
            ),
            "front": Service(kind="edge", image="nginx:1.30"),
            "certbot": Service(kind="tool", image="certbot/certbot:v5"),
        },
        "edge": EdgeSettings(address="127.0.0.1"),
        "secrets": {"db_password": SecretSpec("generated"), "mail_password": SecretSpec("supplied")},
        "database": Database(service="store", user="fleet", name="fleet", cache="cache"),
        "migrations": Migrations(service="core", command=("migrate", "up"), first_install=(("schema",), ("mark",))),
        "deploy": DeploySettings(health_timeout=5, drain=7, stop_grace=3, monitor=0),
        "environment": "production",
        "root": root,
    }
    return Settings(**{**values, **changes})


def instance(service: str, number: int = 1, **changes: Any) -> Instance:
    """A running, healthy container."""
    values: dict[str, Any] = {
        "id": f"id-{service}-{number}",
        "name": f"fleet-{service}-{number}",
        "service": service,
        "image": f"{service}:v1",
        "state": "running",
        "health": "healthy",
        "started": "2026-11-23T09:00:00.123456789Z",
        "restarts": 0,
        "config_hash": "hash-1",
    }
    return Instance(**{**values, **changes})


@dataclass
class Events:
    """Collects what an operation reports."""

    seen: list[Event] = field(default_factory=list)

    @property
    def report(self) -> Report:
        """A report whose clock stands still."""
        return Report(self.seen.append, clock=lambda: 0.0)

    def texts(self, kind: type) -> list[str]:
        """The texts, or names, of one kind of event."""
        return [getattr(one, "text", None) or getattr(one, "name", "") for one in self.seen if isinstance(one, kind)]


def execute(
    command: Command, *, path: Path | None = None, variables: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command here; programs in ``path`` come before those of the system."""
    search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": f"{path}:{search}" if path else search, "LC_ALL": "C", **(variables or {})}
    return subprocess.run(
        ["sh", "-c", command.render()], env=environment, input=stdin, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip


def shellcheck(text: str, dialect: str, *, ignore: str = "") -> str:
    """What shellcheck has to say; empty when nothing."""
    program = Path(sys.executable).parent / "shellcheck"
    words = [str(program), f"--shell={dialect}", "--severity=style", "--format=gcc"]
    words += [f"--exclude={ignore}"] if ignore else []
    return subprocess.run([*words, "-"], input=text, capture_output=True, text=True, check=False, timeout=20).stdout


def fake_program(folder: Path, name: str, body: str) -> Path:
    """Put a program into a folder that comes first in PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


class Docker:
    """A program called docker. ``answer`` is shell code that sees docker's arguments; calls are written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"

    def run(self, command: Command, answer: str) -> tuple[int, str]:
        body = f'n=$(mktemp {self.folder}/call.XXXXXX); echo "$*" >> {self.log}\n{answer}'
        fake_program(self.folder / "bin", "docker", body)
        done = execute(command, path=self.folder / "bin")
        return done.returncode, done.stdout

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()
