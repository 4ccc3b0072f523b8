"""Look at a bare host and make it ready: questions print what is, changes can be run again."""

from collections.abc import Iterable

from flotteq_tasks.commands.shell import Command, script

# Seconds that another apt, such as a fresh host's first upgrade, is waited for.
_APT_LOCK = 300

# One section a question, as in ``commands.facts``. Nothing of it needs more than a bare Debian.
_FACTS = """
login=$1 user=$2; shift 2
section() { printf '\\n@@ %s\\n' "$1"; }
keys() {
  home=$(getent passwd "$1" | cut -d: -f6)
  [ -z "$home" ] || cat "$home/.ssh/authorized_keys" 2>/dev/null || true
}
section distribution
for key in ID VERSION_ID; do sed -n "s/\\"//g; s/^$key=//p" /etc/os-release; done
section codename; sed -n 's/"//g; s/^VERSION_CODENAME=//p' /etc/os-release
section uid; id -u
section systemd; [ ! -d /run/systemd/system ] || echo yes
section container; systemd-detect-virt --container 2>/dev/null | grep -v '^none$' || true
section ipv6; ip -6 -o addr show scope global 2>/dev/null | grep -v ' f[cd]' || true
section uplink
for way in -4 -6; do ip "$way" -o route show default 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\).*/\1/p'; done
section disk; df -Pm / | awk 'NR == 2 { print $4 }'
section memory; awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo
section ssh; sshd -T 2>/dev/null | awk '$1 == "port" { print $2 }' || true
section holders
for port; do
  ss -Hltnp "sport = :$port" 2>/dev/null | sed -n "s/.*users:((\\"\\([^\\"]*\\)\\",pid=\\([0-9]*\\).*/$port \\1 \\2/p"
done | grep -v ' docker' || true
section engine; dpkg-query -W -f '${db:Status-Status} ${Package}\\n' docker.io docker-ce 2>/dev/null |
  sed -n 's/^installed //p' || true
section clock; dpkg-query -W -f '${db:Status-Status} ${Package}\\n' chrony ntpsec openntpd systemd-timesyncd \\
  2>/dev/null | sed -n 's/^installed //p' | head -n 1 || true
section daemon; cat /etc/docker/daemon.json 2>/dev/null || true
section keys; keys "$login"
section own; keys "$user"
"""

_FILES = """
for path; do
  if [ -f "$path" ]; then
    printf '== %s %s\\n' "$path" "$(stat -c '%a %U' "$path")"
    cat "$path"
  else
    printf '== %s is not there\\n' "$path"
  fi
done
"""

_PACKAGES = """
for name; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) || status=not-installed
  echo "$name $status"
done
"""

_INSTALL = """
wait=$1; shift
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
end=$(($(date +%s) + wait))
# The lists have a lock of their own, which apt does not wait for.
until said=$(apt-get update -qq 2>&1); do
  case $said in *lists/lock*) ;; *) echo "$said" >&2; exit 1 ;; esac
  [ "$(date +%s)" -lt "$end" ] || { echo "$said" >&2; exit 1; }
  sleep 2
done
apt-get install -y -qq --no-install-recommends -o "DPkg::Lock::Timeout=$wait" "$@" >/dev/null
"""

_USER = """
user=$1
getent passwd "$user" | awk -F: '{ print "shell " $7 }'
if id -nG "$user" 2>/dev/null | tr ' ' '\\n' | grep -qx docker; then echo "group docker"; fi
"""

_MAKE_USER = """
user=$1
getent passwd "$user" >/dev/null || useradd --create-home --shell /bin/bash "$user"
usermod --shell /bin/bash --append --groups docker "$user"
"""

_KEYS = """
home=$(getent passwd "$1" | cut -d: -f6)
[ -n "$home" ] || exit 0
stat -c '%a %U' "$home/.ssh/authorized_keys" 2>/dev/null || exit 0
cat "$home/.ssh/authorized_keys"
"""

_MAKE_KEYS = """
user=$1 text=$2
home=$(getent passwd "$user" | cut -d: -f6) group=$(id -gn "$user")
install -d -m 700 -o "$user" -g "$group" "$home/.ssh"
next=$(mktemp "$home/.ssh/.keys.XXXXXX")
printf '%s' "$text" >"$next"
chown "$user:$group" "$next"
chmod 600 "$next"
mv "$next" "$home/.ssh/authorized_keys"
"""

_SUDO = """
file=$1 text=$2
next=$(mktemp /etc/sudoers.d/.next.XXXXXX); trap 'rm -f "$next"' EXIT
printf '%s' "$text" >"$next"
chmod 440 "$next"
visudo -q -c -f "$next" >/dev/null
mv "$next" "$file"
"""

_DIRECTORIES = """
for path; do
  if [ -d "$path" ]; then
    echo "$path $(stat -c '%U' "$path")$(find "$path" -maxdepth 0 -perm /022 -printf ', others may write')"
  else
    echo "$path is not there"
  fi
done
"""

_MAKE_DIRECTORIES = """
for path; do
  mkdir -p "$path"
  chown root: "$path"
  chmod go-w "$path"
done
"""

_UNITS = """
for unit; do echo "$unit $(systemctl is-enabled "$unit" 2>/dev/null || true)"; done
"""

_ENABLE = """
systemctl daemon-reload
systemctl enable --quiet --now "$@"
"""

_ENABLE_LATER = """
systemctl daemon-reload
systemctl enable --quiet "$@"
systemctl start --no-block "$@"
"""

