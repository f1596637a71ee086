"""Which processes belong to a node or a fleet, and how are all of them ended, runaways among them?

A process leaves its group and session with one call, and its parent by dying in between. On Linux the
agent of a node asks to adopt orphans below it (a "child subreaper"): then every descendant stays its
descendant, and is found and killed as a child. Elsewhere the tree is killed as it stands at one look.

Beside the tree there is a mark in the environment, which all processes inherit unless they clear it:
by it a later command finds what is left of a fleet whose keeper and agents are dead.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "RACKRATE_NODE_OF"
"""Environment variable that holds the fleet's id, in every process of a fleet but the owner."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 5.0
"""For a process in an uninterruptible call: it dies when the call returns, and nobody can wait for that."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.002, 0.064
"""Between two looks at processes that die."""


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own; Linux only."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; Linux only."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_children(group: int | None = None, keep: frozenset[int] = frozenset()) -> None:
    """Kill every descendant of this process and wait for it.

    When a fleet's lease is over all its agents do this at once, on a machine that was busy until then: so
    none of them looks at processes that are not its own, and each look waits longer than the last.

    Args:
        group: a process group among them that is killed first, without looking for anything.
        keep: children that are left alone, with all below them; whoever waits for them still can.
    """
    if group is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    wait_s = _FIRST_WAIT_S
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if not keep and not _collect():
            return
        below = _below(os.getpid(), keep)
        if not below:
            return
        for pid in below:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        for pid in below:
            with suppress(ChildProcessError):  # not a child, or not yet
                os.waitpid(pid, os.WNOHANG)


def _collect() -> bool:
    """Collect the dead children; tell whether there are living ones."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _below(root: int, keep: frozenset[int]) -> list[int]:
    """Return all descendants of this process that are not kept, dead children that nobody collected too.

    Nothing is collected during the look: a child that dies meanwhile hands its own children to this process,
    and these may have been read before, as the child's. While the child is listed, the look is not empty.
    """
    children = _told_children if Path(f"/proc/{root}/task/{root}/children").exists() else _seen_children()
    found = [pid for pid in children(root) if pid not in keep]
    for pid in found:  # grows while it is walked
        found += children(pid)
    return found


def _told_children(pid: int) -> list[int]:
    """Return the children of a process as Linux lists them, of each of its threads.

    The list may lack some when others are collected meanwhile (proc(5)): of this process nobody else collects
    any, and what is missed of another is this one's own as soon as that other is dead.
    """
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - a name is all that is needed
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
    return found


def _seen_children() -> Callable[[int], list[int]]:
    """Return what tells the children of a process, by one look at all processes of the machine."""
    children: dict[int, list[int]] = {}
    for one in psutil.process_iter(["ppid"]):
        children.setdefault(one.info["ppid"], []).append(one.pid)
    return lambda pid: children.get(pid, [])


def end_tree(root: psutil.Process) -> None:
    """Kill a process and all that is below it at this moment."""
    with suppress(psutil.NoSuchProcess):
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def is_frozen(pid: int) -> bool:
    """Tell whether a process is stopped (SIGSTOP); one that is not there is not."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def end_marked(fleet: str, patience_s: float = _PATIENCE_S) -> int:
    """Kill every process that bears a fleet's mark, and what is below it; return how many it was."""
    n = 0
    until = time.monotonic() + patience_s
    while (found := marked(fleet)) and time.monotonic() < until:
        for process in found:
            end_tree(process)
        n += len(found)
        psutil.wait_procs(found, timeout=1)
    return n


def marked(fleet: str) -> list[psutil.Process]:
    """Return the living processes that bear a fleet's mark, without this one."""
    return [process for process, owner in all_marked() if owner == fleet]


def all_marked() -> list[tuple[psutil.Process, str]]:
    """Return every living process of any fleet with the fleet's id, without this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                fleet = process.environ().get(MARK)
                if fleet:
                    found.append((process, fleet))
    return found
