"""Nodes on this machine: processes forked from one zygote, each with a lease, a log and a scratch folder.

Whether a node lives is asked of the kernel: its processes hold a lock on a file of the node's folder,
and a lock ends with the last of them, however they die. So `list` and `destroy` work from any process,
also when keeper and zygote are dead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rackrate.fleet import tree
from rackrate.fleet.backends import DESTROY_S, KEYS, held
from rackrate.fleet.backends.base import ALIVE, LOG, NoNode, Order

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Unless the user says otherwise: nodes share the cores, and a pool of threads does not survive a fork."""
_PATIENCE_S = 1.0
"""For the zygote to end when its nodes have."""


class LocalBackend:
    """Nodes on this machine, which is also where every fleet has its head.

    Args:
        folder: of the fleet; each node has one below `nodes/`.
        fleet: the fleet's id: every process bears it as a mark.
        preload: modules that the nodes share, imported once.
        path: where these are looked for.
    """

    destroy_s = DESTROY_S["local"]
    settle_s = 0.0
    list_s = 0.0
    n_calls = 8
    at = ""

    def __init__(
        self, folder: Path, fleet: str, *, preload: Sequence[str] = (), path: Sequence[str] = ()
    ) -> None:
        self._preload = tuple(preload)
        self._path = tuple(path)
        self._nodes = folder / "nodes"
        self._fleet = fleet
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the zygote ahead of the first order: it needs most of a second."""
        with self._lock:
            self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._zygote is None:
            self._nodes.mkdir(parents=True, exist_ok=True)
            env = _ONE_THREAD | os.environ | {tree.MARK: self._fleet}
            for name in KEYS.values():
                env.pop(name, None)  # they are the keeper's alone
            if self._preload:
                env["PYTHONPATH"] = os.pathsep.join(filter(None, self._path))
            with (self._nodes / "zygote.log").open("ab") as log:
                self._zygote = subprocess.Popen(  # noqa: S603 - ourselves
                    [
                        sys.executable,
                        "-m",
                        "rackrate.fleet.backends.zygote",
                        str(self._nodes),
                        *self._preload,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=env,
                    start_new_session=True,
                )
        return self._zygote

    def create(self, order: Order) -> None:
        """Fork a node.

        Raises:
            NoNode: the zygote is dead.
        """
        with self._lock:
            zygote = self._start()
            if zygote.stdin is None or zygote.stdout is None:
                raise NoNode("the zygote has no pipes")
            try:
                zygote.stdin.write(json.dumps(order.to_dict()).encode() + b"\n")
                zygote.stdin.flush()
                answer = zygote.stdout.readline()
            except BrokenPipeError:
                answer = b""
        trouble = json.loads(answer)["trouble"] if answer else self._last_words()
        if trouble:
            raise NoNode(f"{order.name}: {trouble}")

    @property
    def trouble(self) -> str:
        """Why no node can be forked any more; empty while one can, or before the first."""
        return self._last_words() if self._zygote and self._zygote.poll() is not None else ""

    def _last_words(self) -> str:
        return f"the process that nodes are forked from has died: {_tail(self._nodes / 'zygote.log')}"

    def list(self, fleet: str) -> frozenset[str]:
        """Return the nodes whose lock is held; those of the one fleet that the folder is of."""
        del fleet
        return frozenset(path.parent.name for path in self._nodes.glob(f"*/{ALIVE}") if held.is_held(path))

    def destroy(self, name: str) -> bool:
        """Have the agent end its node, or end it from outside when the agent does not."""
        alive = self._nodes / name / ALIVE
        held.end(alive)
        return alive.exists()  # it stays when its node is gone

    def billed(self, fleet: str, since_at: float) -> None:
        """Return nothing: nobody bills these nodes one by one."""

    def logs(self, name: str) -> Path:
        """Return the file with what the node wrote."""
        return self._nodes / name / LOG

    def close(self) -> None:
        """Let the zygote go: it exits when its nodes are gone."""
        with self._lock:
            if self._zygote is None:
                return
            for pipe in filter(None, (self._zygote.stdin, self._zygote.stdout)):
                with suppress(OSError):  # what a dead one did not read has no reader
                    pipe.close()
            with suppress(subprocess.TimeoutExpired):
                self._zygote.wait(_PATIENCE_S)


def _tail(path: Path, n_bytes: int = 400) -> str:
    """Return the end of a log, for a message."""
    with suppress(FileNotFoundError, IndexError):
        return path.read_bytes()[-n_bytes:].decode(errors="replace").strip().splitlines()[-1]
    return "it wrote nothing"
