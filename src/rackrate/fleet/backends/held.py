"""Does a node's process still live, asked of the kernel and not of anybody's memory?

A node holds a lock on a file that has the process id of its agent in it. The lock ends with the last
process that has the file open, however it dies, so any process may ask and none can be told a lie.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from rackrate.fleet import tree

_PATIENCE_S = 1.0
"""For an agent to end its node by itself."""


def is_held(path: Path) -> bool:
    """Tell whether a process of the node lives; many may ask at once, and none takes another for the node."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def end(path: Path) -> None:
    """Have the agent end its node, or end it from outside when the agent does not, or is frozen."""
    agent: int | None = None
    until = time.monotonic() + _PATIENCE_S
    while is_held(path) and time.monotonic() < until:
        agent = agent or _told(path)
        if agent and tree.is_frozen(agent):
            break
        time.sleep(0.01)
    if is_held(path):
        with suppress(psutil.NoSuchProcess, ValueError):
            tree.end_tree(psutil.Process(int(path.read_text())))


def _told(path: Path) -> int | None:
    """Tell the agent to end and return its process id; None while it has not yet written that."""
    with suppress(ProcessLookupError, ValueError):
        agent = int(path.read_text())
        os.kill(agent, signal.SIGTERM)
        return agent
    return None
