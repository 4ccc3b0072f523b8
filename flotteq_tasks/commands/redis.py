"""Command lines for Redis in its container. The password is never a word of a command line."""

from collections.abc import Sequence

from flotteq_tasks.commands.containers import Containers
from flotteq_tasks.commands.shell import Command

# The container's entrypoint keeps the password there, in memory; redis-cli takes it from its environment.
_AUTH = "/run/redis/auth.conf"
_LOGIN = f"REDISCLI_AUTH=$(sed -n 's/^requirepass //p' {_AUTH}); export REDISCLI_AUTH"
_CLI = f'{_LOGIN}; exec redis-cli "$@"'
_ADD = f"""set -eu
{_LOGIN}
IFS= read -r password
printf 'ACL SETUSER default >%s\\n' "$password" | redis-cli -e --no-auth-warning
"""
_ONLY = f"""set -eu
{_LOGIN}
IFS= read -r password
printf 'ACL SETUSER default resetpass >%s\\n' "$password" | redis-cli -e --no-auth-warning
umask 077
printf 'requirepass %s\\n' "$password" > {_AUTH}.next
mv {_AUTH}.next {_AUTH}
"""


def cli(containers: Containers, service: str, words: Sequence[str] = (), *, tty: bool = False) -> Command:
    """The client; interactive without words."""
    return containers.exec(service, ["sh", "-c", _CLI, "redis-cli", *words], tty=tty)


def add_password(containers: Containers, service: str) -> Command:
    """Let the default user log in with one more password, read from standard input."""
    return containers.exec(service, ["sh", "-c", _ADD])


def only_password(containers: Containers, service: str) -> Command:
    """Let the default user log in with the password from standard input and no other."""
    return containers.exec(service, ["sh", "-c", _ONLY])
