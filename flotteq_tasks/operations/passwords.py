"""Passwords that Postgres and Redis know: given to them, taken back, and settled where a rotation did not end."""

from collections.abc import Mapping

from flotteq_tasks.commands import postgres, redis
from flotteq_tasks.model.errors import SecretError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations import secret_store
from flotteq_tasks.operations.context import Site


def half_rotated(settings: Settings, facts: Facts) -> list[str]:
    """Secrets of servers that have a newer value on the host than the live release: their rotation did not end. Pure.

    One whose server does not run is none: whatever starts it takes the newest value for its consumers, too.
    """
    live: Mapping[str, str] = facts.release.secrets if facts.release else {}
    servers = {"postgres": settings.database.service, "redis": settings.database.cache}
    return [
        name
        for name, spec in settings.secrets.items()
        if spec.rotate in servers
        and name in live
        and facts.secrets.get(name, live[name]) != live[name]
        and any(one.running for one in facts.of(servers[spec.rotate]))
    ]


def settle(site: Site, facts: Facts) -> list[str]:
    """Give the servers the values back that the live release has; return the names of these secrets.

    The caller holds the lock.
    """
    names = half_rotated(site.settings, facts)
    for name in names:
        assert facts.release is not None  # noqa: S101 - a secret is half-rotated beside a live release only
        take_back(site, name, on_host(site, name, facts.release.secrets[name]))
    return names


def on_host(site: Site, name: str, mark: str) -> Secret:
    """The value that the host has under that fingerprint.

    Raises:
        SecretError: it has none.
    """
    content = site.host.read(f"{site.settings.directory}/secrets/{name}.{mark}")
    if not content:
        raise SecretError(f"{name} is not on the host yet: there is nothing to rotate", hint="inv secrets.push")
    return Secret(content.decode())


def take_back(site: Site, name: str, old: Secret) -> None:
    """The consumers still have the old value: the servers and the newest link must have it, too.

    The link comes last: while it names another value than the live release, the next operation does this again.
    """
    with site.report.step(f"undo new value of {name}"):
        how = site.settings.secrets[name].rotate
        if how == "redis":
            only(site, old)
        else:
            teach(site, how, old)
        secret_store.push(site.host, site.settings, {name: old})


def teach(site: Site, how: str, value: Secret) -> None:
    """Let a server take a value while it runs."""
    containers, database = site.engine.containers, site.settings.database
    if how == "postgres":
        site.host.run(postgres.set_password(containers, database), stdin=_line(value))
    elif how == "redis":
        # Redis takes several passwords: the old one works until the last consumer has the new one.
        site.host.run(redis.add_password(containers, database.cache), stdin=_line(value))


def only(site: Site, value: Secret) -> None:
    """Let Redis take this value and no other."""
    site.host.run(redis.only_password(site.engine.containers, site.settings.database.cache), stdin=_line(value))


def _line(value: Secret) -> bytes:
    return value.reveal().encode() + b"\n"
