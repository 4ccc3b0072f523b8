"""Restores: beside what is live, compared, swapped."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task

FROM_HELP = "a set of `inv backup.list`, the beginning of its id, latest, or pre-deploy"


@task(
    help={
        "from": FROM_HELP,
        "skip-backup": "take no set of what is there first",
        "yes": YES_HELP,
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def db(
    c: Context,
    *,
    from_: str = "latest",
    skip_backup: bool = False,
    yes: bool = False,
    env: str = "",
    json: bool = False,
) -> None:
    """Restore the database; the present one is kept.

    What is there is backed up first; the set is restored beside it and compared with its manifest; both swap names.
    """
    from flotteq_tasks.console.restore_results import question, show_restored
    from flotteq_tasks.operations.backup.restore import preview, restore_db

    call = app(env, json=json)
    found = preview(call.site, from_)
    call.confirm(question(found, call.settings.environment), yes=yes, word=call.settings.database.name)
    show_restored(call.console, restore_db(call.site, found.set, os.environ, skip_backup=skip_backup))


@task(help={"yes": YES_HELP, "env": ENV_HELP, "json": JSON_HELP})
def undo(c: Context, *, yes: bool = False, env: str = "", json: bool = False) -> None:
    """Swap back the database from before the last restore.

    Again: the other way round. What was written since stays in the other one.
    """
    from flotteq_tasks.console.restore_results import show_restored
    from flotteq_tasks.operations.backup.restore import undo

    call = app(env, json=json)
    call.confirm("The database from before the last restore becomes the live one.", yes=yes)
    show_restored(call.console, undo(call.site, os.environ))


@task(help={"yes": YES_HELP, "env": ENV_HELP})
def finalize(c: Context, *, yes: bool = False, env: str = "") -> None:
    """Remove the databases from before restores."""
    from flotteq_tasks.operations.backup.restore import finalize

    call = app(env)
    call.confirm("The databases from before restores are removed: no restore.undo afterwards.", yes=yes)
    removed = finalize(call.site, os.environ)
    call.console.line(f"removed: {', '.join(removed)}" if removed else "there was nothing to remove")
