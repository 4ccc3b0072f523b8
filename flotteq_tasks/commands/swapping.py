"""The script that exchanges two databases on the host while the site answers with the maintenance page."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.model.stack import Database, Project

# Exit codes of the swap.
REFUSED, RETURNED, STUCK = 20, 21, 22

# What it has in common with what clears up behind it: the containers, what they must answer, the page.
_COMMON = """
trap '' HUP INT TERM PIPE
directory=$1 project=$2 database=$3 user=$4 live=$5 next=$6 kept=$7 limit=$8 edge=$9; shift 9
address=$1 fields=$2 consumers=$3 grace=$4; shift 4
page=$directory/nginx/state/maintenance.on
of() { docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
  --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False; }
say() { printf '%s\\n' "$*" 2>/dev/null || true; }
clock() { date +%s%3N; }
# Its own page may have been left by one that a power cut ended; a person's stays.
ours() { [ ! -e "$page" ] || grep -qx restore "$page"; }
reopen() { ! ours || rm -f "$page"; }
server=$(of "$database") gate=$(of "$edge" | head -n 1)
ids=$(for service in $consumers; do of "$service"; done) names=
[ -z "$ids" ] || names=$(docker inspect --format '{{.Name}}' $ids)
each() { [ -z "$ids" ] || docker "$@" $ids >/dev/null; }
sql() { docker exec -i "$server" psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d "$1"; }
answers() {
  [ -n "$address" ] || return 1
  for name in $names; do
    url=$(printf '%s' "$address" | sed "s/CONTAINER/${name#/}/")
    body=$(docker exec "$gate" sh -c \
      'curl -fsS --max-time 5 "$1" 2>/dev/null || wget -q -T 5 -O - "$1"' sh "$url" 2>/dev/null) || return 1
    printf '%s\\n' "$fields" | while IFS= read -r field; do
      [ -z "$field" ] || printf '%s' "$body" | tr -d '\\n' | grep -qE "$field" || exit 1
    done || return 1
  done
}
format='{{.State.Status}} {{with index .State "Health"}}{{.Status}}{{else}}healthy{{end}}'
# $1: seconds; $2: `answers` is enough, or their health check has to pass as well.
healthy() {
  [ -n "$ids" ] || return 0
  end=$(($(date +%s) + $1))
  while :; do
    states=$(docker inspect --format "$format" $ids)
    case $states in *exited*|*unhealthy*) return 1 ;; esac
    if [ "$2" = answers ] && [ -n "$address" ]; then
      if answers; then return 0; fi
    elif ! printf '%s\\n' "$states" | grep -qvx 'running healthy'; then
      if [ -z "$address" ] || answers; then return 0; fi
    fi
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.1
  done
}
"""

# From its first line to its last it does not depend on its client: whoever is cut off finds it done or returned.
_SWAP = """
way=$1
exec 9>>"$directory/state/swap.lock"
flock --timeout 30 9 || { say "another swap runs"; exit 22; }
shape() {
  sql "$1" <<'SQL'
select md5(coalesce(string_agg(concat_ws(' ', n.nspname, c.relname, c.relkind, a.attname,
  format_type(a.atttypid, a.atttypmod), a.attnotnull), ',' order by n.nspname, c.relname, a.attnum), ''))
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'
and n.nspname not like 'pg_temp%';
SQL
}
# In one container's one shell. A rename lets no session begin while it waits for those that are there to end: they
# are ended until it is done. Requests that were let in before the page get a moment for their last statement.
rename() {
  docker exec -i "$server" sh -s "$user" "$live" "$1" "$2" >/dev/null <<'SHELL'
user=$1 live=$2 next=$3 kept=$4
ask() { psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d postgres -v live="$live" -v next="$next" -v kept="$kept"; }
ask <<'SQL'
set flotteq.live = :'live';
do $do$ begin
  for moment in 1..20 loop
    perform pg_stat_clear_snapshot();
    exit when not exists (select from pg_stat_activity where datname = current_setting('flotteq.live')
      and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle');
    perform pg_sleep(0.05);
  end loop;
end $do$;
SQL
ask <<'SQL' &
begin;
alter database :"live" rename to :"kept";
alter database :"next" rename to :"live";
commit;
SQL
renaming=$!
for turn in $(seq 200); do
  kill -0 "$renaming" 2>/dev/null || break
  ask <<'SQL' || true
select pg_terminate_backend(pid) from pg_stat_activity
where datname in (:'live', :'next') and pid <> pg_backend_pid();
SQL
  sleep 0.05
done
wait "$renaming"
SHELL
}
back() {
  each stop --time "$grace"
  rename "$kept" "$next" || exit 22
  each start
  healthy "$limit" answers || exit 22
  reopen
  exit 21
}
[ "$way" = restart ] || [ "$(shape "$live")" = "$(shape "$next")" ] || way=restart
[ -n "$address" ] || way=restart
mkdir -p "${page%/*}"
began=$(clock)
[ -e "$page" ] || echo restore >"$page"
[ "$way" = reconnect ] || each stop --time "$grace"
before=$(clock)
if ! rename "$next" "$kept"; then
  each start
  healthy "$limit" answers || { say "the old database stays, but its consumers are not healthy"; exit 22; }
  reopen
  exit 20
fi
say "swapped $(($(clock) - before))"
patience=5; [ "$limit" -ge "$patience" ] || patience=$limit
if [ "$way" = restart ] || ! healthy "$patience" answers; then
  [ "$way" = restart ] || each stop --time "$grace"
  way=restart
  each start
  healthy "$limit" answers || back
fi
reopen
say "closed $(($(clock) - began))"
say "way $way"
[ "$way" = reconnect ] || healthy "$limit" health || { echo restore >"$page"; back; }
"""

# A swap that its client left alone ends by itself; one that a power cut ended is brought to an end here.
_SETTLE = """
backups=$1 marker=$directory/state/restore.json
exec 9>>"$directory/state/swap.lock"
flock --timeout $((limit * 2 + grace * 3 + 120)) 9
# A dump that was fetched and never removed, a recovered cluster; whoever uses the place holds its lock.
[ ! -d "$backups/scratch" ] || (flock --nonblock 8 && rm -rf "$backups"/scratch/*.dump "$backups"/drill/now) \
  8>>"$backups/lock" || true
[ -n "$server" ] || { say "its database does not run"; exit 22; }
each start
list() { sql postgres <<'SQL'
select datname from pg_database;
SQL
}
end=$(($(date +%s) + limit))
until found=$(list); do
  [ "$(date +%s)" -lt "$end" ] || { say "its database does not answer"; exit 22; }
  sleep 0.2
done
there() { printf '%s\\n' "$found" | grep -qxF "$1"; }
there "$live" || { say "there is no database $live"; exit 22; }
if there "$kept"; then say state swapped; else
  case $next in *_restored_*)
    docker exec -i "$server" psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d postgres -v next="$next" >/dev/null <<'SQL'
drop database if exists :"next" with (force);
SQL
  esac
  say state before
fi
if [ -e "$page" ] && ours; then
  if healthy "$limit" answers; then reopen; else say unhealthy; fi
fi
rm -f "$marker"
"""


@dataclass(frozen=True)
class Application:
    """What uses the database.

    Args:
        consumers: services.
        edge: the edge's service: their containers are asked from its network.
        address: what they must answer, ``CONTAINER`` stands for the name; empty: their health check is enough.
        fields: regular expressions that the answer must match.
        limit: seconds until they are healthy.
        grace: seconds between SIGTERM and SIGKILL when they are stopped.
    """

    consumers: tuple[str, ...]
    edge: str
    address: str = ""
    fields: tuple[str, ...] = ()
    limit: int = 60
    grace: int = 30


def swap(
    project: Project, database: Database, application: Application, *, next: str, kept: str, way: str = "restart"
) -> Command:
    """Give the live database's name to another one, in one transaction, behind the maintenance page.

    Prints ``swapped MS`` (the renames), ``closed MS`` (how long the page was shown) and ``way reconnect|restart``. Exit
    code 20: Postgres refused and nothing changed; 21: the consumers were not healthy and everything is as before; 22:
    neither.

    Args:
        next: the database that becomes the live one.
        kept: the name that the live one gets.
        way: ``reconnect`` leaves the consumers running where both databases have the same columns and they answer with
            the other one; ``restart`` stops them first.
    """
    return script(_COMMON + _SWAP, *_words(project, database, application, next, kept), way)


def settle(project: Project, database: Database, application: Application, *, next: str, kept: str) -> Command:
    """Bring a restore to an end whose client or host died; names as of ``swap``.

    Waits for a swap that still runs, starts the consumers, takes the swap's own page away when they answer, and removes
    a database that was being filled. Prints ``state swapped`` or ``state before``, and ``unhealthy`` when the page
    stays. Exit code 22: the database does not run.
    """
    return script(_COMMON + _SETTLE, *_words(project, database, application, next, kept), project.backups)


def _words(
    project: Project, database: Database, application: Application, next: str, kept: str
) -> tuple[str | int, ...]:
    return (
        project.directory, project.name, database.service, database.user, database.name, next, kept, application.limit,
        application.edge, application.address, "\n".join(application.fields), " ".join(application.consumers),
        application.grace,
    )  # fmt: skip


def field_patterns(expect: Mapping[str, str]) -> list[str]:
    """Regular expressions for fields of a JSON answer and their values."""
    special = "\\.^$*+?{}[]|()"
    quoted = {
        key.rpartition(".")[2]: "".join(f"\\{one}" if one in special else one for one in value)
        for key, value in expect.items()
    }
    return [f'"{key}"[[:space:]]*:[[:space:]]*"?{value}"?[[:space:]]*[,}}]' for key, value in quoted.items()]
