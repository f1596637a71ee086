"""What does a line say when nobody answers, or not what a keeper answers?"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
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


def test_an_answer_that_comes_in_drops_is_no_answer_in_time(tmp_path: Path) -> None:
    """A lease may wait for it: patience is for all of the answer, not for each of its bytes."""
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def drip() -> None:
            link, _ = server.accept()
            with link:
                while not over.wait(0.05):
                    with suppress(BrokenPipeError):
                        link.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        started_s = time.monotonic()
        with Line(tmp_path / "s") as line, pytest.raises(TimeoutError):
            line.ask("renew", 0.3)
        assert 0.3 <= time.monotonic() - started_s < 2
        over.set()
        dripping.join()
