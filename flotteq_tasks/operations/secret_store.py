"""Secrets on the host: one file per value, readable by root and the consumers' group only."""

import contextlib
import re
from collections.abc import Iterable, Mapping

from flotteq_tasks.commands.shell import script
from flotteq_tasks.host.base import File, Host
from flotteq_tasks.model.errors import SecretError
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.settings import secrets as store

# The Compose file adds this group to every consumer that does not start as root.
CONSUMERS_GID = "6400"

# Redis takes its configuration and its commands apart at spaces, quotes and backslashes.
_REDIS_TAKES_APART = re.compile(r"""[\s"'\\\x00-\x1f\x7f]""")

_LINK = """
cd "$1"; shift
chmod 700 .
for file; do
  name=${file%.*}
  ln -sfn "$file" "$name.next"
  mv -fT "$name.next" "$name"
done
"""


def push(host: Host, settings: Settings, values: Mapping[str, Secret]) -> dict[str, str]:
    """Put values on the host and make them the newest ones; return their fingerprints.

    Each value is a file ``secrets/<name>.<fingerprint>``; ``secrets/<name>`` is a link to the newest. Older ones stay,
    because an older release needs them.
    """
    if not values:
        return {}
    marks = {name: store.fingerprint(name, value) for name, value in values.items()}
    directory = f"{settings.directory}/secrets"
    host.write_tree(
        directory,
        {
            f"{name}.{marks[name]}": File(value.reveal().encode(), mode=0o440, group=CONSUMERS_GID)
            for name, value in values.items()
        },
        then=[script(_LINK, directory, [f"{name}.{mark}" for name, mark in marks.items()])],
    )
    return marks


def settle(settings: Settings, on_host: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Secret]]:
    """Decide for every secret of flotteq.toml: the host's newest value, or the local one where the host has none.

    Returns:
        fingerprints of all, and the values that must be pushed.

    Raises:
        SecretError: names every secret that is missing, with the command that makes it; or a local one cannot be used.
    """
    marks = {name: on_host[name] for name in settings.secrets if name in on_host}
    missing = [name for name in settings.secrets if name not in on_host]
    values: dict[str, Secret] = {}
    absent = []
    for name in missing:
        value = local(settings, name)
        if value is None:
            absent.append(name)
        else:
            values[name] = value
            marks[name] = store.fingerprint(name, value)
    if absent:
        raise SecretError(
            f"secrets are missing, here and on the host: {', '.join(absent)}", hint=_remedy(settings, absent)
        )
    return marks, values


def local(settings: Settings, name: str) -> Secret | None:
    """The value on this machine, None where there is none.

    Raises:
        SecretError: its file or its value cannot be used.
    """
    value = store.read(settings.root, settings.environment, name)
    path = store.directory(settings.root, settings.environment) / name
    return None if value is None else fit(settings, name, value, where=f"{path}: ")


def fit(settings: Settings, name: str, value: Secret, *, where: str = "") -> Secret:
    """Return the value, if the server that it is a password of can be told it.

    Args:
        where: stands before the message.

    Raises:
        SecretError: Redis would read another one; the value is not shown.
    """
    if settings.secrets[name].rotate == "redis" and _REDIS_TAKES_APART.search(value.reveal()):
        raise SecretError(
            f"{where}secret {name} has a space, quote, backslash or control character: Redis would read another value "
            f'(flotteq.toml: secrets.{name}.rotate is "redis")',
            hint=f"give it another one, of letters, digits, - and _: inv secrets.set {name}",
        )
    return value


def other_values(settings: Settings, on_host: Mapping[str, str]) -> list[str]:
    """Secrets of which this machine has another value than the host: a deploy keeps the host's."""
    found = []
    for name in settings.secrets:
        # A file that cannot be used is no other value: nobody asks for it where the host has one.
        with contextlib.suppress(SecretError):
            value = store.read(settings.root, settings.environment, name)
            if value is not None and name in on_host and store.fingerprint(name, value) != on_host[name]:
                found.append(name)
    return found


def _remedy(settings: Settings, absent: Iterable[str]) -> str:
    environment = settings.environment
    lines = [f"inv secrets.generate --env {environment}"]
    lines += [
        f"inv secrets.set {name} --env {environment}" for name in absent if settings.secrets[name].source == "supplied"
    ]
    needs_generate = any(settings.secrets[name].source == "generated" for name in absent)
    return "\n".join(lines if needs_generate else lines[1:])
