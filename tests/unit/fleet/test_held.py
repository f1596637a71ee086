"""Whether a node lives is asked by many at once: who asks must not be taken for the node."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from rackrate.fleet.backends.held import is_held


def test_who_looks_is_never_taken_for_a_node(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    alive.touch()
    seen: list[bool] = []

    def look() -> None:
        seen.extend(is_held(alive) for _ in range(3000))

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for one in lookers:
        one.start()
    for one in lookers:
        one.join()
    assert seen == [False] * 9000


def test_a_node_is_seen_as_long_as_any_process_has_its_file_open(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    assert not is_held(alive)
    node = os.open(alive, os.O_RDWR | os.O_CREAT)
    child = os.dup(node)
    fcntl.flock(node, fcntl.LOCK_EX)
    os.close(node)
    assert is_held(alive)
    os.close(child)
    assert not is_held(alive)
