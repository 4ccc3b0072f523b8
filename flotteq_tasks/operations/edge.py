"""Make the running edge take new files, and know that it did."""

from collections.abc import Sequence

from flotteq_tasks.commands import nginx
from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, Host
from flotteq_tasks.model.errors import CommandFailed

# Seconds: a master process starts its new workers within a fraction of one.
TAKEN = 15
GRACE = 10

_REASONS = {
    nginx.REFUSED: "nginx refuses the configuration and still runs the previous one",
    nginx.NOT_TAKEN: "nginx did not take the new configuration",
    nginx.STILL_DRAINING: "workers of nginx's previous configuration did not end",
    nginx.OTHER_FILES: "nginx's files on the host are not the ones that were to be used; nothing was reloaded",
}


def test_config(host: Host, containers: Containers, *, service: str = "nginx") -> str:
    """Check the files on the host with the nginx that runs.

    Returns:
        its warnings; empty when there are none.

    Raises:
        CommandFailed: nginx would refuse them; its words are in the details.
    """
    done = host.run(nginx.test(containers, service=service), timeout=60, check=False)
    if not done.ok:
        raise _failed(host, done, "nginx refuses the configuration")
    return done.err.strip()


def reload_edge(
    host: Host, containers: Containers, *, generation: str = "", drain: int, service: str = "nginx"
) -> None:
    """Test, reload and wait until the new configuration answers and every worker of the old one has ended.

    Args:
        generation: what the rendered set calls itself (``rendering.nginx.generation``); empty: what the files say.
        drain: seconds after which nginx itself ends old workers (``settings.deploy.drain``); 10 more are waited.

    Raises:
        CommandFailed: the code says at what point (``commands.nginx``); up to a refused test nothing has changed.
    """
    wait_drained(
        host, containers, take_edge(host, containers, generation=generation, service=service), drain, service=service
    )


def take_edge(host: Host, containers: Containers, *, generation: str = "", service: str = "nginx") -> list[str]:
    """Test, reload and wait until the new configuration answers; return the old workers, which still end requests.

    Raises:
        CommandFailed: as ``reload_edge``.
    """
    command = taking(containers, generation=generation, service=service)
    return taken(host, [host.run(command, timeout=TAKEN + 30, check=False)])


def taking(containers: Containers, *, generation: str = "", service: str = "nginx") -> Command:
    """The command of ``take_edge``, for a round trip with others."""
    return nginx.reload(containers, generation=generation, taken=TAKEN, service=service)


def taken(host: Host, done: Sequence[Done]) -> list[str]:
    """What ``take_edge`` returns and raises, from the results of a round trip whose last command is ``taking``."""
    last = done[-1]
    if last.ok:
        return last.out.split()[1:]
    if last.code not in _REASONS:
        last.check(host.name)
    raise _failed(host, last, _REASONS[last.code])


def wait_drained(host: Host, containers: Containers, workers: list[str], drain: int, *, service: str = "nginx") -> None:
    """Wait until old workers have ended. Only then an old container may be stopped: they still send requests to it.

    Raises:
        CommandFailed: one has not ended although nginx itself ends them after the drain time.
    """
    for command in draining(containers, workers, drain, service=service):
        done = host.run(command, timeout=drain + GRACE + 30, check=False)
        if not done.ok:
            raise _failed(host, done, _REASONS.get(done.code, "nginx's old workers could not be waited for"))


def draining(containers: Containers, workers: list[str], drain: int, *, service: str = "nginx") -> list[Command]:
    """The commands of ``wait_drained``, for a round trip with others."""
    return [nginx.drained(containers, workers, limit=drain + GRACE, service=service)] if workers else []


def _failed(host: Host, done: Done, reason: str) -> CommandFailed:
    words = done.err.strip() or done.out.strip()
    return CommandFailed(
        f"{host.name}: {reason}", code=done.code, hint="inv nginx.test", details="\n".join(words.splitlines()[-20:])
    )
