"""What does a node do for one attempt of a trial? It asks for a number, runs the function, says how it ended.

Inside of the function `report` sends values, and `checkpoint` keeps what a later attempt is to go on from:

    def train(params):
        state = load(saved) if (saved := fleet.checkpoint()) else new(params)
        for step in range(state.step, 1000):
            loss = state.train()
            fleet.report(step, loss=loss)            # raises Pruned when the trial is to stop
            if step % 100 == 0:
                fleet.checkpoint(state.to_bytes())

A checkpoint travels to the keeper, beside the owner: nodes need no disk in common. A node of the keeper's own
machine writes it to the disk itself.
"""

from __future__ import annotations

import base64
import os
import pickle
import threading
from pathlib import Path
from typing import Any, overload

from rackrate.errors import BadQuantity, FleetError
from rackrate.fleet import events
from rackrate.fleet.events import Attempt, Pruned
from rackrate.fleet.lines import Line, Message
from rackrate.fleet.sweeping import PART_BYTES, new_checkpoint

MOST_BYTES = 256 << 20
"""Of a checkpoint that travels; what is larger belongs into a store, and its address into the checkpoint."""
_PATIENCE_S = 30.0


class NotBegun(Exception):
    """A node cannot begin attempts: it does not reach the keeper.

    Attributes:
        node: its name.
    """

    def __init__(self, node: str, why: str) -> None:
        super().__init__(node, why)  # both, so that it pickles
        self.node = node

    def __str__(self) -> str:
        return ": ".join(self.args)


class _Saved(threading.local):
    n_bytes: int | None = None
    path: Path | None = None


_saved = _Saved()


def _send_points() -> None:
    """Send what was reported before what follows from it: else a checkpoint could be ahead of its curve."""
    if not events.flush():
        raise ConnectionError("the keeper does not answer")


def _ask(do: str, sweep: str, **question: Any) -> Message:
    with Line(Path(os.environ["RACKRATE_KEEPER"])) as line:
        return line.ask(do, _PATIENCE_S, name=sweep, node=os.environ["RACKRATE_NODE"], **question)


def run_trial(function: bytes, sweep: str, number: int, params: dict[str, Any]) -> str:
    """Run one attempt of a trial on this node; return the state in which that leaves it.

    Raises:
        NotBegun: this node cannot.
    """
    try:
        begun = _ask("sweep-begin", sweep, number=number)
    except (OSError, FleetError) as error:
        raise NotBegun(os.environ["RACKRATE_NODE"], f"{type(error).__name__}: {error}") from error
    if "state" in begun:
        return str(begun["state"])
    attempt = Attempt(sweep, number, begun["attempt"], begun["judged"])
    events.here.attempt, _saved.n_bytes = attempt, begun["checkpoint_bytes"]
    _saved.path = Path(begun["checkpoint"]) if begun["checkpoint"] else None
    try:
        pickle.loads(function)(params)  # noqa: S301 - the owner's own, over the fleet's own link
        state, why = "done", ""
    except Pruned:
        state, why = "pruned", ""
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the trial's
        state, why = "failed", f"{type(error).__name__}: {error}"[:500]
    finally:
        events.here.attempt = None
    _send_points()
    ended = _ask("sweep-end", sweep, number=number, attempt=attempt.attempt, state=state, why=why)
    return str(ended["state"])


@overload
def checkpoint() -> bytes | None: ...
@overload
def checkpoint(data: bytes) -> None: ...
def checkpoint(data: bytes | None = None) -> bytes | None:
    """Keep where a trial stands; without an argument return what an earlier attempt kept last, or None.

    Outside of a sweep nothing is kept and nothing found.

    Args:
        data: it replaces what was kept before, all of it or nothing; at most 256 MiB where nodes are other
            machines than the owner's.

    Raises:
        BadQuantity: it is larger, or not bytes.
        OSError: the keeper is not there: the fleet is ending.

    Example:
        >>> checkpoint(b"step 10")
        >>> checkpoint() is None
        True
    """
    if data is not None and not isinstance(data, bytes | bytearray | memoryview):
        raise BadQuantity(f"a checkpoint of {type(data)} cannot be kept", hint="give bytes")
    attempt = events.here.attempt
    if attempt is None:
        return None
    if data is None:
        return None if _saved.n_bytes is None else _load(attempt, _saved.n_bytes)
    _send_points()
    if _saved.path:
        _write(attempt, _saved.path, data)
    else:
        _save(attempt, bytes(data))
    _saved.n_bytes = memoryview(data).nbytes
    return None


def _write(attempt: Attempt, path: Path, data: bytes | bytearray | memoryview) -> None:
    """Write a checkpoint to the keeper's disk; it counts when the keeper says so."""
    new_checkpoint(path, attempt.attempt).write_bytes(data)
    _ask("sweep-written", attempt.sweep, number=attempt.trial, attempt=attempt.attempt)


def _save(attempt: Attempt, data: bytes) -> None:
    """Send a checkpoint to the keeper.

    Raises:
        BadQuantity: it is too large.
    """
    if len(data) > MOST_BYTES:
        hint = f"at most {MOST_BYTES:,} travel; keep what is larger in a store and its address here"
        raise BadQuantity(f"a checkpoint of {len(data):,} bytes cannot be kept", hint=hint)
    starts = range(0, max(len(data), 1), PART_BYTES)
    for start in starts:
        _ask(
            "sweep-save",
            attempt.sweep,
            number=attempt.trial,
            attempt=attempt.attempt,
            part=base64.b64encode(data[start : start + PART_BYTES]).decode(),
            is_first=start == 0,
            is_last=start == starts[-1],
        )


def _load(attempt: Attempt, n_bytes: int) -> bytes:
    if _saved.path:
        return _saved.path.read_bytes()
    found = b""
    while len(found) < n_bytes:
        answer = _ask("sweep-load", attempt.sweep, number=attempt.trial, at_byte=len(found))
        found += base64.b64decode(answer["part"])
    return found
