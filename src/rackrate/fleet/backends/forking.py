"""How does a process that forks others wait? For the next line of its input, or the end of one of its own."""

from __future__ import annotations

import gc
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TURN_S = 1.0
"""The longest that a turn waits."""


@contextmanager
def loading() -> Iterator[None]:
    """Load what forked processes are to share: the garbage collector never looks at it, then or later."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def share() -> None:
    """Keep the garbage collector from writing to what is there, which forked processes are to share."""
    gc.collect()
    gc.freeze()


def leave(log: Path) -> None:
    """Have nothing of the process that forked this one: no session, signals, input or output of its own.

    Args:
        log: file at whose end this process writes from now on.
    """
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)


def is_hung_up() -> bool:
    """Tell whether nobody writes to the input any more, whatever is left there to be read."""
    poll = select.poll()
    poll.register(0, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def turns(has_children: Callable[[], bool]) -> Iterator[list[bytes]]:
    """Yield the lines that have come in at each turn: when there are any, a child ended, or nothing did.

    Args:
        has_children: whether any is left; when none is and the input has ended, so have the turns.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    rest, is_open = b"", True
    while is_open or has_children():
        lines: list[bytes] = []
        ready, _, _ = select.select([wake_read, *([0] if is_open else [])], [], [], TURN_S)
        if wake_read in ready:
            os.read(wake_read, 512)
        if 0 in ready:
            data = os.read(0, 1 << 16)
            is_open = bool(data)
            *lines, rest = (rest + data).split(b"\n")
        yield lines
