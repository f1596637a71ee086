"""What does the provider bill for a fleet, and is that the last word?

The ledger reckons from what the keeper saw, at once and for ever on; the provider's own bill comes later and
is what is paid. It is asked for now and then while a fleet runs, once when it ends, and from then on whenever
somebody wants to know, until it is final.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rackrate.durable import write_whole
from rackrate.errors import RackrateError
from rackrate.fleet.backends import KEYS, open_backend
from rackrate.fleet.spec import Spec

FINAL_S = 3600.0
"""So long after its end the bill of a fleet is taken for final: providers publish no time, and RunPod's least
bucket is an hour."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider said that it bills.

    Attributes:
        asked_at: Unix time of the question.
        microusd: of each node that it names.
        is_final: whether nothing is to come any more.
        trouble: why it was asked in vain since; empty where it was not.
    """

    asked_at: float
    microusd: Mapping[str, int]
    is_final: bool = False
    trouble: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Keep it instead of an older one."""
        write_whole(path, json.dumps(self.to_dict()))


def read(path: Path) -> Bill | None:
    """Return the bill that was kept; None where none was."""
    with suppress(FileNotFoundError):
        return Bill(**json.loads(path.read_text("utf-8")))
    return None


def latest(spec: Spec, path: Path, ended_at: float | None) -> Bill | None:
    """Return what the provider bills for a fleet; None where nobody does.

    Args:
        spec: of the fleet.
        path: where bills are kept.
        ended_at: Unix time of its end; None while a keeper asks.
    """
    kept = read(path)
    if spec.backend not in KEYS or ended_at is None or (kept and kept.is_final):
        return kept
    asked_at = time.time()
    try:
        backend = open_backend(spec)
        try:
            billed = backend.billed(spec.fleet, spec.opened_at_s)
        finally:
            backend.close()
    except RackrateError as error:
        return Bill(kept.asked_at if kept else asked_at, kept.microusd if kept else {}, trouble=error.message)
    bill = Bill(asked_at, billed or {}, is_final=asked_at - ended_at >= FINAL_S)
    bill.write(path)
    return bill
