"""What people type. The namespace is built by hand: every task can be found by searching for its name."""

import copy
from types import ModuleType

from invoke.collection import Collection

from flotteq_tasks.tasks import (
    audit,
    backup,
    config,
    database,
    deploy,
    disk,
    env,
    host,
    images,
    lock,
    maintenance,
    nginx,
    releases,
    restore,
    rollback,
    sandbox,
    schedule,
    secrets,
    server,
    services,
    ssl,
    volumes,
)


def _collection(module: ModuleType, name: str) -> Collection:
    return Collection.from_module(module, name=name)


namespace = Collection()
for module in (services, images, rollback, disk, database):
    for task in _collection(module, "root").tasks.values():
        namespace.add_task(task)
for module, name in (
    (deploy, "deploy"),
    (backup, "backup"),
    (restore, "restore"),
    (schedule, "schedule"),
    (secrets, "secrets"),
    (ssl, "ssl"),
    (nginx, "nginx"),
    (maintenance, "maintenance"),
    (host, "host"),
    (server, "server"),
    (volumes, "volumes"),
    (env, "env"),
    (config, "config"),
    (lock, "lock"),
    (audit, "audit"),
    (releases, "releases"),
    (sandbox, "sandbox"),
):
    namespace.add_collection(_collection(module, name))
# The same task by the name under which one looks for it beside the other restores. A copy: Invoke takes the help out of
# a task when it shows it.
namespace.collections["restore"].add_task(copy.deepcopy(volumes.restore_), name="volume")
namespace.configure({"tasks": {"auto_dash_names": True}})
