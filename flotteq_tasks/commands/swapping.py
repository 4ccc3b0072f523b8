"""The script that exchanges two databases on the host while the site answers with the maintenance page."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.commands.docker import ENGINE
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
# What the engine knows by heart it says at once: ten seconds are those of a host that swaps.
of() { engine 10 ps --all --quiet --filter "label=com.docker.compose.project=$project" \
  --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False; }
say() { printf '%s\\n' "$*" 2>/dev/null || true; }
clock() { date +%s%3N; }
# Its own page may have been left by one that a power cut ended; a person's stays.
ours() { [ ! -e "$page" ] || grep -qx restore "$page"; }
reopen() { ! ours || rm -f "$page"; }
deaf() { say "the engine does not answer"; exit 20; }
server=$(of "$database") || deaf
gate=$(of "$edge") || deaf
gate=$(printf '%s\\n' "$gate" | head -n 1)
ids=$(for service in $consumers; do of "$service" || exit 1; done) || deaf
names=
[ -z "$ids" ] || names=$(engine 10 inspect --format '{{.Name}}' $ids) || deaf
each() { [ -z "$ids" ] || engine "$@" $ids >/dev/null; }
# All at once, and 15 seconds for SIGKILL behind their own grace.
stopped() { each $((grace + 15)) stop --time "$grace"; }
sql() { engine "$1" exec -i "$server" psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d "$2"; }
# A rename may go on when its client was killed: as long as one does, nobody knows the names.
list() {
  sql 10 postgres <<'SQL'
select datname from pg_database
where not exists (select from pg_stat_activity where application_name = 'flotteq_rename');
SQL
}
listed() {
  end=$(($(date +%s) + limit))
  until found=$(list) && [ -n "$found" ]; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.2
  done
}
there() { printf '%s\\n' "$found" | grep -qxF "$1"; }
answers() {
  [ -n "$address" ] || return 1
  for name in $names; do
    url=$(printf '%s' "$address" | sed "s/CONTAINER/${name#/}/")
    # Two programs have five seconds each.
    # shellcheck disable=SC2016 # for the shell in the container
    body=$(engine 15 exec "$gate" sh -c \
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
    states=$(engine 10 inspect --format "$format" $ids)
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
# The engine starts one after the other.
started() { each 60 start; }
up() { started && healthy "$limit" answers; }
"""

# From its first line to its last it does not depend on its client: whoever is cut off finds it done or returned.
_SWAP = """
way=$1
exec 9>>"$directory/state/swap.lock"
flock --timeout 30 9 || { say "another swap runs"; exit 22; }
# The catalogue of thousands of tables is read in seconds.
shape() {
  sql 60 "$1" <<'SQL'
select md5(coalesce(string_agg(concat_ws(' ', n.nspname, c.relname, c.relkind, a.attname,
  format_type(a.atttypid, a.atttypmod), a.attnotnull), ',' order by n.nspname, c.relname, a.attnum), ''))
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'
and n.nspname not like 'pg_temp%';
SQL
}
alike() { one=$(shape "$live") && other=$(shape "$next") && [ "$one" = "$other" ]; }
# In one container's one shell. A rename lets no session begin while it waits for those that are there to end: they
# are ended until it is done. Requests that were let in before the page get a moment for their last statement.
#
# It ends by itself: each rename waits for 30 seconds, and after a minute nothing is committed any more. Only then is
# the client killed, whose end is not that of the shell in the container.
change() {
  engine 75 exec -i "$server" sh -s "$user" "$live" "$1" "$2" $(($(date +%s) + 60)) >/dev/null <<'SHELL'
user=$1 live=$2 next=$3 kept=$4 until=$5
ask() { psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d postgres -v live="$live" -v next="$next" -v kept="$kept" \
  -v until="$until"; }
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
set flotteq.until = :'until';
set application_name = 'flotteq_rename';
set statement_timeout = '30s';
begin;
alter database :"live" rename to :"kept";
alter database :"next" rename to :"live";
do $do$ begin
  if extract(epoch from clock_timestamp()) > current_setting('flotteq.until')::numeric then
    raise exception 'nobody waits for the rename any more';
  end if;
end $do$;
commit;
SQL
renaming=$!
for turn in $(seq 200); do
  kill -0 "$renaming" 2>/dev/null && [ "$(date +%s)" -lt "$until" ] || break
  ask <<'SQL' || true
select pg_terminate_backend(pid) from pg_stat_activity
where datname in (:'live', :'next') and pid <> pg_backend_pid();
SQL
  sleep 0.05
done
wait "$renaming"
SHELL
}
# What a change that failed, or was not waited for, has done is in the names.
rename() {
  ! change "$1" "$2" || return 0
  listed || { say "Postgres does not say which database is live"; exit 22; }
  there "$2"
}
# Whoever could not be stopped may end at any moment: the page stays.
running() { say "the consumers did not stop"; started || true; exit 22; }
back() {
  ended=yes
  stopped || ended=
  rename "$kept" "$next" || exit 22
  [ -n "$ended" ] || running
  up || exit 22
  reopen
  exit 21
}
[ "$way" = restart ] || alike || way=restart
[ -n "$address" ] || way=restart
mkdir -p "${page%/*}"
began=$(clock)
[ -e "$page" ] || echo restore >"$page"
[ "$way" = reconnect ] || stopped || running
before=$(clock)
if ! rename "$next" "$kept"; then
  up || { say "the old database stays, but its consumers are not healthy"; exit 22; }
  reopen
  exit 20
fi
say "swapped $(($(clock) - before))"
patience=5; [ "$limit" -ge "$patience" ] || patience=$limit
if [ "$way" = restart ] || ! healthy "$patience" answers; then
  [ "$way" = restart ] || stopped || back
  way=restart
  up || back
fi
reopen
say "closed $(($(clock) - began))"
say "way $way"
[ "$way" = reconnect ] || healthy "$limit" health || { [ -e "$page" ] || echo restore >"$page"; back; }
"""

