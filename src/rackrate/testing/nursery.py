"""The process that emulated machines are forked from: it has loaded what they run, and is their switch.

It takes lines of JSON, `{"name": ..., "env": {...}}`, and answers each when the machine runs. When its
input ends it waits for its machines and exits: who rents machines out does not end them by dying.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from rackrate.fleet import boot, tree
from rackrate.fleet.backends import forking
from rackrate.testing import namespaces
from rackrate.testing.namespaces import Switch

ALIVE = "alive"
"""File of a machine that is locked while it runs; it holds the id of its first process and its number."""
LOG = "log"
PRIVATE = "/dev/shm"  # noqa: S108 - each machine has its own
_LOADED = ("PATH", "PYTHONPATH", "LANG")


def main(folder: Path) -> None:
    """Fork machines with folders in `folder` until the input ends and they are gone."""
    from rackrate.fleet import engine  # noqa: F401, PLC0415 - this is the load that is shared

    switch = Switch() if namespaces.are_possible() else None
    temporary = PRIVATE
    if switch is None:
        temporary = tempfile.mkdtemp(prefix="rrm")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        tree.adopt_orphans()
    forking.share()
    _say({"address": switch.address if switch else "127.0.0.1", "is_isolated": switch is not None})
    pids: set[int] = set()
    n_made = 0
    for lines in forking.turns(lambda: bool(pids)):
        for line in lines:
            n_made += 1
            asked = json.loads(line)
            pids.add(_fork(folder / asked["name"], n_made, asked["env"], switch, temporary))
            _say({})
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                pids.discard(pid)
        if switch is None:
            tree.end_children(keep=frozenset(pids))
    if switch:
        switch.close()


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _fork(folder: Path, number: int, env: dict[str, str], switch: Switch | None, temporary: str) -> int:
    """Fork a machine and return the id of its first process; its lock is held before there is a machine."""
    folder.mkdir(parents=True, exist_ok=True)
    alive = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    pid = switch.fork(number, folder.name) if switch else os.fork()
    if pid:
        os.write(alive, f"{pid} {number}".encode())
        os.close(alive)  # the child's copy holds the lock
        return pid
    try:
        _be_machine(folder, env, temporary)
    except SystemExit:
        pass
    except BaseException as error:  # noqa: BLE001 - whatever it is, the log must have it
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(0)


def _be_machine(folder: Path, env: dict[str, str], temporary: str) -> None:
    """Boot: a session, a log and an environment of its own, and nothing of the nursery's."""
    forking.leave(folder / LOG)
    kept = {name: os.environ[name] for name in _LOADED if name in os.environ}
    os.environ.clear()
    os.environ.update(kept | {"TMPDIR": temporary, "HOME": temporary} | env)
    boot.main()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
