"""What the outside sees of an environment, compared with what it should see. Nothing is changed."""

from flotteq_tasks.operations.audit.checks import Check
from flotteq_tasks.operations.audit.edge import audit_edge

__all__ = ["Check", "audit_edge"]
