"""Certificates as values: read, compared, checked and, for the placeholder, made. Nothing here touches a host."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from flotteq_tasks.model.errors import FlotteqError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate as Parsed

PLACEHOLDER_NAME = "placeholder.invalid"
PLACEHOLDER_DAYS = 3650
# A share, never days: certificates live 90 days, 45 or 6.
LEAST_LIFE = 0.25
# With less of it certbot renews where the server does not say when.
DUE_LIFE = 1 / 3
STAGING = "(STAGING)"


@dataclass(frozen=True)
class Certificate:
    """What matters of a certificate. Times are UTC; ``serial`` is hexadecimal, lower case.

    ``staging``: Let's Encrypt's staging server issued it, whose issuers all say so in their names.
    """

    serial: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    staging: bool = False

    @property
    def placeholder(self) -> bool:
        """Whether it is the one that lets nginx start before a real one exists."""
        return PLACEHOLDER_NAME in self.names

    def days_left(self, now: datetime) -> float:
        """Days until it ends, negative afterwards."""
        return (self.not_after - now) / timedelta(days=1)

    def holds(self, name: str) -> bool:
        """Whether it is valid for a public name."""
        return name in self.names

    def life_left(self, now: datetime) -> float:
        """The share of its life that is left: 1 at the beginning, 0 or less when it has expired."""
        return (self.not_after - now) / (self.not_after - self.not_before)

    def stale(self, now: datetime) -> bool:
        """Whether less than a quarter of its life is left: renewal, due at a third, has failed for a while."""
        return self.life_left(now) < LEAST_LIFE


def read_pem(content: bytes) -> Certificate:
    """Read the first certificate of a chain.

    Raises:
        FlotteqError: it is none.
    """
    from cryptography import x509

    try:
        return _value(x509.load_pem_x509_certificate(content))
    except ValueError as error:
        raise FlotteqError(f"no readable certificate: {error}") from error


def read_der(content: bytes) -> Certificate:
    """Read a certificate as TLS hands it over.

    Raises:
        FlotteqError: it is none.
    """
    from cryptography import x509

    try:
        return _value(x509.load_der_x509_certificate(content))
    except ValueError as error:
        raise FlotteqError(f"no readable certificate: {error}") from error


def faults(chain: bytes, key: bytes, names: list[str], now: datetime) -> list[str]:
    """Return what makes a chain and its key unfit to serve the names; empty when nothing does.

    Args:
        chain: PEM, the site's certificate first.
        key: PEM, without a passphrase.
        names: public names that it must be valid for.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        parsed = x509.load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        return [f"certificate or key cannot be read: {error}"]
    leaf = _value(parsed[0])
    found = []
    if private.public_key() != parsed[0].public_key():
        found.append("the key does not belong to the certificate")
    missing = [name for name in names if not leaf.holds(name)]
    if missing:
        found.append(f"it is not valid for {', '.join(missing)}")
    if not leaf.not_before <= now < leaf.not_after:
        found.append(f"it is valid from {leaf.not_before:%Y-%m-%d %H:%M} to {leaf.not_after:%Y-%m-%d %H:%M} UTC only")
    for issued, issuer in pairwise(parsed):
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            found.append(f"the chain is broken after {issued.subject.rfc4514_string() or leaf.names[0]}")
    return found


def make_placeholder(now: datetime) -> tuple[bytes, bytes]:
    """Make a self-signed certificate that no browser accepts, and its key, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, PLACEHOLDER_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A host whose clock is a little behind must start, too.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=PLACEHOLDER_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(PLACEHOLDER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def utc_now() -> datetime:
    """The present, with its time zone."""
    return datetime.now(UTC)


def _value(parsed: "Parsed") -> Certificate:
    from cryptography import x509

    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(extension.value.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    common = parsed.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return Certificate(
        serial=f"{parsed.serial_number:x}",
        issuer=str(common[0].value) if common else parsed.issuer.rfc4514_string(),
        names=names,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        staging=STAGING in parsed.issuer.rfc4514_string(),
    )
