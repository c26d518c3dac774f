"""Certificates that the parts of one machine's S3 server show each other over gRPC: nobody else has one, so nobody else
is answered. The authority that signed them signs nothing more: its key is never written.
"""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "store.crt", "store.key"
_LASTS = timedelta(days=3650)
_RENEWED = timedelta(days=365)
"""How long before their end they are made anew."""
_CLOCKS_DIFFER = timedelta(days=1)


def ensure(folder: Path) -> None:
    """Makes them where there are none, or where they end soon."""
    last, now = folder / KEY, datetime.now(UTC)
    if last.exists() and datetime.fromtimestamp(last.stat().st_mtime, UTC) > now - _LASTS + _RENEWED:
        return
    folder.mkdir(mode=0o700, exist_ok=True, parents=True)
    _write(folder, *_made(now))


def _made(now: datetime) -> tuple[bytes, bytes, bytes]:
    """The authority's certificate, and one that it signed, with its key."""
    from cryptography import x509  # noqa: PLC0415  # a tenth of a second, once in a data folder's life
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    def begun(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(issuer_name=authority, subject_name=subject, public_key=key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCKS_DIFFER)
            .not_valid_after(now + _LASTS)
        )

    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "auteur, this machine")])
    store = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "auteur store")])
    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    above = (
        begun(authority, signer.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(signer, hashes.SHA256())
    )
    below = (
        begun(store, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return (
        above.public_bytes(pem),
        below.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
    )


def _write(folder: Path, authority: bytes, certificate: bytes, key: bytes) -> None:
    """The key last: where it is, all are."""
    for name, content in ((AUTHORITY, authority), (CERTIFICATE, certificate), (KEY, key)):
        draft = folder / f"{name}.new"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        draft.replace(folder / name)
