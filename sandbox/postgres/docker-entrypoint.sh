#!/usr/bin/env bash
# The contract of the official image: POSTGRES_{USER,PASSWORD,DB,INITDB_ARGS}[_FILE], POSTGRES_HOST_AUTH_METHOD,
# /docker-entrypoint-initdb.d, root is dropped, data lies in $PGDATA.
set -Eeo pipefail

from_file() { # VARIABLE [DEFAULT]
    local name=$1 file_name="${1}_FILE" default=${2:-}
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        echo "error: both $name and $file_name are set; set one" >&2
        exit 1
    fi
    local value=${!name:-$default}
    [[ -n ${!file_name:-} ]] && value=$(<"${!file_name}")
    export "$name"="$value"
    unset "$file_name"
}

check_password() {
    [[ -n $POSTGRES_PASSWORD || $POSTGRES_HOST_AUTH_METHOD == trust ]] && return
    echo "error: the database is uninitialized and POSTGRES_PASSWORD is empty; set it or POSTGRES_PASSWORD_FILE" >&2
    exit 1
}

initialize() {
    # shellcheck disable=SC2086 # arguments are words on purpose
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS
    local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

run_sql() {
    psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh)
            if [[ -x $file ]]; then
                echo "$0: running $file"
                "$file"
            else
                echo "$0: sourcing $file"
                # shellcheck disable=SC1090
                . "$file"
            fi
            ;;
        *.sql) echo "$0: running $file" && run_sql --dbname "$POSTGRES_DB" -f "$file" ;;
        *.sql.gz) echo "$0: running $file" && gunzip -c "$file" | run_sql --dbname "$POSTGRES_DB" ;;
        *) [[ ! -e $file ]] || echo "$0: ignoring $file" ;;
        esac
    done
}

set_up_database() {
    PGPASSWORD=$POSTGRES_PASSWORD
    export PGPASSWORD
    pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
    if [[ $POSTGRES_DB != postgres ]]; then
        run_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    run_init_files
    pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

only_tells() {
    local word
    for word in "$@"; do
        case $word in
        -'?' | --help | --describe-config | -V | --version) return 0 ;;
        esac
    done
    return 1
}

main() {
    if [[ ${1:0:1} == - ]]; then
        set -- postgres "$@"
    fi
    if [[ $1 != postgres ]] || only_tells "$@"; then
        exec "$@"
    fi
    # As root, before it is dropped: secret files are often readable by root only, and the official image reads them here.
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    if [[ $(id -u) == 0 ]]; then
        mkdir -p "$PGDATA" /var/run/postgresql
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        chmod 700 "$PGDATA"
        exec gosu postgres "${BASH_SOURCE[0]}" "$@"
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA" || true
    if [[ ! -s $PGDATA/PG_VERSION ]]; then
        : "${POSTGRES_HOST_AUTH_METHOD:=}"
        check_password
        initialize
        set_up_database
    fi
    exec "$@"
}

main "$@"
