"""The host's SSH key."""

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"env": ENV_HELP, "replace": "replace a key that changed", "yes": YES_HELP})
def trust(c: Context, *, env: str = "", replace: bool = False, yes: bool = False) -> None:
    """Show the host's SSH keys; trust them after a yes."""
    from flotteq_tasks.operations.trusting import scan_host, trust_host

    call = app(env)
    keys = scan_host(call.settings)
    for key in keys:
        call.console.line(f"{key.kind:<20} {key.fingerprint}")
    call.confirm("Compare with the console of your provider. Are these the host's keys?", yes=yes)
    trust_host(call.settings, keys, replace=replace)
    call.console.line(f"trusted, in {call.settings.host.known_hosts}")
