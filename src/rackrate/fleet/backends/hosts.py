"""Which machines of one's own may a fleet use? Named in words, or in a file of TOML.

[[host]]
address = "me@gpu1:22"             # user and port are optional, as for ssh
slots = 4                          # nodes at once; 1 unless named
python = "/opt/venv/bin/python"    # one that has rackrate[fleet]; python3 unless named
key = "~/.ssh/fleet"               # private key; what ssh would take unless named
known_hosts = "~/.ssh/known_hosts"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rackrate.errors import BadQuantity, UnknownName, UsageError, nearest

_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<host>[^@\s:\[\]]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?"
)
_MOST_SLOTS = 1024


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that one owns.

    Attributes:
        address: `user@host:port`; user and port are optional.
        slots: nodes that may live there at once, of all fleets.
        python: that has Rackrate with its engine.
        key: private key; empty for what ssh would take.
        known_hosts: file of the keys that hosts must show.
    """

    address: str
    slots: int = 1
    python: str = "python3"
    key: str = ""
    known_hosts: str = "~/.ssh/known_hosts"

    def __post_init__(self) -> None:
        if not isinstance(self.address, str) or not _ADDRESS.fullmatch(self.address):
            raise UsageError(f"{self.address!r} is no address of a host", hint="write user@host:port")
        if type(self.slots) is not int or not 1 <= self.slots <= _MOST_SLOTS:
            hint = f"give a whole number of 1 to {_MOST_SLOTS}"
            raise BadQuantity(f"{self.address}: {self.slots!r} slots cannot be", hint=hint)
        for name in ("python", "key", "known_hosts"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{self.address}: {name} {getattr(self, name)!r} is no text")

    def where(self) -> dict[str, Any]:
        """Return `host`, and `username` and `port` where they are named."""
        found = _ADDRESS.fullmatch(self.address)
        parts = found.groupdict() if found else {}
        where: dict[str, Any] = {"host": (parts["host"] or "").strip("[]")}
        if parts["user"]:
            where["username"] = parts["user"]
        if parts["port"]:
            where["port"] = int(parts["port"])
        return where


def read_hosts(named: Iterable[str]) -> tuple[Host, ...]:
    """Return the hosts that are named: each an address, or a file whose name ends with `.toml`.

    Raises:
        UsageError: none is named, one twice, or a file cannot be read.
        UnknownName: a file says something of a host that nobody asks.
        BadQuantity: no number of slots.
    """
    hosts = [
        host for name in named for host in (_read(Path(name)) if name.endswith(".toml") else [Host(name)])
    ]
    if not hosts:
        raise UsageError("no host is named", hint='name them: hosts=["me@gpu1", ...], or a file of TOML')
    addresses = [host.address for host in hosts]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise UsageError(f"{twice[0]} is named twice", hint="say slots = 2 for two nodes on one host")
    return tuple(hosts)


def as_named(hosts: str | Iterable[str]) -> tuple[str, ...]:
    """Return hosts as a fleet writes them down: files by their whole path, wherever it is read."""
    named = [hosts] if isinstance(hosts, str) else hosts
    return tuple(str(Path(name).expanduser().resolve()) if name.endswith(".toml") else name for name in named)


def _read(path: Path) -> list[Host]:
    try:
        data = tomllib.loads(path.expanduser().read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not read: {error}") from error
    entries = data.get("host", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path}: host is no list of tables", hint="begin each host with [[host]]")
    known = [field.name for field in fields(Host)]
    for entry in entries:
        for name in entry:
            if name not in known:
                raise UnknownName("setting", name, nearest(name, known) or known)
        if "address" not in entry:
            raise UsageError(f"{path}: a host without an address", hint='write address = "user@host:port"')
    return [Host(**entry) for entry in entries]
