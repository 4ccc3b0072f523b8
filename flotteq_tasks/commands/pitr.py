"""Scripts of point-in-time recovery on the host: prepare the server, look at its slot, take both back."""

from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.model.stack import Database, Project

# As the receiver's container has it, and the group that the job is in.
SLOT, GROUP = "wal_receiver", "6400"
# Exit code: no container of the database runs.
NO_SERVER = 5

_SERVER = """
project=$1 service=$2 user=$3; shift 3
server=$(docker ps --quiet --filter "label=com.docker.compose.project=$project" \
  --filter "label=com.docker.compose.service=$service" --filter label=com.docker.compose.oneoff=False | head -n 1)
"""
_REQUIRED = """
[ -n "$server" ] || { echo "its database does not run"; exit 5; }
"""

# `all` in pg_hba.conf does not mean replication. `md5` takes a password that is stored as SCRAM as well, and only so.
# The file is written in place: a new one would belong to root.
_PREPARE = """
backups=$1 megabytes=$2 group=$3
install -d -m 700 "$backups"
install -d -m 2770 -o root -g "$group" "$backups/wal"
docker exec -i "$server" sh -es "$user" "$megabytes" <<'SHELL'
user=$1 megabytes=$2
ask() { psql -XAtq -v ON_ERROR_STOP=1 -U "$user" -d postgres "$@"; }
file=$(ask -c 'show hba_file')
line="host replication \\"$user\\" samenet md5 # wal-receiver"
grep -qxF "$line" "$file" || printf '%s\\n' "$line" >>"$file"
ask -c "alter system set max_slot_wal_keep_size = '${megabytes}MB'"
ask -c 'select pg_reload_conf()' >/dev/null
SHELL
"""

_REMOVE = """
slot=$1 receiver=$2
ids=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
  --filter "label=com.docker.compose.service=$receiver")
[ -z "$ids" ] || docker stop --time 15 $ids >/dev/null
docker exec -i "$server" sh -es "$user" "$slot" <<'SHELL'
user=$1 slot=$2
ask() { psql -XAtq -v ON_ERROR_STOP=1 -v slot="$slot" -U "$user" -d postgres "$@"; }
# A receiver that was killed is noticed by and by.
ask <<'SQL' >/dev/null
select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = :'slot' and active;
select set_config('flotteq.slot', :'slot', false);
do $do$ begin
  for moment in 1..300 loop
    exit when not exists (
      select from pg_replication_slots where slot_name = current_setting('flotteq.slot') and active);
    perform pg_sleep(0.1);
  end loop;
end $do$;
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = :'slot';
alter system reset max_slot_wal_keep_size;
SQL
file=$(ask -c 'show hba_file')
kept=$(grep -v '^host replication .* samenet md5 # wal-receiver$' "$file")
printf '%s\\n' "$kept" >"$file"
ask -c 'select pg_reload_conf()' >/dev/null
SHELL
[ -z "$ids" ] || docker rm --force $ids >/dev/null
"""

_LOOK = """
backups=$1 slot=$2
ask() {
  timeout 30 docker exec -i "$server" psql -XAtq -v ON_ERROR_STOP=1 -v slot="$slot" -F ' ' -U "$user" -d postgres
}
[ -z "$server" ] || ask <<'SQL' || echo away
select 'slot', coalesce(wal_status, 'reserved'), active,
  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
from pg_replication_slots where slot_name = :'slot';
select 'system', system_identifier from pg_control_system();
SQL
[ ! -f "$backups/wal.json" ] || { printf 'stored '; tr -d '\\n' <"$backups/wal.json"; echo; }
for chain in "$backups"/wal/*/; do
  [ -d "$chain" ] || continue
  newest=$(find "$chain" -type f -printf '%T@\\n' | sort -n | tail -n 1)
  echo "chain $(basename "$chain") ${newest:-0}"
done
"""


def prepare(project: Project, database: Database, *, megabytes: int) -> Command:
    """Make the place of the log, let the receiver in, and bound what a slot may keep; again: nothing is changed.

    Args:
        megabytes: the bound, ``max_slot_wal_keep_size``: a receiver that is away must not fill the disk.
    """
    return script(_SERVER + _REQUIRED + _PREPARE, *_words(project, database), project.backups, megabytes, GROUP)


def remove(project: Project, database: Database, *, receiver: str) -> Command:
    """Stop the receiver, drop its slot, reset the server, remove the container; what was received stays.

    The container goes last: where anything fails before, the next one finds it and tries again.

    Args:
        receiver: its service.
    """
    return script(_SERVER + _REQUIRED + _REMOVE, *_words(project, database), SLOT, receiver)


def look(project: Project, database: Database) -> Command:
    """Print ``slot STATUS ACTIVE LAG`` where there is a slot, ``system ID``, ``stored JSON``, ``chain NAME SECONDS``.

    The lag is bytes, the seconds are Unix time of the last byte that was received. Without ``system`` the database does
    not answer.
    """
    return script(_SERVER + _LOOK, *_words(project, database), project.backups, SLOT)


def _words(project: Project, database: Database) -> tuple[str, ...]:
    return (project.name, database.service, database.user)
