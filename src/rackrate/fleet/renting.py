"""What does a plan or an offer say that a fleet needs? Which machine, where, at what price; how many.

A plan is taken as data: the object, its JSON, or the file that `rackrate plan -o` wrote. Nothing is planned
here; of a GPU that is only named the cheapest offer is taken.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.errors import MissingCredential, UsageError
from rackrate.fleet.backends import KEYS
from rackrate.fleet.backends.base import Machine
from rackrate.units import GB_PER_GIB

if TYPE_CHECKING:
    from rackrate.market.offer import Offer

_SCHEMA = "rackrate.plan/1"
_SPOT = "spot"


def asked_of(what: Any, **machine: Any) -> dict[str, Any]:
    """Return what a plan's first row, or an offer, asks of a fleet: price, provider, nodes and the machine.

    Args:
        what: a plan, its data or file, an offer, or None.
        machine: further attributes of the machine: `image`.

    Raises:
        UsageError: it is neither, or an offer of less than a whole GPU.
    """
    if what is None:
        return {"machine": Machine(**machine)}
    row = _row_of(what)
    if row["count"] != int(row["count"]):
        raise UsageError(f"{row['count']:g} GPUs are no machine", hint="take an offer of whole GPUs")
    beside = row.get("beside", {})
    if beside.get("disk_gb"):  # what the plan reckoned with: the provider is asked for the price of that disk
        machine["disk_gib"] = math.ceil(beside["disk_gb"] / GB_PER_GIB)
    return {
        "backend": row["provider"],
        "nodes": row["machines"],
        "usd_per_node_hour": row["usd_per_machine_hour"] + (beside.get("disk_usd_per_hour") or 0.0),
        "machine": Machine(
            gpu=row["gpu"] or "",
            n_gpus=int(row["count"]),
            region=row["region"] or "",
            offer=row["instance"] or "",
            is_spot=row["kind"] == _SPOT,
            **machine,
        ),
    }


def cheapest(gpu: str, backend: str = "") -> Offer:
    """Return the cheapest offer of whole GPUs of a kind that nodes can be made of, wherever its region is.

    Args:
        gpu: a name, with a count if wanted: `l40s`, `h100:8`.
        backend: where nodes are to live; empty for wherever they are rented and the account's key is set.

    Raises:
        MissingCredential: no key is set.
        UnknownName: no such GPU.
        NoAnswer: nobody rents it out there.
    """
    from rackrate import api  # noqa: PLC0415 - the market, for who asks it

    places = [backend] if backend else [name for name, key in KEYS.items() if os.environ.get(key)]
    if not places:
        hint = f"set {' or '.join(KEYS.values())}, or name a backend that needs none"
        raise MissingCredential(f"no account is known at which {gpu} can be rented", hint=hint)
    rented = [name for name in places if name in KEYS]
    found = api.offers(gpu, count="1..", provider=rented, limit=1)[0]
    return replace(found, region=None)  # nobody named one, and by now it may be had elsewhere alone


def _row_of(what: Any) -> Mapping[str, Any]:
    """Return an offer as a row of a plan, or the first row of a plan."""
    if hasattr(what, "gpu_count") and hasattr(what, "usd_per_hour"):
        same = {name: getattr(what, name) for name in ("gpu", "provider", "region", "kind")}
        return same | {
            "count": what.gpu_count,
            "machines": 1,
            "instance": what.sku,
            "usd_per_machine_hour": what.usd_per_hour,
        }
    data = what.to_dict() if hasattr(what, "to_dict") else what
    if isinstance(data, (str, PathLike)):
        data = _read(Path(data))
    if not isinstance(data, Mapping) or data.get("schema") != _SCHEMA or not data.get("rows"):
        hint = "give what rackrate.plan() or rackrate.offers() returns, or the file of `rackrate plan -o`"
        raise UsageError(f"{type(what).__name__} is neither a plan nor an offer", hint=hint)
    row: Mapping[str, Any] = data["rows"][0]
    return row


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        hint = "`rackrate plan ... -o plan.json` writes one"
        raise UsageError(f"the plan {str(path)!r} cannot be read: {error}", hint=hint) from error
