"""Readers of price lists that others publish: files in, raw offers out; nothing is judged here.

A format is a function `read(path, when)` that yields `Listing`s; `FORMATS` names them all. Adding one
means one module and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from rackrate.errors import UnknownName, nearest
from rackrate.market.importers.files import Listing, When

Reader = Callable[[Path, When], Iterator[Listing]]

FORMATS = {
    "gpurentalprices": "daily snapshots of gpurentalprices.com (JSON)",
    "skypilot": "SkyPilot's catalogue (vms.csv of a cloud, or a folder of them)",
    "tardellirs": "tardellirs/gpu-pricing (offerings.json)",
    "primeintellect": "tugot17/gpu-price-tracker (JSON lines of market snapshots)",
    "fsdl": "The Full Stack's cloud GPU tables (CSV)",
    "aws": "tsaol/aws-gpu (EC2 GPU instances with prices by region)",
    "purchase": "United-Compute/gpu-price-tracker (prices of cards to buy)",
}


def reader(name: str) -> Reader:
    """Return the reading function of a format.

    Raises:
        UnknownName: no such format.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, nearest(name, FORMATS) or list(FORMATS))
    read: Reader = import_module(f"rackrate.market.importers.{name}").read
    return read
