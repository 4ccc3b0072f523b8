"""The lifecycle of the certificate: placeholder, first issue, renewal, status."""

from flotteq_tasks.operations.certificates.lifecycle import Certificates, Render, ensure_placeholder, is_issued
from flotteq_tasks.operations.certificates.status import CertificateStatus, served_days, status

__all__ = ["CertificateStatus", "Certificates", "Render", "ensure_placeholder", "is_issued", "served_days", "status"]
