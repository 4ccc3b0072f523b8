"""What an environment shows, inside and out, compared with what it should show. Nothing is changed."""

from flotteq_tasks.operations.audit.checks import Check
from flotteq_tasks.operations.audit.edge import audit_edge
from flotteq_tasks.operations.audit.security import audit_security

__all__ = ["Check", "audit_edge", "audit_security"]
