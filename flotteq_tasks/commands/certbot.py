"""Command lines of certbot and of the directory that nginx reads certificates from."""

from collections.abc import Iterable

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command, script

# Where the certbot container sees the webroot, which nginx serves as /.well-known/acme-challenge/ on port 80.
WEBROOT = "/var/www/acme"
# The group that may read a certificate's key; the Compose file adds it to the edge, which is not root.
KEY_READERS = "6402"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def certonly(
    containers: Containers,
    names: Iterable[str],
    *,
    certificate: str,
    directory: str,
    email: str = "",
    profile: str = "",
    dry_run: bool = False,
    service: str = "certbot",
) -> Command:
    """Obtain one ECDSA certificate with these names; nothing happens when one is there and not yet due.

    One with other names is replaced, due or not: names are added and dropped by the same call.

    Args:
        certificate: what certbot calls it; it lies in ``live/<certificate>``.
        directory: URL of the ACME server's directory.
        email: contact of the account; without one the account has none.
        profile: kind of certificate that the server is asked for, such as ``shortlived``; empty: its default.
        dry_run: let the server check the names and throw the certificate away.
    """
    account = ["--email", email, "--no-eff-email"] if email else ["--register-unsafely-without-email"]
    words = [
        "certbot", "certonly", "--non-interactive", "--agree-tos", *account, "--server", directory,
        "--webroot", "--webroot-path", WEBROOT, "--cert-name", certificate,
        "--key-type", "ecdsa", "--elliptic-curve", "secp256r1", "--keep-until-expiring", "--expand",
        *_profile(profile), *(["--dry-run"] if dry_run else []),
    ]  # fmt: skip
    for name in names:
        words += ["--domain", name]
    return containers.exec(service, words)


def renew(containers: Containers, *, certificate: str = "", profile: str = "", service: str = "certbot") -> Command:
    """Renew the certificate when it is due: when the server says so, else with a third of its life left, half if short.

    certbot asks the server (ARI, RFC 9773) at most as often as that wants to be asked.
    Without ``--no-random-sleep-on-renew`` it waits up to 8 minutes when nobody watches.

    Args:
        certificate: what certbot calls it; empty: whoever runs the command adds ``--cert-name``.
        profile: as in ``certonly``; empty: the one that the certificate was obtained with.
    """
    words = ["certbot", "renew", "--non-interactive", "--no-random-sleep-on-renew", *_profile(profile)]
    return containers.exec(service, [*words, *(["--cert-name", certificate] if certificate else [])])


def rehearse(
    containers: Containers, *, directory: str, certificate: str = "", profile: str = "", service: str = "certbot"
) -> Command:
    """Renew for show, due or not; the new certificate is thrown away.

    Args:
        certificate: as in ``renew``.
        directory: URL of the ACME server's directory. It must be said: by itself a rehearsal asks Let's Encrypt's
            staging server, also for a certificate of another one. Its production server is replaced by that one.
    """
    renewal = renew(containers, certificate=certificate, profile=profile, service=service)
    return renewal + Command("--dry-run", "--server", directory)


def _profile(name: str) -> list[str]:
    # Preferred, not required: a server that does not know it issues its default instead of nothing.
    return ["--preferred-profile", name] if name else []


# certbot's own interpreter has what it takes; the host need not have Python.
_WINDOW = """
import base64, json, sys
import requests
from cryptography import x509

directory, *names = sys.argv[1:]
place = requests.get(directory, timeout=8).json().get("renewalInfo")
for name in names if place else ():
    with open("/etc/letsencrypt/live/" + name + "/fullchain.pem", "rb") as file:
        leaf = x509.load_pem_x509_certificate(file.read())
    key = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    words = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (key, serial))
    answer = requests.get(place.rstrip("/") + "/" + ".".join(words), timeout=8)
    answer.raise_for_status()
    sys.stdout.write(json.dumps({"certificate": name, **answer.json()["suggestedWindow"]}) + chr(10))
"""

_ASK = """
python=$(sed -n '1s/^#!//p' "$(command -v certbot)")
exec "$python" -c "$@"
"""


