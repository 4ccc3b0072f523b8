"""Command lines of Docker Compose for one project."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flotteq_tasks.commands.shell import Command, script

# `docker compose exec` reads the whole project first: 0.1 s more than the engine itself takes.
_EXEC = """
project=$1 service=$2 user=$3; shift 3
id=$(docker ps --quiet --filter "label=com.docker.compose.project=$project" \\
  --filter "label=com.docker.compose.service=$service" --filter label=com.docker.compose.oneoff=False | tail -n 1)
if [ -z "$id" ]; then echo "no container of $service is running" >&2; exit 1; fi
exec docker exec --interactive ${user:+--user "$user"} "$id" "$@"
"""

# Services of kind ``job`` stand behind this profile: without it Compose does not mention them.
_JOBS = Command("--profile", "ops")


@dataclass(frozen=True)
class Compose:
    """A Compose project on a host.

    Its directory and name never change: Compose would recreate containers or lose volumes.

    Args:
        project: the Compose project's name.
        directory: absolute project directory.
        file: name of the Compose file in it.
        env_file: name of the interpolation file in it.
    """

    project: str
    directory: str
    file: str = "docker-compose.production.yml"
    env_file: str = ".env"

    def base(self) -> Command:
        """The prefix of every call."""
        return Command(
            "docker", "compose", "--project-name", self.project, "--project-directory", self.directory,
            "--env-file", f"{self.directory}/{self.env_file}", "--file", f"{self.directory}/{self.file}",
            "--ansi", "never", "--progress", "plain",
        )  # fmt: skip

    def config(self) -> Command:
        """The resolved file as JSON."""
        return self.base() + _JOBS + Command("config", "--format", "json")

    def hashes(self) -> Command:
        """The configuration hash of every service, ``name hash`` a line: it differs from a changed container's."""
        return self.base() + _JOBS + Command("config", "--hash", "*")

    def up(self, services: Iterable[str], *, recreate: bool = False, scale: Mapping[str, int] | None = None) -> Command:
        """Start services detached, without their dependencies.

        Args:
            recreate: replace containers whose configuration changed; otherwise existing ones stay as they are.
            scale: containers per service, old ones included.
        """
        return self.base() + Command(
            "up", "--detach", "--no-deps", "--no-build", [] if recreate else ["--no-recreate"],
            [f"--scale={name}={count}" for name, count in (scale or {}).items()],
            services,
        )  # fmt: skip

    def run(
        self,
        service: str,
        command: Iterable[str],
        *,
        name: str,
        entrypoint: str = "",
        capabilities: Iterable[str] = (),
        volumes: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Command:
        """Run a one-off container without its dependencies and remove it afterwards.

        Args:
            capabilities: on top of those of the Compose file.
            volumes: ``SOURCE:TARGET``, on top of or instead of those of the Compose file.
            variables: instead of those of the Compose file; anybody on the host can read them.
        """
        return self.base() + Command(
            "run", "--rm", "--no-deps", "--no-TTY", "--quiet-pull", "--name", name,
            ["--entrypoint", entrypoint] if entrypoint else [],
            [f"--cap-add={one}" for one in capabilities], [f"--volume={one}" for one in volumes],
            [f"--env={name}={value}" for name, value in (variables or {}).items()], service, command,
        )  # fmt: skip

    def spare(self, service: str, *, count: int) -> Command:
        """Make containers until there are ``count``; start none: two of the edge cannot have the same ports."""
        return self.base() + Command(
            "up", "--no-start", "--no-deps", "--no-build", "--no-recreate", f"--scale={service}={count}", service
        )

    def networks(self, services: Iterable[str]) -> Command:
        """Make the networks of services that have their containers: nothing is replaced, nothing started."""
        return self.base() + Command("up", "--no-start", "--no-deps", "--no-build", "--no-recreate", services)

    def exec(self, service: str, command: Iterable[str], *, tty: bool = False, user: str = "") -> Command:
        """Run a command in a running container of a service."""
        if tty:
            return self.base() + Command("exec", ["--user", user] if user else [], service, command)
        return script(_EXEC, self.project, service, user, command)

    def logs(self, services: Iterable[str], *, follow: bool, lines: int | None, since: str = "") -> Command:
        """The logs of services; all of them when none is named."""
        return self.base() + Command(
            "logs", "--no-color", ["--follow"] if follow else [], ["--tail", str(lines)] if lines is not None else [],
            ["--since", since] if since else [], services,
        )  # fmt: skip

    def restart(self, services: Iterable[str]) -> Command:
        """Restart containers in place."""
        return self.base() + Command("restart", "--no-deps", services)

    def stop(self, services: Iterable[str]) -> Command:
        """Stop containers and keep them."""
        return self.base() + Command("stop", services)

    def start(self, services: Iterable[str]) -> Command:
        """Start stopped containers."""
        return self.base() + Command("start", services)

    def down(self) -> Command:
        """Remove the containers and networks; volumes are external and stay."""
        return self.base() + Command("down")
