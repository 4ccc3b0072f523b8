"""What the sandbox's tasks show."""

from collections.abc import Sequence

from flotteq_tasks.console.console import Console
from flotteq_tasks.console.results import show_status
from flotteq_tasks.operations.sandbox.demo import Demo
from flotteq_tasks.operations.sandbox.files import Sandbox
from flotteq_tasks.operations.sandbox.lifecycle import SandboxStatus


def show_sandbox(console: Console, sandbox: Sandbox) -> None:
    """Where the sandbox is reached."""
    console.table(
        ("WHAT", "WHERE"),
        [
            ("ssh", f"deploy@{sandbox.ssh_address} port {sandbox.ssh_port}    (inv sandbox.ssh)"),
            ("https", f"{sandbox.edge.address}:{sandbox.edge.https_port}"),
            ("registry", sandbox.push_server),
        ],
    )


def show_sandbox_status(console: Console, status: SandboxStatus) -> None:
    """The sandbox's containers."""
    if console.json:
        console.document({"ok": status.up, "instance": status.instance, "containers": status.containers})
        return
    console.table(("CONTAINER", "STATE"), list(status.containers.items()))


def show_demo(console: Console, demo: Demo) -> None:
    """The end of the demo: status, addresses, what to try next."""
    console.line()
    show_status(console, demo.status)
    console.line()
    for url in demo.urls:
        console.line(f"  {url}")
    console.line("\nThe certificates come from the sandbox's own authority. To see them without a warning:")
    for line in demo.trust:
        console.line(f"  {line}")
    console.line("\nTry next:")
    _commands(console, demo.next_steps)


def _commands(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(command) for command, _ in rows)
    for command, why in rows:
        console.line(f"  {command:<{width}}  {why}")
