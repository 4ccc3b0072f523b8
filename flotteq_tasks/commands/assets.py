"""Keep the files of earlier releases that open pages still ask for."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import Command, script

_KEEP = """
root=$1 minutes=$2; shift 2
mkdir -p "$root"
keep() {
  service=$1 container=$2 path=$3
  next=$root/.$service.next kept=$root/$service/assets
  rm -rf "$next"
  mkdir -p "$next" "$kept"
  if said=$(docker cp "$container:$path/." "$next/" 2>&1 >/dev/null); then
    # Their age counts from now: until now they were live.
    find "$next" -type f -exec touch {} +
    chmod -R u+rwX,go+rX "$next"
    (cd "$next" && find . -type d) | while IFS= read -r part; do
      mkdir -p "$kept/$part"
      find "$next/$part" -mindepth 1 -maxdepth 1 -type f -exec mv -f -t "$kept/$part" {} +
    done
    echo "kept $service $(find "$kept" -type f | wc -l)"
  else
    rm -rf "$next"
    # A full disk says something else.
    case $said in
      *'Could not find the file'* | *'No such container:path'*) echo "none $service" ;;
      *) echo "$service: $said" >&2; exit 1 ;;
    esac
  fi
  rm -rf "$next"
}
jobs=
while [ $# -gt 0 ]; do
  ( keep "$1" "$2" "$3" ) &
  jobs="$jobs $!"
  shift 3
done
failed=
for job in $jobs; do wait "$job" || failed=yes; done
[ -z "$failed" ] || exit 1
find "$root" -type f -mmin "+$minutes" -delete
find "$root" -mindepth 1 -type d -empty -delete
"""


def keep(directory: str, sources: Iterable[tuple[str, str, str]], *, hours: int) -> Command:
    """Copy the files that are live now out of their containers; forget those that were last live too long ago.

    Prints ``kept SERVICE FILES`` or ``none SERVICE`` (the image has no such directory) a line. Each file appears by
    rename. They lie in ``assets/SERVICE/assets/``: the path of the URL, as the edge looks for them.

    Args:
        directory: the project directory on the host.
        sources: service, container and directory in it.
        hours: age from which a file goes.
    """
    words = [word for source in sources for word in source]
    return script(_KEEP, f"{directory}/assets", hours * 60, words)
