"""What is asked of a deploy, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flotteq_tasks.model.release import Release
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations.names import known_services
from flotteq_tasks.operations.verification import Answer


@dataclass(frozen=True)
class DeployRequest:
    """What the user asked for.

    Args:
        again: run this release exactly as it was: images, files and secret versions.
        first_install: the data volumes may be created empty although a release is recorded.
        allow_stateful: databases and the edge may be replaced, too.
        only: replace these services only; the others keep their images.
        soak: seconds during which the new release is watched before the old one is removed; None: ``deploy.monitor``.
        surge: ``all`` services side by side or ``one`` after the other; empty: as the host's free memory allows.
        rotates: secret whose new value the host has already and this machine does not have yet.
    """

    version: Version
    again: Release | None = None
    first_install: bool = False
    allow_stateful: bool = False
    skip_backup: bool = False
    skip_migrations: bool = False
    only: tuple[str, ...] = ()
    soak: int | None = None
    surge: str = ""
    rotates: str = ""

    def check(self, settings: Settings) -> None:
        """Refuse what can be refused without the host: nothing of it may reach the lock or the history.

        Raises:
            UsageError: ``only`` names a service that does not exist or is never replaced side by side.
        """
        known_services(settings, self.only, among=settings.of_kind("rolling"))

    def options(self) -> dict[str, Any]:
        """What was asked for besides the version, as plain data: the journal keeps it for a resume."""
        names = ("first_install", "allow_stateful", "skip_backup", "skip_migrations", "only", "soak", "surge")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def resumed(cls, version: str, options: Mapping[str, Any]) -> "DeployRequest":
        """The request of an earlier deploy, from the journal."""
        known = {key: value for key, value in options.items() if key in cls.__dataclass_fields__}
        return cls(Version.parse(version), **{**known, "only": tuple(known.get("only", ()))})

    @classmethod
    def same(cls, release: Release, *, rotates: str = "") -> "DeployRequest":
        """The version that is live, with today's settings: only what changed beside it is replaced."""
        return cls(Version.parse(release.version), skip_backup=True, skip_migrations=True, rotates=rotates)

    @classmethod
    def back_to(cls, release: Release) -> "DeployRequest":
        """A release as it was. Data is never touched."""
        return cls(Version.parse(release.version), again=release, skip_backup=True, skip_migrations=True)


@dataclass(frozen=True)
class Deployed:
    """The result of a deploy. ``probes`` counts requests sent from here while it ran; ``pulled`` is bytes.

    ``seconds`` runs until the release was verified and recorded; old containers are removed afterwards.
    """

    version: str
    release: str
    changed: tuple[str, ...]
    seconds: float
    domains: tuple[Answer, ...]
    verified_tls: bool
    already: bool = False
    probes: int = 0
    failed: int = 0
    pulled: int | None = None
