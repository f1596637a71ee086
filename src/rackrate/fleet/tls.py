"""Who may join, read or stop a fleet? Who holds the key that was made for it, and for nothing else.

One certificate, its own authority, in all roles: each end of a link shows it and asks for it. The key is
made for one fleet, stays in a file that only its user may read, and is worthless when the fleet is over.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_SKEW = timedelta(hours=1)
"""By so much a machine's clock may be behind."""


def write_key(path: Path, fleet: str, valid: timedelta) -> None:
    """Make the key and certificate of a fleet and write both, as PEM in JSON, mode 600."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"rackrate fleet {fleet}")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + valid + _SKEW)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    text = json.dumps(
        {
            "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
        }
    )
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(text)


def read_key(path: Path) -> tuple[str, str]:
    """Return key and certificate, PEM."""
    data = json.loads(path.read_text("ascii"))
    return data["key"], data["certificate"]
