"""Command lines of certbot and of the directory that nginx reads certificates from."""

from collections.abc import Iterable

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command, script

# Where the certbot container sees the webroot, which nginx serves as /.well-known/acme-challenge/ on port 80.
WEBROOT = "/var/www/acme"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def certonly(
    containers: Containers,
    names: Iterable[str],
    *,
    certificate: str,
    directory: str,
    email: str = "",
    dry_run: bool = False,
    service: str = "certbot",
) -> Command:
    """Obtain one ECDSA certificate with all names; nothing happens when one is there and not yet due.

    Args:
        certificate: what certbot calls it; it lies in ``live/<certificate>``.
        directory: URL of the ACME server's directory.
        email: contact of the account; without one the account has none.
        dry_run: let the server check the names and throw the certificate away.
    """
    account = ["--email", email, "--no-eff-email"] if email else ["--register-unsafely-without-email"]
    words = [
        "certbot", "certonly", "--non-interactive", "--agree-tos", *account, "--server", directory,
        "--webroot", "--webroot-path", WEBROOT, "--cert-name", certificate,
        "--key-type", "ecdsa", "--elliptic-curve", "secp256r1", "--keep-until-expiring", "--expand",
        *(["--dry-run"] if dry_run else []),
    ]  # fmt: skip
    for name in names:
        words += ["--domain", name]
    return containers.exec(service, words)


def renew(containers: Containers, *, certificate: str, service: str = "certbot") -> Command:
    """Renew the certificate when it is due (a third of its life is left, or the server says so).

    Without ``--no-random-sleep-on-renew`` certbot waits up to 8 minutes when nobody watches.
    """
    return containers.exec(
        service, ["certbot", "renew", "--non-interactive", "--no-random-sleep-on-renew", "--cert-name", certificate]
    )


def rehearse(containers: Containers, *, certificate: str, directory: str, service: str = "certbot") -> Command:
    """Renew for show, due or not; the new certificate is thrown away.

    Args:
        directory: URL of the ACME server's directory. It must be said: by itself a rehearsal asks Let's Encrypt's
            staging server, also for a certificate of another one. Its production server is replaced by that one.
    """
    return renew(containers, certificate=certificate, service=service) + Command("--dry-run", "--server", directory)


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


_POINT = """
directory=$1 target=$2 keep=$3
cd "$directory/certs"
[ -s "$target/fullchain.pem" ]
[ -s "$target/privkey.pem" ]
chmod 0750 "$target"
ln -sfn "$target" current.next
mv -fT current.next current
find . -maxdepth 1 -type d -name 'rel-*' | sort -r | tail -n +"$((keep + 1))" | while IFS= read -r old; do
  [ "$old" = "./$target" ] || rm -rf -- "$old"
done
"""


def point(directory: str, target: str, *, keep: int = 3) -> Command:
    """Make nginx's next reload read ``certs/<target>``: one rename, no moment without a certificate.

    Args:
        keep: how many ``rel-*`` directories stay.
    """
    return script(_POINT, directory, target, keep)


_INSTALL = """
directory=$1 certificate=$2 port=$3 keep=$4 limit=$5 names=$6; shift 6
cd "$directory"
live=certbot/conf/live/$certificate
previous=$(readlink certs/current || true)
case $previous in
rel-*) ;;
*) echo "no certificate of an authority is in use: inv ssl.init" >&2; exit 1 ;;
esac
if cmp -s "$live/fullchain.pem" "certs/$previous/fullchain.pem"; then
  echo "the certificate is not yet due; nothing changed"
  exit 0
fi
target=rel-$(date -u +%Y%m%dT%H%M%SZ)
point() { ln -sfn "$1" certs/current.next; mv -fT certs/current.next certs/current; }
served() {
  # Without openssl the reload's own answer must do: nginx has loaded key and certificate.
  command -v openssl >/dev/null || return 0
  wanted=$(openssl x509 -noout -serial -in "certs/$target/fullchain.pem")
  # The old workers may still answer for a moment.
  end=$(($(date +%s) + limit))
  for name in $names; do
    until [ "$(shown "$name")" = "$wanted" ]; do
      [ "$(date +%s)" -lt "$end" ] || { echo "$name does not serve the new certificate" >&2; return 1; }
      sleep 0.2
    done
  done
}
shown() {
  timeout 15 openssl s_client -connect "127.0.0.1:$port" -servername "$1" </dev/null 2>/dev/null |
    openssl x509 -noout -serial 2>/dev/null || true
}
install -d -m 750 "certs/$target"
install -m 640 "$live/fullchain.pem" "$live/privkey.pem" "certs/$target/"
point "$target"
if "$@" && served; then
  echo "the certificate $target is in use"
  cd certs
  find . -maxdepth 1 -type d -name 'rel-*' | sort -r | tail -n +"$((keep + 1))" | while IFS= read -r old; do
    [ "$old" = "./$target" ] || rm -rf -- "$old"
  done
  exit 0
fi
point "$previous"
"$@" || { echo "neither the new certificate nor $previous could be put into use" >&2; exit 4; }
rm -rf "certs/$target"
echo "the new certificate could not be put into use, $previous is served again" >&2
exit 3
"""


def install(
    directory: str,
    *,
    certificate: str,
    names: Iterable[str],
    reload: Command,
    port: int = 443,
    keep: int = 3,
    limit: int = 15,
) -> Command:
    """Put certbot's newest certificate into use on the host itself, unless it is; what fails is put back.

    Exit codes: 0 in use, 1 none of an authority is in use yet, 3 put back, 4 not put back.

    Args:
        directory: the project directory on the host.
        certificate: what certbot calls it.
        names: public names that must serve it afterwards.
        reload: lets the edge take it.
        port: of the edge on the host.
        keep: how many ``rel-*`` directories stay.
        limit: seconds until every name must serve it.
    """
    return script(_INSTALL, directory, certificate, port, keep, limit, " ".join(names), reload.argv())


_LEAVE = """
cd "$1/certs"
[ "$(readlink current)" = "$2" ] || rm -rf -- "$2"
"""


def discard(directory: str, target: str) -> Command:
    """Remove a directory of certificates that is not in use."""
    return script(_LEAVE, directory, target)


def challenge(directory: str, token: str) -> str:
    """The path on the host of a file that nginx serves as an ACME challenge."""
    return f"{directory}/certbot/www/.well-known/acme-challenge/{token}"


def forget_challenge(directory: str, token: str) -> Command:
    """Remove such a file."""
    return Command("rm", "-f", challenge(directory, token))
