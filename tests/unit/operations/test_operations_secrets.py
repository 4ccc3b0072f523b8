"""Values that a person supplies: what the server of a password cannot be told is refused wherever it is taken."""

from collections.abc import Callable
from pathlib import Path

import pytest
from unit_support import Events, fleet

from flotteq_tasks.engines.compose.engine import ComposeEngine
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.errors import SecretError
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import SecretSpec, Settings
from flotteq_tasks.operations import secret_store, secret_tasks
from flotteq_tasks.operations.context import Site
from flotteq_tasks.settings import secrets

SPECS = {"cache_password": SecretSpec("supplied", "redis"), "mail_password": SecretSpec("supplied")}


class Engine(ComposeEngine):
    """A host that has no secret."""

    def facts(self) -> Facts:
        return Facts()


def _rotate(settings: Settings) -> None:
    host = FakeHost({})
    secret_tasks.rotate(Site(settings, host, Engine(host, settings), Events().report), "cache_password", {})


@pytest.mark.parametrize("value", ["geh eim", "geh\teim", 'geh"eim', "geh'eim", "geh\\eim", "geheim "])
@pytest.mark.parametrize("take", [lambda settings: secret_store.settle(settings, {"mail_password": "m1"}), _rotate])
def test_a_local_value_that_redis_takes_apart_is_refused(
    tmp_path: Path, value: str, take: Callable[[Settings], None]
) -> None:
    path = secrets.write(tmp_path, "production", "cache_password", Secret(value))
    with pytest.raises(SecretError) as caught:
        take(fleet(tmp_path, secrets=SPECS))
    assert caught.value.message == (
        f"{path}: secret cache_password has a space, quote, backslash or control character: Redis would read another "
        'value (flotteq.toml: secrets.cache_password.rotate is "redis")'
    )
    assert caught.value.hint.endswith("inv secrets.set cache_password")


def test_a_value_that_redis_takes_apart_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"^secret cache_password has a space, quote"):
        secret_tasks.store(fleet(tmp_path, secrets=SPECS), "cache_password", lambda: b'geh"eim')
    assert secrets.read(tmp_path, "production", "cache_password") is None


@pytest.mark.parametrize(("name", "value"), [("cache_password", "g>#%$~!-_ä"), ("mail_password", 'with " and \\')])
def test_every_other_value_is_stored(tmp_path: Path, name: str, value: str) -> None:
    secret_tasks.store(fleet(tmp_path, secrets=SPECS), name, value.encode)
    assert secrets.read(tmp_path, "production", name) == Secret(value)
