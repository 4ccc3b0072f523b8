"""Scripts of a restore on the host: swap databases while the site answers with the maintenance page, list, drop."""

from collections.abc import Iterable, Mapping

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.model.stack import Database, Project

# Exit codes of the swap.
REFUSED, RETURNED, STUCK = 20, 21, 22

# From its first line to its last it does not depend on its client: whoever is cut off finds it done or returned.
_SWAP = """
trap '' HUP INT TERM PIPE
directory=$1 project=$2 database=$3 user=$4 live=$5 next=$6 kept=$7 limit=$8 edge=$9; shift 9
address=$1 fields=$2 consumers=$3
page=$directory/nginx/state/maintenance.on
closed=; [ ! -e "$page" ] || closed=1
of() { docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
  --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False; }
say() { printf '%s\\n' "$*" 2>/dev/null || true; }
clock() { date +%s%3N; }
server=$(of "$database")
ids=; for service in $consumers; do ids="$ids $(of "$service")"; done
each() { echo "$ids" | xargs -r docker "$@" >/dev/null; }
rename() {
  docker exec -i "$server" psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d postgres \
    -v live="$live" -v next="$1" -v kept="$2" >/dev/null <<'SQL'
select pg_terminate_backend(pid) from pg_stat_activity where datname in (:'live', :'next') and pid <> pg_backend_pid();
begin;
alter database :"live" rename to :"kept";
alter database :"next" rename to :"live";
commit;
SQL
}
format='{{.State.Status}} {{with index .State "Health"}}{{.Status}}{{else}}healthy{{end}}'
healthy() {
  [ -n "$(echo "$ids" | tr -d ' ')" ] || return 0
  end=$(($(date +%s) + limit))
  while :; do
    states=$(echo "$ids" | xargs -r docker inspect --format "$format")
    case $states in *exited*|*unhealthy*) return 1 ;; esac
    if ! printf '%s\\n' "$states" | grep -qvx 'running healthy' && answers; then return 0; fi
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.2
  done
}
answers() {
  [ -n "$address" ] || return 0
  for id in $ids; do
    name=$(docker inspect --format '{{.Name}}' "$id"); name=${name#/}
    url=$(printf '%s' "$address" | sed "s/CONTAINER/$name/")
    body=$(docker exec "$(of "$edge")" sh -c \
      'curl -fsS --max-time 5 "$1" 2>/dev/null || wget -q -T 5 -O - "$1"' sh "$url" 2>/dev/null) || return 1
    printf '%s\\n' "$fields" | while IFS= read -r field; do
      [ -z "$field" ] || printf '%s' "$body" | tr -d '\\n' | grep -qE "$field" || exit 1
    done || return 1
  done
}
mkdir -p "${page%/*}"
began=$(clock)
: >"$page"
reopen() { [ -n "$closed" ] || rm -f "$page"; say "closed $(($(clock) - began))"; }
each stop --time 10
before=$(clock)
if ! rename "$next" "$kept"; then
  each start
  healthy || { say "the old database stays, but its consumers are not healthy"; exit 22; }
  reopen
  exit 20
fi
say "swapped $(($(clock) - before))"
each start
if healthy; then reopen; exit 0; fi
each stop --time 10
rename "$kept" "$next" || exit 22
each start
healthy || exit 22
reopen
exit 21
"""


def swap(
    project: Project,
    database: Database,
    *,
    next: str,
    kept: str,
    consumers: Iterable[str],
    edge: str,
    address: str = "",
    fields: Iterable[str] = (),
    limit: int = 60,
) -> Command:
    """Give the live database's name to another one, in one transaction, with its consumers stopped.

    Prints ``swapped MS`` (the renames) and ``closed MS`` (how long the maintenance page was shown). Exit code 20:
    Postgres refused and nothing changed; 21: the consumers were not healthy and everything is as before; 22: neither.

    Args:
        next: the database that becomes the live one.
        kept: the name that the live one gets.
        consumers: services that are stopped meanwhile.
        address: what their containers must answer, ``CONTAINER`` stands for the name; empty: their health is enough.
        fields: regular expressions that the answer must match.
        limit: seconds until they are healthy.
    """
    return script(
        _SWAP, project.directory, project.name, database.service, database.user, database.name, next, kept, limit,
        edge, address, "\n".join(fields), " ".join(consumers),
    )  # fmt: skip


def field_patterns(expect: Mapping[str, str]) -> list[str]:
    """Regular expressions for fields of a JSON answer and their values."""
    special = "\\.^$*+?{}[]|()"
    quoted = {
        key.rpartition(".")[2]: "".join(f"\\{one}" if one in special else one for one in value)
        for key, value in expect.items()
    }
    return [f'"{key}"[[:space:]]*:[[:space:]]*"?{value}"?[[:space:]]*[,}}]' for key, value in quoted.items()]


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
