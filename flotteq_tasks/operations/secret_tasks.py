"""Secrets as people handle them: make, store, list, push, check, rotate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flotteq_tasks.commands.shell import script
from flotteq_tasks.host import interruption
from flotteq_tasks.model.errors import HostUnreachable, Locked, SecretError, UsageError
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import SecretSpec, Settings
from flotteq_tasks.operations import passwords, secret_store
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.deploy import DeployRequest, deploy_locked
from flotteq_tasks.operations.doctor import Finding
from flotteq_tasks.operations.lock import locked
from flotteq_tasks.operations.names import unknown
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.settings import secrets as files


@dataclass(frozen=True)
class SecretStatus:
    """One secret: fingerprints only."""

    name: str
    source: str
    here: str
    host: str

    @property
    def note(self) -> str:
        """What a person should know about it."""
        if not self.here and not self.host:
            return "missing"
        if self.here and self.host and self.here != self.host:
            return "differs"
        return "" if self.host else "not pushed"


def generate(settings: Settings) -> list[str]:
    """Create the generated secrets that do not exist here; return their names."""
    created = []
    for name, spec in settings.secrets.items():
        if spec.source == "generated" and files.read(settings.root, settings.environment, name) is None:
            files.write(settings.root, settings.environment, name, files.generate())
            created.append(name)
    return created


def store(settings: Settings, name: str, ask: Callable[[], bytes]) -> None:
    """Store a value supplied by a person.

    Raises:
        UsageError: no such secret in flotteq.toml.
        SecretError: the value is empty, has a line break, or Redis cannot be told it.
    """
    if name not in settings.secrets:
        raise unknown("secret", name, list(settings.secrets))
    value = secret_store.fit(settings, name, files.check_value(name, ask()))
    files.write(settings.root, settings.environment, name, value, replace=True)


def overview(site: Site) -> list[SecretStatus]:
    """All secrets of flotteq.toml with their fingerprints."""
    on_host = site.engine.facts().secrets
    rows = []
    for name, spec in site.settings.secrets.items():
        value = files.read(site.settings.root, site.settings.environment, name)
        rows.append(
            SecretStatus(name, spec.source, files.fingerprint(name, value) if value else "", on_host.get(name, ""))
        )
    return rows


def push_missing(site: Site, variables: Mapping[str, str]) -> list[str]:
    """Put secrets that the host lacks on the host; one that the host has is never overwritten.

    Raises:
        SecretError: one is missing here and there; or differs, which only a rotation may change.
    """
    with locked(site, holder("secrets.push", variables)) as keeper:
        differ = [one.name for one in overview(site) if one.note == "differs"]
        if differ:
            raise SecretError(
                f"the host has other values of: {', '.join(differ)}; nothing was pushed",
                hint=f"inv secrets.generate --rotate {differ[0]}",
            )
        _, values = secret_store.settle(site.settings, site.engine.facts().secrets)
        site.host.run(script('mkdir -p "$1/secrets"', str(site.settings.directory)))
        secret_store.push(site.host, site.settings, values)
        keeper.write("secrets.push", names=sorted(values))
    return sorted(values)


_READ = """
for pair; do
  container=${pair%%=*} file=/run/secrets/${pair#*=}
  if docker exec "$container" sh -c 'test -s "$1" && cat "$1" >/dev/null' check "$file" 2>/dev/null; then
    echo "ok $pair"
  else
    echo "failed $pair"
  fi
done
"""


def check(site: Site) -> list[Finding]:
    """Let each running consumer read each of its secrets, as the user that it runs as."""
    facts = site.engine.facts()
    services = site.engine.config()["services"]
    pairs = [
        f"{one.name}={str(secret.get('target') or secret['source']).rpartition('/')[2]}"
        for one in facts.instances
        if one.running and not one.oneoff
        for secret in services.get(one.service, {}).get("secrets") or []
    ]
    if not pairs:
        return [Finding("secrets", "no consumer runs", ok=False, fix="inv deploy --version v1.0.0")]
    done = site.host.run(script(_READ, pairs), timeout=120)
    findings = []
    for line in done.out.splitlines():
        verdict, _, pair = line.partition(" ")
        container, _, name = pair.rpartition("=")
        said = "can be read" if verdict == "ok" else "cannot be read, or is empty"
        findings.append(Finding(container, f"{name} {said}", ok=verdict == "ok", fix="inv secrets.push"))
    return findings


def known(settings: Settings, name: str) -> SecretSpec:
    """The secret of that name.

    Raises:
        UsageError: there is none; the nearest is suggested.
    """
    spec = settings.secrets.get(name)
    if spec is None:
        raise unknown("secret", name, list(settings.secrets))
    return spec


def rotate(site: Site, name: str, variables: Mapping[str, str]) -> None:
    """Give a secret a new value: servers take it while they run, then its consumers are replaced side by side.

    A generated secret gets a fresh value; of one that a person supplies the local value is used.

    Raises:
        UsageError: no such secret, nothing is deployed, or the supplied value is not new.
    """
    spec = known(site.settings, name)
    value = files.generate() if spec.source == "generated" else _supplied(site, name)
    who = holder(f"rotate {name}", variables)
    try:
        _rotate(site, name, value, who, variables)
    except HostUnreachable as lost:
        _settle(site, name, value, who, lost)
        raise


def _rotate(site: Site, name: str, value: Secret, who: Mapping[str, str], variables: Mapping[str, str]) -> None:
    spec = site.settings.secrets[name]
    with locked(site, who) as keeper:
        facts = repair(site, keeper)
        if facts.release is None:
            raise UsageError(f"nothing is deployed to {site.host.name}: there is nothing to rotate")
        keeper.write("rotate", secret=name)
        old = passwords.on_host(site, name, facts.secrets.get(name, ""))
        try:
            with site.report.step(f"new value of {name}"):
                secret_store.push(site.host, site.settings, {name: value})
                passwords.teach(site, spec.rotate, value)
            same = DeployRequest.same(facts.release, rotates=name)
            deploy_locked(site, same, who, keeper, facts=site.engine.facts(), variables=variables)
        except HostUnreachable:
            # The lock went with the connection, and the new value may be live.
            raise
        except BaseException:
            with interruption.ignored():
                passwords.take_back(site, name, old)
            raise
        files.write(site.settings.root, site.settings.environment, name, value, replace=True)
        if spec.rotate == "redis":
            passwords.only(site, value)


def _settle(site: Site, name: str, value: Secret, who: Mapping[str, str], lost: HostUnreachable) -> None:
    """After a lost connection, under a lock of its own: what is live decides whether the servers get the old value."""
    try:
        with interruption.ignored(), locked(site, who) as keeper:
            facts = repair(site, keeper)
            mark = facts.release.secrets.get(name, "") if facts.release else ""
            if mark not in ("", files.fingerprint(name, value)) and facts.secrets.get(name) != mark:
                passwords.take_back(site, name, passwords.on_host(site, name, mark))
    except (HostUnreachable, Locked):
        hint = f"when the host answers, inv secrets.generate --rotate {name}: who uses it may have another value now"
        raise HostUnreachable(lost.message, hint=hint, details=lost.details) from lost


def _supplied(site: Site, name: str) -> Secret:
    """The local value of a secret that a person supplies; it must be another one than the host's."""
    value = secret_store.local(site.settings, name)
    if value is None:
        raise SecretError(f"there is no new value of {name} here", hint=f"inv secrets.set {name}")
    facts, mark = site.engine.facts(), files.fingerprint(name, value)
    # A rotation that did not end left it on the host alone: what runs has another one.
    live = facts.release.secrets.get(name, mark) if facts.release else mark
    if facts.secrets.get(name) == mark == live:
        raise UsageError(f"the host has this value of {name} already", hint=f"inv secrets.set {name}")
    return value
