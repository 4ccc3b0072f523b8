"""The data volumes."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(c: Context, *, env: str = "", json: bool = False) -> None:
    """List the volumes, their sizes and users."""
    from flotteq_tasks.console.results import show_volumes
    from flotteq_tasks.operations.control import volumes

    call = app(env, json=json)
    show_volumes(call.console, volumes(call.site))


@task(help={"name": "a volume, e.g. postgres_data", "env": ENV_HELP}, positional=["name"])
def inspect(c: Context, *, name: str, env: str = "") -> None:
    """Print Docker's description of a volume."""
    from flotteq_tasks.operations.control import inspect_volume

    call = app(env)
    call.console.document(inspect_volume(call.site, name))


STOP_HELP = "stop what runs on it meanwhile, and start it again"


@task(
    help={"name": "a volume, e.g. redis_data", "stop": STOP_HELP, "env": ENV_HELP, "json": JSON_HELP},
    positional=["name"],
)
def backup(c: Context, *, name: str, stop: bool = False, env: str = "", json: bool = False) -> None:
    """Take a set of any volume, and read it back.

    Owners, modes, links and contents; one that a database or a cache runs on only while that is stopped.
    """
    from flotteq_tasks.console.backup_results import show_taken
    from flotteq_tasks.operations.backup import volumes

    call = app(env, json=json)
    show_taken(call.console, volumes.take(call.site, volumes.find(call.site, name), os.environ, stop=stop))


@task(
    name="restore",
    help={
        "name": "a volume, e.g. redis_data",
        "from": "a set of `inv backup.list` that has the volume, the beginning of its id, or latest (default: latest)",
        "undo": "exchange again with what was there before the last restore",
        "stop": STOP_HELP,
        "skip-backup": "take no set of what is there first",
        "yes": YES_HELP,
        "env": ENV_HELP,
    },
    positional=["name"],
)
def restore_(
    c: Context,
    *,
    name: str,
    from_: str = "latest",
    undo: bool = False,
    stop: bool = False,
    skip_backup: bool = False,
    yes: bool = False,
    env: str = "",
) -> None:
    """Restore a volume; the present files stay.

    Beside those that are there, compared with the set, exchanged; what does not start with them gets its own back.
    """
    from flotteq_tasks.console.restore_results import question_of_volume, show_volume
    from flotteq_tasks.operations.backup import volumes

    call = app(env)
    volume = volumes.find(call.site, name)
    found = None if undo else volumes.chosen(call.site, from_, volume)
    call.confirm(question_of_volume(volume, found, call.settings.environment), yes=yes, word=volume.name)
    done = volumes.restore(
        call.site, found[0] if found else None, volume, os.environ, stop=stop, skip_backup=skip_backup
    )
    show_volume(call.console, done)
