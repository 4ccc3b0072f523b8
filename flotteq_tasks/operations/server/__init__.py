"""From a bare host to one that a deploy can use, and whether it still is."""

from flotteq_tasks.operations.server.items import State
from flotteq_tasks.operations.server.setup import Prepared, check_server, first_site, plan_server, setup_server

__all__ = ["Prepared", "State", "check_server", "first_site", "plan_server", "setup_server"]
