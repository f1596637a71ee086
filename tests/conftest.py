"""What every test gets: loopback sockets only, and a data directory of its own."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

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


@pytest.fixture(scope="session")
def node_image() -> str:
    """Return an OCI image of this Python and Rackrate, or skip where nothing runs containers."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    if os.geteuid() != 0:
        pytest.skip("networks of containers need root here")
    from rackrate.testing import image  # noqa: PLC0415 - it needs the engine's packages

    return image.build()


@pytest.fixture(scope="session")
def containers_at(node_image: str) -> str:
    """Return an address of this machine that containers reach from networks of their own."""
    del node_image
    words = ["podman", "network", "inspect", "podman", "--format", "{{range .Subnets}}{{.Gateway}}{{end}}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() + ":0"


@pytest.fixture
def ssh_server(tmp_path: Path) -> Iterator[Any]:
    """Run OpenSSH's server for this user on loopback, or skip where it is not installed."""
    from rackrate.testing import sshd  # noqa: PLC0415 - it needs the engine's packages

    if sshd.program() is None:
        pytest.skip("OpenSSH's server is not installed")
    env = {"PYTHONPATH": ":".join(sys.path), "XDG_DATA_HOME": str(tmp_path / "there")}
    with sshd.Sshd(tmp_path / "sshd", env) as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run an emulated Kubernetes cluster that boots real machines; the kubeconfig leads to it."""
    from rackrate.testing.kubernetes import KubernetesServer, Pods  # noqa: PLC0415 - the engine's packages
    from rackrate.testing.machines import Machines  # noqa: PLC0415

    machines = Machines(tmp_path / "ground")
    with KubernetesServer(Pods(machines), machines.log) as server:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(server.kubeconfig()))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield server
    machines.close()
