"""A new value of a secret: who is replaced, and what the old value is worth afterwards."""

import os

import pytest
from support.stack import Stack, wait_for, without_failure
from support.watch import CommandLines

pytestmark = pytest.mark.stack

_ASK_REDIS = """docker exec -i "$(docker ps -qf label=com.docker.compose.service=redis)" \
    sh -c 'IFS= read -r value; REDISCLI_AUTH=$value redis-cli ping' 2>&1"""
# By the container's name on its network: on the loopback Postgres trusts everybody.
_ASK_POSTGRES = """docker exec -i "$(docker ps -qf label=com.docker.compose.service=postgres)" \
    sh -c 'IFS= read -r value
           PGPASSWORD=$value psql -h postgres -U flotteq_prod -d flotteq_production -c "select 1"' 2>&1"""


def test_rotating_a_token_secret_replaces_the_backend_only(stack: Stack) -> None:
    before, old = stack.ids(), stack.secret("jwt_access_secret")
    with CommandLines() as lines, without_failure(stack.load(threads=3)):
        stack.inv("secrets.generate", "--rotate", "jwt_access_secret", "--yes").ok()
    after = stack.ids()
    assert _replaced(before, after) == {"flotteq-backend"}
    assert len(after) == len(before)
    assert stack.secret("jwt_access_secret") != old
    assert not [line for line in lines.seen if old in line or stack.secret("jwt_access_secret") in line]
    stack.inv("secrets.check").ok()


def test_a_new_value_that_a_person_supplies_replaces_its_consumers_when_it_is_rotated(stack: Stack) -> None:
    """A deploy keeps the host's value: a stale one on somebody's laptop must not go live by accident."""
    before, version = stack.ids(), str(stack.health()["version"])
    stack.inv("secrets.set", "smtp_password", stdin=f"canary-smtp_password-{os.urandom(9).hex()}\n").ok()
    said = stack.inv("deploy", "--version", version).ok().err
    assert "secret smtp_password: the host has another value than this machine" in said
    assert "inv secrets.generate --rotate smtp_password" in said
    assert stack.ids() == before
    with without_failure(stack.load(threads=3)):
        stack.inv("secrets.generate", "--rotate", "smtp_password", "--yes").ok()
    assert _replaced(before, stack.ids()) == {"flotteq-backend"}
    assert "another value" not in stack.inv("deploy", "--version", version).ok().err


@pytest.mark.parametrize(
    ("name", "ask", "granted", "refused"),
    [
        ("redis_password", _ASK_REDIS, "PONG", "WRONGPASS"),
        ("db_password", _ASK_POSTGRES, "(1 row)", "password authentication failed"),
    ],
)
def test_rotating_a_servers_password(stack: Stack, name: str, ask: str, granted: str, refused: str) -> None:
    before, old = stack.ids(), stack.secret(name)
    assert granted in stack.host(ask, stdin=old.encode() + b"\n").out
    with CommandLines() as lines, stack.load(threads=3) as load:
        load.wait_for(50)
        stack.inv("secrets.generate", "--rotate", name, "--yes").ok()
        load.wait_for(50)
    # A role of Postgres has one password: what the old containers connect anew before the switch is refused.
    allowed = load.result.total // 100 if name == "db_password" else 0
    assert load.result.failed.total() <= allowed, str(load.result)
    assert set(load.result.failed) <= {"5xx"}
    new = stack.secret(name)
    assert new != old
    assert granted in stack.host(ask, stdin=new.encode() + b"\n").out
    assert refused in stack.host(ask, stdin=old.encode() + b"\n", check=False).out
    assert stack.status()["ok"] is True
    assert stack.health()["database"] == "connected"
    assert _replaced(before, stack.ids()) == {"flotteq-backend"}
    assert not [line for line in lines.seen if old in line or new in line]


def test_rotated_passwords_survive_a_restart_of_the_servers(stack: Stack) -> None:
    stack.inv("restart", "--service", "postgres,redis", "--yes").ok()
    assert stack.inv("redis-cli", "--command", "ping").ok().out.strip() == "PONG"
    assert "PONG" in stack.host(_ASK_REDIS, stdin=stack.secret("redis_password").encode() + b"\n").out
    assert "(1 row)" in stack.host(_ASK_POSTGRES, stdin=stack.secret("db_password").encode() + b"\n").out
    # The API loses its connections and may be started again by its restart policy.
    wait_for(lambda: stack.status()["ok"], "all nine services to be healthy")


def _replaced(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name.rpartition("-")[0] for name, identity in before.items() if after.get(name) != identity}
