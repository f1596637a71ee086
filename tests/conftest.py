"""What every test gets: loopback sockets only, and a data directory of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # AF_UNIX and friends never leave the machine
    try:
        return ipaddress.ip_address(str(address[0])).is_loopback
    except ValueError:
        return address[0] == "localhost"


def _guard(method: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: object, *rest: object) -> Any:
        if not _is_local(address):
            raise PermissionError(f"a test may open loopback sockets only, not {address!r}")
        return method(self, address, *rest)

    return guarded


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave the machine."""
    monkeypatch.setattr(socket.socket, "connect", _guard(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", _guard(socket.socket.connect_ex))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty home, so that it neither reads nor writes the user's data."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("RACKRATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    return home


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared research data, or skip where a clone stands without it."""
    if not SHARED.is_dir():
        pytest.skip("the shared research data are not beside this clone")
    return SHARED