_KERNEL = """
sed -n 's/^\\([a-z][a-z0-9_.]*\\) *=.*/\\1/p' "$1" 2>/dev/null | while read -r key; do
  echo "$key = $(sysctl -n "$key" 2>/dev/null || true)"
done
"""

_SWAP = """
size=$(awk 'NR > 1 { sum += $3 } END { print int(sum / 1024) }' /proc/swaps)
# The first page of a file is its head.
if [ "$size" -lt "$(($1 - 1))" ]; then echo "swap $size MiB"; else echo "swap enough"; fi
"""

_MAKE_SWAP = """
file=$1 megabytes=$2
if ! grep -q "^$file " /proc/swaps; then
  rm -f "$file"
  fallocate -l "${megabytes}M" "$file" 2>/dev/null || dd if=/dev/zero of="$file" bs=1M count="$megabytes" status=none
  chmod 600 "$file"
  mkswap "$file" >/dev/null
  # A file with holes, as some file systems make them, is refused.
  swapon "$file" 2>/dev/null || {
    dd if=/dev/zero of="$file" bs=1M count="$megabytes" status=none
    mkswap "$file" >/dev/null
    swapon "$file"
  }
fi
grep -q "^$file " /etc/fstab || printf '%s none swap sw 0 0\\n' "$file" >>/etc/fstab
"""

_SSHD = """
sshd -T 2>/dev/null | sort | while read -r key value; do
  case $key in
  passwordauthentication | kbdinteractiveauthentication | pubkeyauthentication | permitrootlogin | permitemptypasswords)
    echo "$key $value" ;;
  esac
done
"""

# What the file would load, loaded where it harms nobody, beside what is loaded. Counters and addresses are left out.
_FIREWALL = """
table=$1 file=$2 unit=$3 list=$4 load=$5
loaded=$(sh -c "$list" list "$table" 2>/dev/null) || loaded=
meant=$(unshare --net sh -c "$load$list" list "$table" "$file" 2>/dev/null) || meant=
if [ -z "$loaded" ]; then echo "not loaded"
elif [ "$loaded" = "$meant" ]; then echo "loaded"
else echo "loaded, but not as the file says"; fi
echo "$unit $(systemctl is-enabled "$unit" 2>/dev/null || true)"
"""

_LIST = 'for chain in input forward; do nft -s list chain inet "$1" "$chain" || exit 1; done'
_LOAD = 'nft -f "$2" || exit 1; '


def read_facts(login: str, user: str, ports: Iterable[int]) -> Command:
    """Read what decides whether and how a host can be set up.

    Args:
        login: who is logged in; ``user``: who will deploy. Their keys are read.
        ports: where nobody but the stack may listen.
    """
    return script(_FACTS, login, user, [str(port) for port in ports])


def files(paths: Iterable[str]) -> Command:
    """Print each file under a line with its path, mode and owner."""
    return script(_FILES, list(paths))


def packages(names: Iterable[str]) -> Command:
    """``NAME installed`` for each package."""
    return script(_PACKAGES, list(names))


def install(names: Iterable[str]) -> Command:
    """Install packages without their recommendations; another apt that is at work is waited for."""
    return script(_INSTALL, _APT_LOCK, list(names))


def user(name: str) -> Command:
    """Print shell and group of a user, as far as they matter."""
    return script(_USER, name)


def make_user(name: str) -> Command:
    """Make a user without a password who may talk to Docker."""
    return script(_MAKE_USER, name)


def keys(name: str) -> Command:
    """Print mode, owner and lines of a user's authorized_keys."""
    return script(_KEYS, name)


def make_keys(name: str, text: str) -> Command:
    """Let these keys in, and no others."""
    return script(_MAKE_KEYS, name, text)


def make_sudo(file: str, text: str) -> Command:
    """Put a file into sudoers.d; one that sudo does not understand never gets there."""
    return script(_SUDO, file, text)


def directories(paths: Iterable[str]) -> Command:
    """``PATH OWNER`` for each directory, and whether others may write."""
    return script(_DIRECTORIES, list(paths))


def make_directories(paths: Iterable[str]) -> Command:
    """Make directories that only root may write to; what is in them stays."""
    return script(_MAKE_DIRECTORIES, list(paths))


def units(names: Iterable[str]) -> Command:
    """``UNIT enabled`` for each unit."""
    return script(_UNITS, list(names))


def enable(names: Iterable[str], *, wait: bool = True) -> Command:
    """Start units, now and at every boot.

    Args:
        wait: for them to have started; else they may still fail.
    """
    return script(_ENABLE if wait else _ENABLE_LATER, list(names))


def kernel(file: str) -> Command:
    """Print the kernel's own values of the keys of a sysctl file."""
    return script(_KERNEL, file)


def load_kernel(file: str) -> Command:
    """Give the kernel the values of a sysctl file."""
    return Command("sysctl", "--quiet", f"--load={file}")


def swap(megabytes: int) -> Command:
    """``swap enough`` where there is that much, in files or partitions."""
    return script(_SWAP, megabytes)


def make_swap(file: str, megabytes: int) -> Command:
    """Make a swap file and use it, also after a reboot."""
    return script(_MAKE_SWAP, file, megabytes)


def sshd() -> Command:
    """Print who may log in how, as sshd understands all of its files."""
    return script(_SSHD)


def firewall(table: str, file: str, unit: str) -> Command:
    """Whether the rules that are loaded are those of the file, and whether a boot loads them."""
    return script(_FIREWALL, table, file, unit, _LIST, _LOAD)
