"""A keeper that grants what a test says, so that backends are tested without a fleet."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rackrate.fleet import tls
from rackrate.fleet.backends.api import Provider
from rackrate.fleet.backends.runpod import RUNPOD, RunPod
from rackrate.fleet.backends.vast import VAST, Vast
from rackrate.fleet.folder import Folder
from rackrate.fleet.identity import Identity
from rackrate.testing.clouds import Cloud, Ground, RunPodCloud, VastCloud


class FakeKeeper:
    """Answers `renew` with a lease, or with nothing when `is_silent`; keeps what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ttl_s = 30.0
        self.is_silent = False
        self.heard: list[dict[str, Any]] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(ConnectionError), connection, connection.makefile("rwb") as stream:  # nodes are killed
            for line in stream:
                self.heard.append(json.loads(line))
                if not self.is_silent:
                    grant = {"ttl_s": self.ttl_s, "address": None, "is_draining": False}
                    stream.write(json.dumps(grant).encode() + b"\n")
                    stream.flush()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)


class Gate:
    """The gate before a keeper, a process of its own, opened when it is needed."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.address = ""
        self._process: subprocess.Popen[str] | None = None
        tls.write_key(folder.key, "c0117ac7", timedelta(hours=1))

    def open(self, at: str = "127.0.0.1:0", *more: str) -> None:
        """Start it, unless it runs; without an address it does not listen, and `said` is why."""
        if self._process is None:
            command = [sys.executable, "-m", "rackrate.fleet.gate", str(self.folder.path), at, *more]
            with self.said.open("wb") as said:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
                )
            assert self._process.stdout
            self.address = self._process.stdout.readline().strip()

    @property
    def said(self) -> Path:
        """Return the file with what it says of itself."""
        return self.folder.path / "gate.log"

    def identity(self, node: str) -> Identity:
        """Return what the fleet gives a node to show."""
        return tls.node_identity(Identity.read(self.folder.key), node, timedelta(hours=1))

    def close(self) -> None:
        """End its input, and so the gate."""
        if self._process:
            self._process.communicate()


@pytest.fixture
def gate(keeper: FakeKeeper) -> Iterator[Gate]:
    """Make the gate before the keeper, not yet open."""
    gate = Gate(Folder(keeper.path.parent))
    yield gate
    gate.close()


@pytest.fixture
def keeper() -> Iterator[FakeKeeper]:
    """Run a keeper at a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="rr") as folder:
        keeper = FakeKeeper(Path(folder) / "keeper")
        yield keeper
        keeper.close()


AS_BOOT = """
import os
from rackrate.fleet import tree
from rackrate.fleet.backends.agent import Agent
from rackrate.fleet.backends.base import Order
from rackrate.fleet.backends.inside import farewell

tree.die_with_parent()
end_machine = farewell(os.environ)
Agent(Order.from_env(os.environ), lambda *of: None).run()
end_machine()
"""


class Processes:
    """Machines that are plain processes: an agent each, which ends its machine when it is over."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, env: Mapping[str, str]) -> None:
        self._running[name] = subprocess.Popen(
            [sys.executable, "-c", AS_BOOT], env=os.environ | dict(env), stderr=subprocess.DEVNULL
        )

    def names(self) -> frozenset[str]:
        return frozenset(name for name, one in self._running.items() if one.poll() is None)

    def stop(self, name: str) -> None:
        one = self._running.get(name)
        if one:
            one.kill()
            one.wait()


Kind = tuple[type[Cloud], Provider, Callable[[], Any]]
CLOUDS: dict[str, Kind] = {"runpod": (RunPodCloud, RUNPOD, RunPod), "vast": (VastCloud, VAST, Vast)}


@dataclass(frozen=True)
class Account:
    """An account of an emulated cloud, and the ways to ask it.

    Attributes:
        cloud: what is asked.
        provider: how it is asked.
        rental: opens the API as the fleet does.
    """

    cloud: Cloud
    provider: Provider
    rental: Callable[[], Any]


Open = Callable[..., Account]


@pytest.fixture
def open_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Run clouds on a ground, with key and address of each in the environment."""
    with ExitStack() as clouds:

        def opened(name: str, ground: Ground, **more: Any) -> Account:
            kind, provider, rental = CLOUDS[name]
            cloud = clouds.enter_context(kind(ground, **more))  # type: ignore[call-arg]
            monkeypatch.setenv(provider.url_variable, cloud.url)
            monkeypatch.setenv(provider.key_variable, cloud.key)
            return Account(cloud, provider, rental)

        yield opened


@pytest.fixture(params=CLOUDS)
def account(request: pytest.FixtureRequest, open_account: Open) -> Account:
    """Run one of the clouds on plain processes."""
    return open_account(request.param, Processes())
