"""Who is at the other end of a link? A key, its certificate and the authority of the fleet that signed it.

The fleet's own certificate is its authority; a node's is signed by it and bears the node's name. All three
parts travel together as PEM. What a link shows and asks for is made here, from the standard library alone:
a machine needs no more to join. Making keys is the owner's part (`tls`).
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_END_OF_PART = "-----END "
_LEAST_S = 0.001


@dataclass(frozen=True, slots=True)
class Identity:
    """What one end of a link shows, and whom it trusts, as PEM.

    Attributes:
        key: private.
        certificate: that belongs to the key.
        authority: certificate that signed both ends.
    """

    key: str
    certificate: str
    authority: str

    def to_pem(self) -> str:
        """Return all three, one after the other."""
        return self.key + self.certificate + self.authority

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Return what `to_pem` wrote.

        Raises:
            ValueError: these are not three parts.
        """
        parts: list[str] = [""]
        for line in text.splitlines(keepends=True):
            parts[-1] += line
            if line.startswith(_END_OF_PART):
                parts.append("")
        key, certificate, authority, rest = parts
        if rest.strip():
            raise ValueError("more than a key and two certificates")
        return cls(key, certificate, authority)

    def write(self, path: Path) -> None:
        """Write it to a new file that only its user may read."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(self.to_pem())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what `write` wrote."""
        return cls.from_pem(path.read_text("ascii"))

    def server_context(self) -> ssl.SSLContext:
        """Return what a listening end shows and asks for."""
        return self._context(ssl.PROTOCOL_TLS_SERVER)

    def client_context(self) -> ssl.SSLContext:
        """Return what a dialling end shows and asks for."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # an address says nothing; `is_authority` and `name_of` do
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.authority)
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:  # mode 600; OpenSSL reads no string
            file.write(self.key + self.certificate)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def is_authority(self, link: ssl.SSLObject | ssl.SSLSocket) -> bool:
        """Tell whether the other end is the fleet itself, and not one of its nodes."""
        return link.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(self.authority)

    def dial(self, address: str, timeout_s: float) -> ssl.SSLSocket:
        """Return a connection to the gate of the fleet.

        Raises:
            OSError: nobody answers there, or it is somebody else.
        """
        host, _, port = address.rpartition(":")
        until_s = time.monotonic() + timeout_s
        plain = socket.create_connection((host, int(port)), timeout_s)
        try:
            plain.settimeout(max(until_s - time.monotonic(), _LEAST_S))
            link = self.client_context().wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
        if not self.is_authority(link):
            link.close()
            raise ConnectionError(f"{address} is not the gate of this fleet")
        return link


def name_of(link: ssl.SSLObject) -> str:
    """Return whom the other end's certificate was made for."""
    shown: dict[str, Any] = dict(link.getpeercert() or {})
    names = dict(part[0] for part in shown.get("subject", ()))
    return str(names.get("commonName", ""))
