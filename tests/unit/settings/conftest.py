"""A small project on disk: flotteq.toml, .env.production, and what a test adds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.settings.loader import load

TOML = """\
[project]
name = "flotteq"
domain = "flotteq.com"

[registry]
server = "ghcr.io"

[services.postgres]
kind = "stateful"
image = "postgres:15"

[services.redis]
kind = "stateful"
image = "redis:7"

[services.backend]
kind = "rolling"
image = "flotteq-backend"
port = 3000
subdomain = "api"
build = { context = "backend" }
health = { path = "/api/health", expect = { status = "ok" } }

[services.frontend-client]
kind = "rolling"
image = "flotteq-frontend-client:1"
port = 80
subdomain = "app"

[services.nginx]
kind = "edge"
image = "nginx:1.30"

[secrets]
db_password = { source = "generated" }

[migrations]
service = "backend"
command = ["migrate"]

[environments.production.host]
address = "flotteq.com"

[environments.staging]
project = { domain = "staging.flotteq.com" }
overlay = "overlay.toml"
host = { address = "staging.flotteq.com" }
"""


class Project:
    """Files in a directory, and what the loader says about them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("flotteq.toml", TOML)
        self.write(".env.production", "CORS_ORIGIN=https://app.flotteq.com\n")
        self.write(".env.staging", "CORS_ORIGIN=https://app.staging.flotteq.com\n")

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def replace(self, old: str, new: str) -> None:
        """Change flotteq.toml in one place."""
        assert TOML.count(old) == 1, old
        self.write("flotteq.toml", TOML.replace(old, new))

    def add(self, text: str) -> None:
        """Add to the end of flotteq.toml."""
        self.write("flotteq.toml", f"{TOML}\n{text}\n")

    def load(self, environment: str | None = "production", **variables: str) -> Settings:
        return load(self.root, environment, variables)

    def error(self, environment: str | None = "production", **variables: str) -> SettingsError:
        with pytest.raises(SettingsError) as caught:
            load(self.root, environment, variables)
        return caught.value

    def errors(self, environment: str | None = "production", **variables: str) -> list[str]:
        return self.error(environment, **variables).message.split("\n")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def settings(project: Project) -> Callable[..., Settings]:
    return project.load
