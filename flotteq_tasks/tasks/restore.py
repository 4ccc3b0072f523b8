"""Restores: beside what is live, compared, swapped."""

import os

from invoke.context import Context

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, YES_HELP, app
from flotteq_tasks.tasks._decorator import task

FROM_HELP = "a set of `inv backup.list`, the beginning of its id, latest, or pre-deploy (default: latest)"


@task(
    help={
        "from": FROM_HELP,
        "to": "a moment instead of a set, such as 2026-11-22 14:03; UTC unless an offset follows",
        "skip-backup": "take no set of what is there first",
        "yes": YES_HELP,
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def db(
    c: Context,
    *,
    from_: str = "",
    to: str = "",
    skip_backup: bool = False,
    yes: bool = False,
    env: str = "",
    json: bool = False,
) -> None:
    """Restore the database; the present one is kept.

    What is there is backed up first; the set is restored beside it and compared with its manifest; both swap names.
    """
    from flotteq_tasks.console.restore_results import question_before, show_restored
    from flotteq_tasks.operations.backup.restore import restore, source

    call = app(env, json=json)
    found = source(call.site, from_, to)
    call.confirm(question_before(found, call.settings.environment), yes=yes, word=call.settings.database.name)
    show_restored(call.console, restore(call.site, found, os.environ, skip_backup=skip_backup))


def _tree(part: str, wanted: str, env: str, *, undo: bool, skip_backup: bool, yes: bool) -> None:
    from flotteq_tasks.console.restore_results import question_of_files, show_exchanged
    from flotteq_tasks.operations.backup import trees

    call = app(env)
    if undo:
        call.confirm(f"The {part} from before the last restore are put back.", yes=yes)
        show_exchanged(call.console, trees.undo_tree(call.site, part, os.environ))
        return
    found, hours = trees.chosen(call.site, wanted, part)
    call.confirm(question_of_files(found, hours, part, call.settings.environment), yes=yes)
    done = trees.restore_tree(call.site, found, part, os.environ, skip_backup=skip_backup)
    show_exchanged(call.console, done)


_TREE_HELP = {
    "from": "a set of `inv backup.list`, the beginning of its id, or latest (default: latest)",
    "undo": "exchange again with what was there before the last restore",
    "skip-backup": "take no set of what is there first",
    "yes": YES_HELP,
    "env": ENV_HELP,
}


@task(help=_TREE_HELP)
def uploads(
    c: Context,
    *,
    from_: str = "latest",
    undo: bool = False,
    skip_backup: bool = False,
    yes: bool = False,
    env: str = "",
) -> None:
    """Restore the uploaded files; the present ones stay.

    Beside those that are there, compared with the set, exchanged; restore.finalize removes the former ones.
    """
    _tree("uploads", from_, env, undo=undo, skip_backup=skip_backup, yes=yes)


@task(help=_TREE_HELP)
def certs(
    c: Context,
    *,
    from_: str = "latest",
    undo: bool = False,
    skip_backup: bool = False,
    yes: bool = False,
    env: str = "",
) -> None:
    """Restore the certificates; the present ones stay.

    Beside, compared, exchanged; then put into use as after a renewal, with nginx's own check before.
    """
    _tree("certs", from_, env, undo=undo, skip_backup=skip_backup, yes=yes)


@task(
    name="all",
    help={
        "set": "a set of `inv backup.list` that has all three, the beginning of its id, or latest",
        "yes": YES_HELP,
        "env": ENV_HELP,
    },
)
def all_(c: Context, *, set: str, yes: bool = False, env: str = "") -> None:
    """Restore all parts of one set.

    One after the other, as restore.db, restore.uploads and restore.certs do; it stops at the first that fails.
    """
    from flotteq_tasks.console.restore_results import question, show_exchanged, show_restored
    from flotteq_tasks.operations.backup import restore, trees

    call = app(env)
    found = restore.preview(call.site, set)
    for part in ("uploads", "certs"):
        trees.chosen(call.site, found.set.id, part)
    call.confirm(question(found, call.settings.environment), yes=yes, word=call.settings.database.name)
    show_restored(call.console, restore.restore_db(call.site, found.set, os.environ))
    for part in ("uploads", "certs"):
        show_exchanged(call.console, trees.restore_tree(call.site, found.set, part, os.environ))


@task(help={"yes": YES_HELP, "env": ENV_HELP, "json": JSON_HELP})
def undo(c: Context, *, yes: bool = False, env: str = "", json: bool = False) -> None:
    """Swap back the database from before a restore.

    Again: the other way round. What was written since stays in the other one.
    """
    from flotteq_tasks.console.restore_results import show_restored
    from flotteq_tasks.operations.backup.restore import undo

    call = app(env, json=json)
    call.confirm("The database from before the last restore becomes the live one.", yes=yes)
    show_restored(call.console, undo(call.site, os.environ))


@task(help={"yes": YES_HELP, "env": ENV_HELP})
def finalize(c: Context, *, yes: bool = False, env: str = "") -> None:
    """Remove databases and files from before restores."""
    from flotteq_tasks.operations.backup.restore import finalize

    call = app(env)
    call.confirm("Databases and files from before restores are removed: no undo afterwards.", yes=yes)
    removed = finalize(call.site, os.environ)
    call.console.line(f"removed: {', '.join(removed)}" if removed else "there was nothing to remove")
