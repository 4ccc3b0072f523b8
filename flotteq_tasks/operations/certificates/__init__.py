"""The lifecycle of the certificates: placeholder, first issue, renewal, status."""

from flotteq_tasks.operations.certificates.lifecycle import Certificates, Forecast, Foreseen
from flotteq_tasks.operations.certificates.placing import Render, ensure_placeholder
from flotteq_tasks.operations.certificates.status import (
    CertificateStatus,
    LastRenewal,
    Overview,
    ends_first,
    on_host,
    overview,
    served_days,
    status,
)

__all__ = [
    "CertificateStatus", "Certificates", "Forecast", "Foreseen", "LastRenewal", "Overview", "Render", "ends_first",
    "ensure_placeholder", "on_host", "overview", "served_days", "status",
]  # fmt: skip
