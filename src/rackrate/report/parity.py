"""The answer to "what else for the same price": other GPUs beside one, by facts and median prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rackrate.plan.parity import FIGURES, PARITY_FRAC, Alternative
from rackrate.report.block import Block, Column, Table
from rackrate.report.shown import Shown

SHOWN = 8


@dataclass(frozen=True)
class Parity(Shown):
    """What one could have instead of a GPU.

    Attributes:
        gpu: slug.
        usd_per_gpu_hour: its median on-demand price; None where nobody offers it.
        alternatives: other GPUs, the better ones first.
        as_of: instant of the newest listing used.
        version: of the market's data.
    """

    gpu: str
    usd_per_gpu_hour: float | None
    alternatives: Sequence[Alternative]
    as_of: datetime | None
    version: str

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return {
            "gpu": self.gpu,
            "usd_per_gpu_hour": self.usd_per_gpu_hour,
            "data": [each.to_dict() for each in self.alternatives],
            "meta": {"as_of": self.as_of.isoformat() if self.as_of else None, "dataset": self.version},
        }

    def blocks(self) -> list[Block]:
        """Return one table."""
        columns = (
            Column("gpu", "GPU"),
            Column("usd_per_gpu_hour", "USD/GPU-h", 3),
            Column("price_ratio", "x price", 2),
            *(Column(f"{name}_ratio", f"x {title}", 2) for name, title in FIGURES.items()),
            Column("is_better", "as good in all"),
        )
        rows = [
            (
                each.gpu,
                each.usd_per_gpu_hour,
                each.price_ratio,
                *(each.ratios.get(name) for name in FIGURES),
                each.is_better,
            )
            for each in self.alternatives[:SHOWN]
        ]
        return [Table(self._title(), columns, rows, ("median on-demand prices across providers",))]

    def _title(self) -> str:
        if self.usd_per_gpu_hour is None:
            return f"Nobody offers the {self.gpu} on demand in these data: nothing to weigh others against"
        price = f"{self.gpu} at {self.usd_per_gpu_hour:.3f} USD/GPU-h"
        if not self.alternatives:
            return f"For the price of the {price} nothing has more of anything"
        return f"For the price of the {price}, or {PARITY_FRAC:.0%} more at most, you could have"

    def __repr__(self) -> str:
        """Name the best alternative, in one line."""
        best = self.alternatives[0].gpu if self.alternatives else "nothing else"
        return f"<Parity: instead of {self.gpu}, {best}>"
