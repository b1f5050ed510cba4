"""The server's self-made certificate. Clients of XenServer are used to one: all have a switch that accepts it."""

import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "server.pem"
"""The file in the state folder: private key, then certificate."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_VALID = datetime.timedelta(days=3650)


def server_context(state: Path, names: Iterable[str] = ()) -> ssl.SSLContext:
    """What the TLS sockets present, TLS 1.2 at least. Raises OSError, or ssl.SSLError for a file that is damaged."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(ensure_certificate(state, names))
    return context


def ensure_certificate(state: Path, names: Iterable[str] = ()) -> Path:
    """The file of key and certificate, made on first use for localhost and `names` (addresses or host names), valid for ten years.

    One that exists is kept as it is, an operator's own too. Key and certificate share a file, so that no
    crash leaves one without the other; of two servers that start at once, both end with the same.
    """
    path = state / NAME
    if path.exists():
        return path
    draft = state / f".{NAME}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_make(dict.fromkeys((*_LOCAL, *names))))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _make(names: Iterable[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xenet")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # hosts' clocks differ
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
