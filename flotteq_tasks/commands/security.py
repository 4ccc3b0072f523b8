"""The script that reads what an audit of the host's security wants, in one round trip: ``@@ name`` begins a section."""

from flotteq_tasks.commands.shell import Command, script

_LOOK = """
project=$1 edge=$2 directory=$3 backups=$4
section() { printf '\\n@@ %s\\n' "$1"; }
ids=$(docker ps --quiet --no-trunc --filter "label=com.docker.compose.project=$project" \\
  --filter label=com.docker.compose.oneoff=False)
section containers; [ -z "$ids" ] || docker inspect --format '{{json .}}' $ids
section images
[ -z "$ids" ] || docker inspect --format '{{.Image}}' $ids | sort -u | xargs docker image inspect \\
  --format '{"id":{{json .Id}},"created":{{json .Created}},"tags":{{json .RepoTags}}}'
section info; docker info --format '{{json .}}' 2>/dev/null
section daemon; cat /etc/docker/daemon.json 2>/dev/null || true
section sshd
for id in $ids; do
  docker top "$id" -eo comm 2>/dev/null | grep -qx sshd && docker inspect --format '{{.Name}}' "$id"
done || true
section nginx
front=$(docker ps --quiet --filter "label=com.docker.compose.project=$project" \\
  --filter "label=com.docker.compose.service=$edge" | head -n 1)
[ -z "$front" ] || docker exec "$front" nginx -V 2>&1 | head -n 3
section group; getent group docker || true
section files
modes() { kind=$1; shift; find "$@" -printf "$kind %m %U %G %p\n" 2>/dev/null || true; }
modes private "$directory/secrets" "$backups" -maxdepth 0
modes secret "$directory/secrets" -type f
modes key "$directory/certs" "$directory/certbot/conf" -type f -name 'privkey*.pem'
modes settings "$directory/.env" -maxdepth 0
modes socket /run/docker.sock -maxdepth 0
modes daemon /etc/docker/daemon.json -maxdepth 0
"""


def look(project: str, edge: str, directory: str, backups: str) -> Command:
    """Read containers, images, the engine, nginx's version, and modes and owners of files.

    Lines of ``files`` are ``KIND MODE UID GID PATH``.

    Args:
        edge: the edge's service.
        directory: the project directory on the host.
        backups: directory of the backups on the host.
    """
    return script(_LOOK, project, edge, directory, backups)
