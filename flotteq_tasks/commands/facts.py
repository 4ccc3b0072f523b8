"""The script that reads a host's state in one round trip: sections that begin with ``@@ name``."""

from flotteq_tasks.commands.certbot import LINKS
from flotteq_tasks.commands.shell import Command, script

# One line a container; json keeps foreign text apart from the field separators. `index`: a container that was never
# started has no health at all, which is an error for `.State.Health`, and the container would not be seen.
_CONTAINER = (
    '{"id":{{json .Id}},"name":{{json .Name}},"image":{{json .Config.Image}},"state":{{json .State.Status}},'
    '"health":{{with index .State "Health"}}{{json .Status}}{{else}}""{{end}},"started":{{json .State.StartedAt}},'
    '"exit_code":{{json .State.ExitCode}},"oom_killed":{{json .State.OOMKilled}},"restarts":{{json .RestartCount}},'
    '"networks":"{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",'
    '"labels":{{json .Config.Labels}}}'
)

_READ = """
project=$1 format=$2
section() { printf '\\n@@ %s\\n' "$1"; }
containers() {
  # shellcheck disable=SC2046 # ids have no spaces
  set -- $(docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$project")
  [ $# = 0 ] || docker inspect --format "$format" "$@"
}
"""

# Names alone do not tell volumes of `a` from those of `a_staging` beside it. A label of this tool decides, then one of
# Compose; a volume that was made by hand has none: it is of the project on this host whose name fits best. Lines that
# begin with "=" are names of projects.
_OWN = """
own() {
  awk -v project="$project" '
    /^=/ { known[substr($1, 2)]; next }
    { lines[++count] = $0 }
    { known[substr($2, 2)]; known[substr($3, 2)] }
    END {
      prefix = project "_"
      for (turn = 1; turn <= count; turn++) {
        split(lines[turn], word, " ")
        if (index(word[1], prefix) != 1) continue
        marked = substr(word[2], 2); label = marked != "" ? marked : substr(word[3], 2)
        foreign = label != project && (marked != "" || index(label, prefix) == 1)
        if (label != project)
          for (other in known)
            if (index(other, prefix) == 1 && index(word[1], other "_") == 1) foreign = 1
        place = lines[turn]; sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", place)
        if (!foreign) print word[1], place
      }
    }'
}
"""

# Each call of Docker's client takes some 50 ms: they run side by side, each into a pipe of its own.
_FACTS = """
directory=$3
exec 3< <(containers 2>/dev/null || true)
exec 4< <(docker version --format '{{.Server.Version}}' 2>&1 || true)
exec 5< <(docker compose version --short 2>&1 || true)
exec 6< <(docker info --format '{{.DockerRootDir}}' 2>/dev/null || true)
exec 7< <(docker volume ls --format \
  '{{.Name}} ={{.Label "com.flotteq.project"}} ={{.Label "com.docker.compose.project"}} {{.Mountpoint}}' \
  2>/dev/null || true)
exec 8< <(docker ps --all --format '={{.Label "com.docker.compose.project"}}' 2>/dev/null || true)
section clock; date +%s
section engine; cat <&4
section compose; cat <&5
probe=$directory
while [ ! -d "$probe" ]; do probe=$(dirname "$probe"); done
data=$(cat <&6)
section disk; df -PB1 "$probe" ${data:+"$data"} 2>/dev/null | tail -n +2 || true
section inodes; df -Pi "$probe" ${data:+"$data"} 2>/dev/null | tail -n +2 || true
section memory; grep -E '^(MemTotal|MemAvailable):' /proc/meminfo
section listening; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" {print $2}' || true
volumes=$(cat <&7)
section volumes; printf '%s\n' "$volumes" | cut -d ' ' -f 1
own=$( (cat <&8; printf '%s\n' "$volumes") | own)
section own; printf '%s\n' "$own" | cut -d ' ' -f 1
section owners
printf '%s\n' "$own" | while read -r name place; do
  [ -z "$(ls -A "$place" 2>/dev/null)" ] || stat -c "$name %u:%g" "$place"
done || true
section containers; cat <&3
section release; cat "$directory/state/current.json" 2>/dev/null || true
section files; sed -n 's/^FLOTTEQ_RELEASE=//p' "$directory/.env" 2>/dev/null || true
section active; cat "$directory/nginx/upstreams/active.conf" 2>/dev/null || true
section edge; cd "$directory" 2>/dev/null && find nginx -type f -exec sha256sum {} + 2>/dev/null || true
section certificates; LINKS
section secrets
for link in "$directory"/secrets/*; do
  [ ! -L "$link" ] || printf '%s %s\n' "$(basename "$link")" "$(readlink "$link")"
done
section maintenance
if [ -e "$directory/nginx/state/maintenance.on" ]; then
  echo on; cat "$directory/nginx/state/maintenance.allow" 2>/dev/null || true
fi
section lock
if [ -e "$directory/state/lock" ]; then flock --nonblock "$directory/state/lock" true 2>/dev/null || echo held; fi
section restoring; cat "$directory/state/restore.json" 2>/dev/null || true
section kept; [ ! -d "$directory/state/edge.before" ] || echo yes
section scale; cat "$directory/state/scale.json" 2>/dev/null || true
""".replace("LINKS", LINKS.strip())


def read_facts(directory: str, project: str) -> Command:
    """Read engine, disk, memory, clock, ports, volumes, containers and the live release."""
    return script(_READ + _OWN + _FACTS, project, _CONTAINER, directory, interpreter="bash")


def read_containers(project: str) -> Command:
    """Read the containers alone: of the facts' sections this one."""
    return script(_READ + "section containers; containers\n", project, _CONTAINER)
