"""Scripts about databases and files of restores on the host: list, count, remove."""

from collections.abc import Iterable

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.model.stack import Database

_CLEAR = """
for place; do
  case $place in
    /*) directory=$place ;;
    *) directory=$(docker volume inspect --format '{{.Mountpoint}}' "$place") ;;
  esac
  if [ -e "$directory/.flotteq-restore" ]; then
    rm -rf -- "$directory/.flotteq-restore"
    echo "$place"
  fi
done
"""


def clear_trees(places: Iterable[str]) -> Command:
    """Remove what restores of files put aside; print the places that had something.

    Args:
        places: names of volumes, or directories.
    """
    return script(_CLEAR, list(places))


def databases(containers: Containers, database: Database) -> Command:
    """Names of all databases, one a line, with their sizes in bytes behind a space."""
    words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", " ", "-U", database.user, "-d", "postgres", "-c",
             "select datname, pg_database_size(datname) from pg_database order by 1"]  # fmt: skip
    return containers.exec(database.service, words)


def statements(containers: Containers, database: Database) -> Command:
    """Statements from standard input, outside of the live database; each by itself."""
    words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", database.user, "-d", "postgres"]
    return containers.exec(database.service, words)


ROWS = """
select format('%I.%I', n.nspname, c.relname), (xpath('/row/c/text()', query_to_xml(
  format('select count(*) as c from only %I.%I', n.nspname, c.relname), false, true, '')))[1]::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname not in ('pg_catalog', 'information_schema')
and n.nspname not like 'pg_toast%' and n.nspname not like 'pg_temp%'
"""


def rows(containers: Containers, database: Database) -> Command:
    """Number of rows of every table of the live database: ``schema.table N`` a line."""
    words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", " ", "-U", database.user, "-d", database.name, "-c", ROWS]
    return containers.exec(database.service, words)
