"""A throwaway VPS with all that stands around it, in containers of this machine."""

from flotteq_tasks.operations.sandbox.files import Sandbox
from flotteq_tasks.operations.sandbox.lifecycle import SandboxStatus, down, exec_on_host, reboot, status, up
from flotteq_tasks.operations.sandbox.names import DEFAULT_INSTANCE

__all__ = ["DEFAULT_INSTANCE", "Sandbox", "SandboxStatus", "down", "exec_on_host", "reboot", "status", "up"]
