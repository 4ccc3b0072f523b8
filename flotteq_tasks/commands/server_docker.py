"""Docker on a host: its packages' key, its settings, its start."""

from flotteq_tasks.commands.shell import Command, script

# Exit codes.
REFUSED, KEY_DIFFERS = 20, 22

_FETCH_KEY = """
url=$1 file=$2 wanted=$3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
curl -fsSL --proto '=https' --max-time 60 -o "$work/key" "$url"
found=$(gpg --homedir "$work" --batch --show-keys --with-colons "$work/key" |
  awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
[ "$found" = "$wanted" ] || { echo "${found:-no key}"; exit 22; }
mkdir -p "$(dirname "$file")"
install -m 644 "$work/key" "$file"
"""

_KEY = """
file=$1
[ -f "$file" ] || { echo "no key"; exit 0; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
gpg --homedir "$work" --batch --show-keys --with-colons "$file" 2>/dev/null |
  awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }'
"""

_ENGINE = """
recent() {
  if [ "$(printf '%s\\n' "$2" "$3" | sort -V | head -n 1)" = "$2" ]; then echo "$1 $2 or later"; else echo "$1 $3"; fi
}
systemctl is-enabled docker 2>/dev/null || true
docker info --format 'live-restore {{.LiveRestoreEnabled}}' 2>/dev/null || echo "the engine does not answer"
recent engine "$1" "$(docker version --format '{{.Server.Version}}' 2>/dev/null || true)"
recent compose "$2" "$(docker compose version --short 2>/dev/null || true)"
"""

_START_ENGINE = """
systemctl daemon-reload
systemctl enable --quiet --now docker.service
# Some packages leave the former engine at work.
runs=$(docker version --format '{{.Server.Version}}' 2>/dev/null || true)
dockerd --version | grep -qF "version ${runs:-unknown}," || systemctl restart docker.service
"""

# What was there stays until the engine has started with the new one.
_KEEP_DAEMON = """
[ ! -e "$1" ] || cp -p "$1" "$1.before"
"""

_RESTART_ENGINE = """
file=$1 wait=$2
back() {
  if [ -e "$file.before" ]; then mv "$file.before" "$file"; else rm -f "$file"; fi
}
answers() {
  end=$(($(date +%s) + wait))
  until docker info >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.5
  done
}
# Not installed yet: it will start with it.
command -v dockerd >/dev/null || { rm -f "$file.before"; exit 0; }
if dockerd --help 2>&1 | grep -q -- --validate; then
  said=$(dockerd --validate --config-file "$file" 2>&1) || { back; echo "$said"; exit 20; }
fi
systemctl is-active --quiet docker || { rm -f "$file.before"; exit 0; }
# First the part that needs no restart: containers then outlive it.
systemctl reload docker
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" != true ] || break
  sleep 0.5
done
if ! systemctl restart docker || ! answers; then
  said=$(journalctl --no-pager --output=cat --lines=5 --unit=docker)
  back
  systemctl reset-failed docker
  systemctl restart docker
  echo "$said"
  exit 20
fi
rm -f "$file.before"
"""


def fetch_key(url: str, file: str, fingerprint: str) -> Command:
    """Put a repository's key on the host. Exit code 22: it is another one, whose fingerprint is printed."""
    return script(_FETCH_KEY, url, file, fingerprint)


def key(file: str) -> Command:
    """Print the fingerprint of a repository's key."""
    return script(_KEY, file)


def engine(least: str, compose: str) -> Command:
    """Whether the engine starts at boot, answers, keeps containers through a restart, and is recent enough.

    Args:
        least, compose: the oldest versions of engine and Compose that will do.
    """
    return script(_ENGINE, least, compose)


def start_engine() -> Command:
    """Start the engine that is installed, now and at every boot."""
    return script(_START_ENGINE)


def keep_daemon(file: str) -> Command:
    """Keep the engine's settings beside the new ones."""
    return script(_KEEP_DAEMON, file)


def restart_engine(file: str, *, wait: int) -> Command:
    """Restart the engine, where it runs, with its new settings. Exit code 20: refused; the old ones are back.

    Args:
        wait: seconds for it to answer.
    """
    return script(_RESTART_ENGINE, file, wait)
