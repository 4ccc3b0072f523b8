"""What the engine itself needs for a deploy: the same work by one script on the host, timed there."""

import shlex

from flotteq_tasks.commands.shell import script
from flotteq_tasks.operations.backup import predeploy
from flotteq_tasks.operations.context import Site

LIMIT = 300

# Every container that rolls gets a twin of the same image, the edge's file names the twins, the old ones go. Nothing
# is checked: what is left is the time of the backup, Compose, the containers' start, nginx and `docker stop`.
_ROLL = """
directory=$1 edge=$2 grace=$3; shift 3
cd "$directory"
compose() { docker compose --file "$FILE" --ansi never --progress quiet "$@"; }
now() { date +%s%3N; }
began=$(now)
lap() { echo "lap $1 $(($(now) - began))"; began=$(now); }
named() { docker ps --filter "label=com.docker.compose.project=$PROJECT" \
  --filter "label=com.docker.compose.service=$1" --format '{{.Names}}' | sort -V; }

for image in $IMAGES; do docker pull --quiet "$image" >/dev/null & done
wait
lap images
{ $BACKUP; } >/dev/null
lap backup
$MIGRATE
lap migrations

old='' scales=''
for service; do
  names=$(named "$service")
  old="$old $names"
  scales="$scales --scale $service=$(($(echo "$names" | wc -l) * 2))"
done
compose up --detach --no-deps --no-recreate $scales "$@"
new=''
for service; do
  for name in $(named "$service"); do
    case " $(echo $old) " in *" $name "*) ;; *) new="$new $name" ;; esac
  done
done
until [ -z "$(docker inspect --format '{{.State.Health.Status}}' $new | grep -v '^healthy$')" ]; do sleep 0.1; done
lap containers

# One new name for each old one, service by service: both lists are in that order.
set -- $new
for name in $old; do
  sed -i "s/^\\( *server \\)$name:/\\1$1:/" nginx/upstreams/active.conf
  shift
done
docker exec "$edge" sh -c '
  nginx -e stderr -t -q -c /etc/nginx/flotteq/nginx.conf
  master=$(cat /run/nginx.pid)
  before=$(grep -lE "^PPid:[[:space:]]$master\\$" /proc/[0-9]*/status | cut -d/ -f3)
  kill -HUP "$master"
  for worker in $before; do
    while grep -q worker "/proc/$worker/cmdline" 2>/dev/null; do sleep 0.1; done
  done'
lap switch
docker stop --time "$grace" $old >/dev/null
docker rm --force $old >/dev/null
lap removal
"""


def rolled_by_hand(site: Site) -> dict[str, float]:
    """Replace all rolling containers of the live release by twins; return the seconds of each part.

    Raises:
        FlotteqError: a part failed.
    """
    settings, compose = site.settings, site.engine.compose
    [edge] = settings.of_kind("edge")
    rolling = settings.of_kind("rolling")
    migrations = settings.migrations
    migrate = "true"
    if migrations:
        entrypoint = "/opt/entrypoint/secrets-to-env"
        run = compose.run(migrations.service, migrations.command, name="by-hand-migrations", entrypoint=entrypoint)
        migrate = f"{run.render()} >/dev/null"
    instances = site.engine.facts().instances
    names = {one.service: one.name for one in instances}
    images = [shlex.quote(one.image.partition("@")[0]) for one in instances if one.service in rolling]
    text = (
        _ROLL.replace("$FILE", compose.file)
        .replace("$PROJECT", shlex.quote(compose.project))
        .replace("$IMAGES", " ".join(images))
        .replace("$BACKUP", predeploy.command(site, "by hand").render())
        .replace("$MIGRATE", migrate)
    )
    done = site.host.run(
        script(text, str(settings.directory), names[edge], settings.deploy.stop_grace, rolling), timeout=LIMIT
    )
    laps = [line.split() for line in done.out.splitlines() if line.startswith("lap ")]
    return {name: int(milliseconds) / 1000 for _, name, milliseconds in laps}
