"""Which GPUs of this machine does a node see? Those of its place among the nodes here."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

from rackrate.fleet.backends.base import NoNode

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable that says which GPUs a process sees, and by which numbers; an unknown one ends the list.

Source: CUDA C++ Programming Guide, "Environment Variables".
"""
_DEVICES = Path("/dev")
_NODE = "nvidia"


def here(devices: Path = _DEVICES) -> tuple[str, ...]:
    """Return the NVIDIA GPUs that this process sees, in CUDA's words; it loads no driver.

    Args:
        devices: folder of the device files.
    """
    said = os.environ.get(VISIBLE)
    if said is not None:
        return tuple(takewhile(lambda name: name not in {"", "-1"}, map(str.strip, said.split(","))))
    found = [path for path in devices.glob(f"{_NODE}*") if path.name.removeprefix(_NODE).isdigit()]
    return tuple(str(number) for number in range(len(found)))


def visible_at(place: int, n_gpus: int | None, gpus: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of the node at a place, of 0 on, that no other node has at the same time.

    Args:
        place: the node's.
        n_gpus: that it has to itself; None for one that it shares with as few others as can be.
        gpus: of the machine.

    Raises:
        NoNode: so many places do not have so many GPUs.
    """
    if n_gpus is None:
        return {VISIBLE: gpus[place % len(gpus)]} if gpus else {}
    own = gpus[place * n_gpus : (place + 1) * n_gpus]
    if len(own) < n_gpus:
        raise NoNode(
            f"{n_gpus} GPUs are wanted, and of {len(gpus)} here {len(own)} are free",
            hint="have fewer nodes, or leave out `gpus`: then nodes share what there is",
        )
    return {VISIBLE: ",".join(own)}


def lowest_free(taken: set[int]) -> int:
    """Return the first place that no node has."""
    return next(place for place in range(len(taken) + 1) if place not in taken)
