"""What does a line say when nobody answers, or not what a keeper answers?"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from rackrate.fleet.lines import Line


def test_an_error_is_not_its_own_cause(tmp_path: Path) -> None:
    """Who follows causes to their end, as the engine does, would follow this one for ever."""
    with Line(tmp_path / "nobody") as line, pytest.raises(FileNotFoundError) as caught:
        line.ask("renew", 1)
    assert caught.value.__cause__ is None


def test_what_is_no_json_breaks_the_connection(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def babble() -> None:
            link, _ = server.accept()
            with link:
                link.recv(1000)
                link.sendall(b"hello\n")

        babbling = threading.Thread(target=babble)
        babbling.start()
        with Line(tmp_path / "s") as line, pytest.raises(ConnectionError, match="speaks no JSON"):
            line.ask("renew", 5)
        babbling.join()