def renewal_windows(
    containers: Containers, *, certificates: Iterable[str], directory: str, service: str = "certbot"
) -> Command:
    """Print when the ACME server wants renewals: a line of JSON with ``certificate``, ``start`` and ``end`` for each.

    Nothing: it has no ARI. The identifier is that of RFC 9773 §4.1: the issuer's key identifier and the serial number
    as DER writes it.
    """
    return containers.exec(service, script(_ASK, _WINDOW, directory, list(certificates)).argv())


_USABLE = """
cd "$1/certs" 2>/dev/null || exit 0
[ -s current/fullchain.pem ] && [ -s current/privkey.pem ] || exit 0
readlink current
"""


def current(directory: str) -> Command:
    """Print what ``certs/current`` points to; nothing when it has no certificate and key.

    Args:
        directory: the project directory on the host.
    """
    return script(_USABLE, directory)


# What each link below certs/ leads to, whether that can be read or not: nginx may still have it in memory.
LINKS = """
for link in "$directory"/certs/current "$directory"/certs/names/*/current; do
  [ ! -L "$link" ] || printf '%s %s\\n' "${link#"$directory"/certs/}" "$(readlink "$link")"
done
"""


def links(directory: str) -> Command:
    """Print ``LINK TARGET`` for each certificate that nginx is given: ``current``, and ``names/NAME/current``.

    Args:
        directory: the project directory on the host.
    """
    return script(f"directory=$1\n{LINKS.strip()}", directory)


def parse_links(text: str) -> dict[str, str]:
    """Target by link, from what ``links`` prints."""
    return dict(line.split() for line in text.splitlines() if line.strip())


_POINT = """
readers=$1 place=$2 target=$3 keep=$4
cd "$place"
[ -s "$target/fullchain.pem" ]
[ -s "$target/privkey.pem" ]
chgrp "$readers" "$target"
chmod 0750 "$target"
ln -sfn "$target" current.next
mv -fT current.next current
find . -maxdepth 1 -type d -name 'rel-*' | sort -r | tail -n +"$((keep + 1))" | while IFS= read -r old; do
  [ "$old" = "./$target" ] || rm -rf -- "$old"
done
"""


def point(directory: str, target: str, *, place: str = "", keep: int = 3, readers: str = KEY_READERS) -> Command:
    """Make nginx's next reload read another ``rel-*`` directory: one rename, no moment without a certificate.

    Args:
        directory: the project directory on the host.
        place: where link and directories are, below ``certs/``; empty: there.
        keep: how many ``rel-*`` directories stay; 0: only one that is linked.
        readers: group that may read them.
    """
    return script(_POINT, readers, folder(directory, place), target, keep)


_LEAVE = """
cd "$1"
[ "$(readlink current)" = "$2" ] || rm -rf -- "$2"
"""


def discard(directory: str, target: str, *, place: str = "") -> Command:
    """Remove a directory of certificates that is not in use. ``place`` as in ``point``."""
    return script(_LEAVE, folder(directory, place), target)


def folder(directory: str, place: str) -> str:
    """Where the certificates of a lineage are on the host."""
    return f"{directory}/certs/{place}".rstrip("/")


def forget(directory: str, place: str) -> Command:
    """Remove all that nginx had of a certificate of one name."""
    return Command("rm", "-rf", "--", folder(directory, place))


_MAY_READ = """
stat -L -c %a "$1"
"""


def permissions(path: str) -> Command:
    """Print who may read a file, as ``chmod`` writes it; links are followed."""
    return script(_MAY_READ, path)


_WHERE = """
date +%s
{ ip -o address show scope global | awk '{print $4}' | cut -d/ -f1 | grep . || hostname -I | tr ' ' '\\n'; } \\
  2>/dev/null || true
"""


def clock_and_addresses() -> Command:
    """Print the host's clock, Unix seconds, and below it the addresses that it has, a line each."""
    return script(_WHERE)


def challenge(directory: str, token: str) -> str:
    """The path on the host of a file that nginx serves as an ACME challenge."""
    return f"{directory}/certbot/www/.well-known/acme-challenge/{token}"


def forget_challenge(directory: str, token: str) -> Command:
    """Remove such a file."""
    return Command("rm", "-f", challenge(directory, token))
