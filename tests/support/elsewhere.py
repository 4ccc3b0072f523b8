"""Two other repositories beside a stack: SFTP as another account of the host, and a store that lets nobody delete."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager

from support.stack import Stack

VAULT, HOME = "/srv/vault", "/home/nosudo/flotteq"
_SETTINGS = """
[secrets.offsite_ssh_key]
source = "supplied"
[secrets.vault_user]
source = "supplied"
[secrets.vault_password]
source = "supplied"
[secrets.vault_key]
source = "generated"

[environments.sandbox.backup.copies.offsite]
repository = "sftp:nosudo@{address}:{home}"
ssh_key = "offsite_ssh_key"
host_key = "{host_key}"

[environments.sandbox.backup.copies.vault]
repository = "rest:http://{address}:8123/flotteq/"
password = "vault_key"
credentials = {{ RESTIC_REST_USERNAME = "vault_user", RESTIC_REST_PASSWORD = "vault_password" }}
"""
SERVE = f"""
command -v rclone >/dev/null || apt-install rclone >/dev/null
mkdir -p {VAULT}
systemctl is-active -q vault || systemd-run -q --unit=vault --property=Restart=always \
  rclone serve restic --append-only --addr :8123 --user vault --pass s3same {VAULT}
"""
_SECRETS = ("offsite_ssh_key", "vault_user", "vault_password", "vault_key")


@contextmanager
def elsewhere(stack: Stack) -> Iterator[str]:
    """Both in the settings, and what they need on the host; yields their address as containers see it."""
    stack.host(SERVE, timeout=300)
    address = stack.host("docker network inspect flotteq_network --format '{{(index .IPAM.Config 0).Gateway}}'").out
    key, words = "/root/offsite", "cat /etc/ssh/ssh_host_ed25519_key.pub"
    authorized = "/home/nosudo/.ssh/authorized_keys"
    stack.host(
        f"test -f {key} || ssh-keygen -q -t ed25519 -N '' -f {key}; cp -p {authorized} {key}.kept; "
        f"cat {key}.pub >>{authorized}"
    )
    settings, host_key = stack.project / "flotteq.local.toml", " ".join(stack.host(words).out.split()[:2])
    before = settings.read_text()
    try:
        settings.write_text(before + _SETTINGS.format(address=address.strip(), home=HOME, host_key=host_key))
        private = base64.b64encode(stack.host(f"cat {key}").out.encode()).decode()
        for name, value in (("offsite_ssh_key", private), ("vault_user", "vault"), ("vault_password", "s3same")):
            stack.inv("secrets.set", name, stdin=value).ok()
        stack.inv("secrets.generate").ok()
        stack.inv("secrets.push").ok()
        yield address.strip()
    finally:
        settings.write_text(before)
        stack.host(f"systemctl stop vault; rm -rf {VAULT} {HOME}; mv {key}.kept {authorized}; rm -f {key} {key}.pub")
        for name in _SECRETS:
            stack.host(f"rm -f /opt/flotteq/secrets/{name} /opt/flotteq/secrets/{name}.*")
            stack.secret_file(name).unlink(missing_ok=True)
