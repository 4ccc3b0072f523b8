"""Command lines for PostgreSQL in its container."""

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.model.stack import Database


def psql(containers: Containers, database: Database, *, tty: bool = False) -> Command:
    """The interactive client; it reads standard input when there is no terminal."""
    words = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "-U", database.user, "-d", database.name]
    return containers.exec(database.service, words, tty=tty)


def query(containers: Containers, database: Database, sql: str) -> Command:
    """One statement; rows without decoration, fields separated by ``|``."""
    words = [
        "psql",
        "-X",
        "-A",
        "-t",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        database.user,
        "-d",
        database.name,
        "-c",
        sql,
    ]
    return containers.exec(database.service, words)


def count_tables(containers: Containers, database: Database) -> Command:
    """How many tables exist outside PostgreSQL's own schemas."""
    return query(
        containers,
        database,
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )


_DUMP = """
path=$1
umask 077
tables=$($COUNT)
[ "$tables" -gt 0 ] || { echo empty; exit 0; }
mkdir -p "$(dirname "$path")"
trap 'rm -f "$path.part"' EXIT
$DUMP > "$path.part"
$LIST < "$path.part" > /dev/null
mv "$path.part" "$path"
stat -c %s "$path"
"""


def dump_to_file(containers: Containers, database: Database, path: str) -> Command:
    """Dump in PostgreSQL's own format to a file on the host, which appears only when it reads back.

    Prints its size in bytes, or ``empty`` where the database has no table: then there is no file.
    """
    dump = containers.exec(database.service, ["pg_dump", "-Fc", "-U", database.user, "-d", database.name])
    contents = containers.exec(database.service, ["pg_restore", "--list"])
    text = _DUMP.replace("$COUNT", count_tables(containers, database).render())
    return script(text.replace("$DUMP", dump.render()).replace("$LIST", contents.render()), path)


# What psql says of a statement that Postgres refuses repeats the statement, unless it is to be brief.
_CHANGE = r"""
doubled() { sed "s/$1/$1$1/g"; }
IFS= read -r password
role=$(printf '%s' "$1" | doubled '"')
password=$(printf '%s' "$password" | doubled "'")
printf '\\set VERBOSITY terse\nALTER ROLE "%s" WITH PASSWORD '"'%s'"';\n' "$role" "$password" | $PSQL
"""


def set_password(containers: Containers, database: Database) -> Command:
    """Change the role's password; the new one is read from standard input, so that no command line shows it."""
    return script(_CHANGE.replace("$PSQL", query_input(containers, database).render()), database.user)


def query_input(containers: Containers, database: Database) -> Command:
    """Statements from standard input, in one transaction."""
    words = ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-U", database.user, "-d", database.name]
    return containers.exec(database.service, words)
