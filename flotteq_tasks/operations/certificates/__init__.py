"""The lifecycle of the certificate: placeholder, first issue, renewal, status."""

from flotteq_tasks.operations.certificates.lifecycle import (
    Certificates,
    Foreseen,
    Render,
    ensure_placeholder,
    is_issued,
)
from flotteq_tasks.operations.certificates.status import (
    CertificateStatus,
    LastRenewal,
    Overview,
    ends_first,
    overview,
    served_days,
    status,
)

__all__ = [
    "CertificateStatus", "Certificates", "Foreseen", "LastRenewal", "Overview", "Render", "ends_first",
    "ensure_placeholder", "is_issued", "overview", "served_days", "status",
]  # fmt: skip
