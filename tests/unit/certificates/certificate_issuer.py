"""A certificate authority for unit tests."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
NAMES = ["api.fleet.example", "shop.fleet.example"]


class Authority:
    """Issues certificates; two of them are two strangers."""

    def __init__(self, name: str = "Fleet Test CA", *, now: datetime = NOW) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._now = now
        parsed = (
            self._builder(self._name, self._key, now - timedelta(days=400), 800)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = parsed.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: list[str], *, start: datetime | None = None, days: int = 90) -> tuple[bytes, bytes]:
        """Return chain and key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        parsed = (
            self._builder(x509.Name([]), key, start or self._now - timedelta(days=1), days)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return parsed.public_bytes(serialization.Encoding.PEM) + self.pem, private

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, days: int
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
        )
