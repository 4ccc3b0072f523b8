#!/bin/sh
# The contract of the official image: /docker-entrypoint.d/*.sh run and *.envsh are sourced before nginx starts.
set -e

say() {
    [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"
}

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    for file in /docker-entrypoint.d/*; do
        [ -x "$file" ] || continue
        case "$file" in
        *.envsh)
            say "sourcing $file"
            # shellcheck disable=SC1090
            . "$file"
            ;;
        *.sh)
            say "running $file"
            "$file"
            ;;
        esac
    done
    say "configuration complete; ready for start up"
fi

exec "$@"
