"""The scripts that tell what uses the host's disk and remove what no kept release needs."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import Command, script

# Without a filter the list would be that of all images of the host.
_IMAGES = """
[ $# -gt 0 ] || exit 0
listed=$(docker image ls --digests --no-trunc --format 'image {{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}' "$@")
printf '%s\\n' "$listed"
printf '%s\\n' "$listed" | awk '{print $5}' | sort -u |
  xargs -r docker image inspect --format 'size {{.Id}} {{.Size}}' 2>/dev/null || true
"""


def images(repositories: Iterable[str]) -> Command:
    """Images of repositories: ``image REPOSITORY TAG DIGEST ID`` a line, then ``size ID BYTES`` for each id."""
    return script(_IMAGES, [f"--filter=reference={one}" for one in repositories])


_REMOVE_IMAGES = """
for reference; do docker image rm "$reference" >/dev/null 2>&1 || true; done
"""


def remove_images(references: Iterable[str]) -> Command:
    """Remove images; one that a container uses stays."""
    return script(_REMOVE_IMAGES, list(references))


_SPACE = """
directory=$1 backups=$2
size() { du -sxB1 "$1" 2>/dev/null | cut -f1; }
root=$(docker info --format '{{.DockerRootDir}}')
printf 'dumps before deploys\\t%s\\n' "$(size "$backups/pre-deploy")"
printf 'other backups\\t%s\\n' "$(du -sxB1 --exclude=pre-deploy "$backups" 2>/dev/null | cut -f1)"
printf 'releases and configuration\\t%s\\n' "$(size "$directory")"
printf 'volumes\\t%s\\n' "$(size "$root/volumes")"
logs=$(find "$root/containers" -name '*-json.log*' -exec du -cB1 {} + 2>/dev/null | tail -n 1 | cut -f1)
printf 'container logs\\t%s\\n' "$logs"
docker system df --format '{{.Type}}\\t{{.Size}}\\t{{.Reclaimable}}' | sed 's/^/docker /'
"""


def space(directory: str, backups: str) -> Command:
    """What uses the disk: ``WHAT<tab>BYTES`` a line, then Docker's own table with its sizes in words."""
    return script(_SPACE, directory, backups)


_STOCK = """
directory=$1 backups=$2 minutes=$3
tell() { printf '%s\\t%s\\t%s\\n' "$1" "$2" "$(du -sxB1 -- "$3" 2>/dev/null | cut -f1)"; }
for path in "$directory"/releases/*; do
  [ -d "$path" ] || continue
  case ${path##*/} in
    plan-*) [ -z "$(find "$path" -maxdepth 0 -mmin +60)" ] || tell plan "${path##*/}" "$path" ;;
    *) tell release "${path##*/}" "$path" ;;
  esac
done
for path in "$backups"/pre-deploy/*.dump; do
  [ ! -f "$path" ] || { name=${path##*/}; tell dump "${name%.dump}" "$path"; }
done
for path in "$directory"/secrets/*.*; do
  [ -L "$path" ] || [ ! -f "$path" ] || tell secret "${path##*/}" "$path"
done
[ ! -d "$directory/assets" ] || find "$directory/assets" -type f -mmin "+$minutes" -printf 'asset\\t%P\\t%s\\n'
"""


def stock(directory: str, backups: str, *, assets_hours: int) -> Command:
    """What retention decides on: ``KIND<tab>NAME<tab>BYTES`` a line.

    Kinds: every ``release``, ``dump`` and ``secret``; a ``plan`` that was cut off and an ``asset`` only when it is
    old enough to go.
    """
    return script(_STOCK, directory, backups, assets_hours * 60)


# A release's dump, image and secret versions go with the release; the journal keeps its newest half when it is long.
_SWEEP = """
directory=$1 backups=$2 lines=$3 minutes=$4; shift 4
kept() { for wanted in $keep; do [ "$wanted" != "$1" ] || return 0; done; return 1; }
keep=$1
cd "$directory/releases"
for present in *; do
  # A plan that is being made uses its own; one that was cut off goes an hour later.
  case $present in
    plan-*) find "$present" -maxdepth 0 -mmin +60 -exec rm -rf {} + ; continue ;;
  esac
  kept "$present" || rm -rf -- "$present"
done
cd "$backups/pre-deploy" 2>/dev/null && for dump in *.dump; do kept "${dump%.dump}" || rm -f -- "$dump"; done
keep=$2
cd "$directory/secrets" && for file in *.*; do
  [ -L "$file" ] || [ ! -f "$file" ] || kept "$file" || rm -f -- "$file"
done
if [ -d "$directory/assets" ]; then
  find "$directory/assets" -type f -mmin "+$minutes" -delete
  find "$directory/assets" -mindepth 1 -type d -empty -delete
fi
cd "$directory/state"
rm -rf edge.before
if [ -f journal.jsonl ] && [ "$(wc -l < journal.jsonl)" -gt "$lines" ]; then
  tail -n "$((lines / 2))" journal.jsonl > journal.jsonl.next
  mv journal.jsonl.next journal.jsonl
fi
"""


def sweep(
    directory: str,
    backups: str,
    *,
    releases: Iterable[str],
    secrets: Iterable[str],
    journal_lines: int,
    assets_hours: int,
) -> Command:
    """Remove the files, dumps and secret versions of releases that are not kept, and old assets; shorten the journal.

    Args:
        releases: ids that stay.
        secrets: file names that stay.
        journal_lines: longer journals keep their newest half.
        assets_hours: hours after which an asset goes.
    """
    return script(_SWEEP, directory, backups, journal_lines, assets_hours * 60, " ".join(releases), " ".join(secrets))
