#!/bin/sh

database_answers() {
  node -e '
    const socket = require("node:net").connect(Number(process.env.DB_PORT), process.env.DB_HOST);
    socket.setTimeout(2000, () => process.exit(1));
    socket.on("connect", () => process.exit(0)).on("error", () => process.exit(1));
  '
}

if [ -n "$DB_HOST" ] && [ -n "$DB_PORT" ]; then
  attempt=1
  until database_answers; do
    if [ "$attempt" -ge 60 ]; then
      echo "The database at $DB_HOST:$DB_PORT does not answer: giving up" >&2
      exit 1
    fi
    echo "Waiting for the database at $DB_HOST:$DB_PORT ($attempt)"
    attempt=$((attempt + 1))
    sleep 1
  done
fi

npm run migration:run || echo "Migrations failed: starting the application anyway" >&2

exec "$@"
