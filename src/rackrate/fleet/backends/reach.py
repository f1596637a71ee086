"""Can another machine reach an address as it stands?"""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Tell whether `host:port` means a machine itself, so that no other can dial it."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