# A swap that its client left alone ends by itself; one that a power cut ended is brought to an end here.
_SETTLE = """
backups=$1 longest=$2 marker=$directory/state/restore.json
exec 9>>"$directory/state/swap.lock"
flock --timeout "$longest" 9 || { say "a swap still runs"; exit 22; }
# A dump that was fetched and never removed, a recovered cluster; whoever uses the place holds its lock.
[ ! -d "$backups/scratch" ] || (flock --nonblock 8 && rm -rf "$backups"/scratch/*.dump "$backups"/drill/now) \
  8>>"$backups/lock" || true
[ -n "$server" ] || { say "its database does not run"; exit 22; }
started || { say "the application does not start"; exit 22; }
listed || { say "its database does not answer"; exit 22; }
there "$live" || { say "there is no database $live"; exit 22; }
if there "$kept"; then say state swapped; else
  case $next in *_restored_*)
    # As long as whoever fills it has for removing it: every file of it goes.
    engine 300 exec -i "$server" psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d postgres -v next="$next" >/dev/null <<'SQL'
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

    @property
    def longest(self) -> int:
        """Seconds that a swap takes at most: there and back, every word to the engine at its limit."""
        return self.limit * 4 + self.grace * 3 + 900


def swap(
    project: Project, database: Database, application: Application, *, next: str, kept: str, way: str = "restart"
) -> Command:
    """Give the live database's name to another one, in one transaction, behind the maintenance page.

    Prints ``swapped MS`` (the renames), ``closed MS`` (how long the page was shown) and ``way reconnect|restart``. Exit
    code 20: Postgres refused or the engine did not answer, and nothing changed; 21: the consumers were not healthy and
    everything is as before; 22: neither.

    Args:
        next: the database that becomes the live one.
        kept: the name that the live one gets.
        way: ``reconnect`` leaves the consumers running where both databases have the same columns and they answer with
            the other one; ``restart`` stops them first.
    """
    return script(ENGINE + _COMMON + _SWAP, *_words(project, database, application, next, kept), way)


def settle(project: Project, database: Database, application: Application, *, next: str, kept: str) -> Command:
    """Bring a restore to an end whose client or host died; names as of ``swap``.

    Waits for a swap that still runs, starts the consumers, takes the swap's own page away when they answer, and removes
    a database that was being filled. Prints ``state swapped`` or ``state before``, and ``unhealthy`` when the page
    stays. Another exit code than 0: the database does not run, or the engine does not answer; all is left as it is.
    """
    words = _words(project, database, application, next, kept)
    return script(ENGINE + _COMMON + _SETTLE, *words, project.backups, application.longest)


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
