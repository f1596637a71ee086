"""A keeper that grants what a test says, so that backends are tested without a fleet."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


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
        with connection, connection.makefile("rwb") as stream:
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


@pytest.fixture
def keeper() -> Iterator[FakeKeeper]:
    """Run a keeper at a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="rr") as folder:
        keeper = FakeKeeper(Path(folder) / "keeper")
        yield keeper
        keeper.close()
