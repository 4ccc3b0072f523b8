"""Other repositories beside a stack: SFTP as another account, a store that lets nobody delete, a bucket of S3."""

import base64
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names
from support.stack import Stack

VAULT, HOME, BUCKETS = "/srv/vault", "/home/nosudo/flotteq", "/srv/buckets"
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
_BUCKET = """
[secrets.bucket_id]
source = "supplied"
[secrets.bucket_secret]
source = "supplied"

[environments.sandbox.backup.copies.bucket]
repository = "s3:http://{address}:8124/fleet-backups"
credentials = {{ AWS_ACCESS_KEY_ID = "bucket_id", AWS_SECRET_ACCESS_KEY = "bucket_secret" }}
"""
# Debian's rclone is older than its S3 server.
_RCLONE = "/usr/local/bin/rclone"
SERVE = f"""
mkdir -p {VAULT}
systemctl is-active -q vault || systemd-run -q --collect --unit=vault --property=Restart=always \
  {_RCLONE} serve restic --append-only --addr :8123 --user vault --pass s3same {VAULT}
"""
_SERVE_BUCKET = f"""
mkdir -p {BUCKETS}/fleet-backups
systemctl is-active -q bucket || systemd-run -q --collect --unit=bucket --property=Restart=always \
  {_RCLONE} serve s3 --addr :8124 --auth-key fleet-id,fleet-secret {BUCKETS}
"""


@contextmanager
def elsewhere(stack: Stack) -> Iterator[str]:
    """SFTP and the vault in the settings, and what they need on the host; yields their address as containers see it."""
    _bring_rclone(stack)
    stack.host(SERVE)
    key, words = "/root/offsite", "cat /etc/ssh/ssh_host_ed25519_key.pub"
    authorized = "/home/nosudo/.ssh/authorized_keys"
    stack.host(
        f"test -f {key} || ssh-keygen -q -t ed25519 -N '' -f {key}; cp -p {authorized} {key}.kept; "
        f"cat {key}.pub >>{authorized}"
    )
    address, host_key = _address(stack), " ".join(stack.host(words).out.split()[:2])
    private = base64.b64encode(stack.host(f"cat {key}").out.encode()).decode()
    secrets = {"offsite_ssh_key": private, "vault_user": "vault", "vault_password": "s3same", "vault_key": ""}
    try:
        with _settings(stack, _SETTINGS.format(address=address, home=HOME, host_key=host_key), secrets):
            yield address
    finally:
        stack.host(f"systemctl stop vault; rm -rf {VAULT} {HOME}; mv {key}.kept {authorized}; rm -f {key} {key}.pub")


@contextmanager
def bucket(stack: Stack) -> Iterator[None]:
    """A bucket of an S3 server in the settings, besides what is in them."""
    _bring_rclone(stack)
    stack.host(_SERVE_BUCKET)
    try:
        secrets = {"bucket_id": "fleet-id", "bucket_secret": "fleet-secret"}
        with _settings(stack, _BUCKET.format(address=_address(stack)), secrets):
            yield
    finally:
        stack.host(f"systemctl stop bucket; rm -rf {BUCKETS}")


@contextmanager
def _settings(stack: Stack, text: str, secrets: Mapping[str, str]) -> Iterator[None]:
    """More settings, and their secrets on the host; a value that is empty is generated."""
    settings = stack.project / "flotteq.local.toml"
    before = settings.read_text()
    try:
        settings.write_text(before + text)
        for name, value in secrets.items():
            if value:
                stack.inv("secrets.set", name, stdin=value).ok()
        if "" in secrets.values():
            stack.inv("secrets.generate").ok()
        stack.inv("secrets.push").ok()
        yield
    finally:
        settings.write_text(before)
        for name in secrets:
            stack.host(f"rm -f /opt/flotteq/secrets/{name} /opt/flotteq/secrets/{name}.*")
            stack.secret_file(name).unlink(missing_ok=True)


def _address(stack: Stack) -> str:
    words = "docker network inspect flotteq_egress --format '{{(index .IPAM.Config 0).Gateway}}'"
    return stack.host(words).out.strip()


def _bring_rclone(stack: Stack) -> None:
    """Put the program of the development tools on the host."""
    if not stack.host(f"test -x {_RCLONE}", check=False).ok:
        program = shutil.which("rclone", path=str(Path(sys.executable).parent))
        assert program is not None, "rclone is one of the development tools: ./scripts/test"
        Docker(LocalHost()).run("cp", program, f"{Names(stack.sandbox.instance).host}:{_RCLONE}")
