"""Who may join, read or stop a fleet? Who holds the key that was made for it, and for nothing else.

The fleet's certificate is its own authority, and the processes beside the owner show it in all roles. A
node that is another machine gets a key of its own with a certificate that the fleet has signed and that
names the node: it proves to be that node, and can make no further ones. All are worthless when the fleet is
over.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from rackrate.fleet.identity import Identity

_SKEW = timedelta(hours=1)
"""By so much a machine's clock may be behind."""


def write_key(path: Path, fleet: str, valid: timedelta) -> None:
    """Make the key and certificate of a fleet and write both, mode 600."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"rackrate fleet {fleet}")
    usage = _usage(is_authority=True)
    certificate = (
        _begun(name, key.public_key(), valid)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    pem = _pem(certificate)
    Identity(_key_pem(key), pem, pem).write(path)


def node_identity(fleet: Identity, node: str, valid: timedelta) -> Identity:
    """Make the key and certificate of one node."""
    signer = load_pem_private_key(fleet.key.encode(), None)
    authority = x509.load_pem_x509_certificate(fleet.authority.encode())
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the fleet's key is not one that `write_key` made")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _begun(_name(node), key.public_key(), valid)
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, SHA256())
    )
    return Identity(_key_pem(key), _pem(certificate), fleet.authority)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(name: x509.Name, key: ec.EllipticCurvePublicKey, valid: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + valid + _SKEW)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_authority,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
