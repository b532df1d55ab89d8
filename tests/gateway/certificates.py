"""Certificates made on the spot: an authority, and servers of this machine that it vouches for."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """`file` is what to trust."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        built = self._builder("authority", "authority", self._key.public_key(), days=2)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(built.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    @property
    def file(self) -> Path:
        return self.folder / "authority.pem"

    def _builder(
        self, subject: str, issuer: str, key: ec.EllipticCurvePublicKey, *, days: int
    ) -> x509.CertificateBuilder:
        """Valid from three days ago until in `days` days; both may be past."""
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
        )

    def server(
        self, *, days: int = 1, host: str = "127.0.0.1", own: bool = False
    ) -> ssl.SSLContext:
        """What a server shows; `own`: signed by itself alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = "server" if own else "authority"
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(host))])
        built = self._builder("server", issuer, key.public_key(), days=days)
        signed = built.add_extension(names, critical=False).sign(
            key if own else self._key, SHA256()
        )
        file = self.folder / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + signed.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


Shown = Callable[[Authority], ssl.SSLContext | None]
