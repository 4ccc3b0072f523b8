"""Migrations outside of a deploy."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.operations import database
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.repair import repair


@dataclass(frozen=True)
class Migrated:
    """Names of migrations. ``ran``: pending ones were applied, not only read."""

    applied: tuple[str, ...]
    pending: tuple[str, ...] = ()
    ran: bool = False


def migrate(site: Site, variables: Mapping[str, str], *, only_status: bool) -> Migrated:
    """Run the pending migrations with the live image, or only read them.

    Raises:
        FlotteqError: flotteq.toml has no migrations, nothing is deployed, or the command failed.
    """
    migrations = site.settings.migrations
    if migrations is None:
        raise FlotteqError("flotteq.toml has no [migrations]")
    if only_status:
        applied, pending = database.migration_status(site, migrations)
        return Migrated(tuple(applied), tuple(pending))
    with locked(site, holder("migrate", variables)) as keeper:
        if repair(site, keeper).release is None:
            raise FlotteqError(f"nothing has been deployed to {site.host.name} yet", hint="inv deploy --version v1.0.0")
        with site.report.step("migrations") as note:
            applied, note.text = database.migrate(site, migrations)
        keeper.write("migrated", applied=len(applied))
    return Migrated(tuple(applied), ran=True)
