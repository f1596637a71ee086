"""Every GPU with what a plan asks of it again and again, as arrays: memory, capabilities, speed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rackrate.catalog.aliases import family_members
from rackrate.catalog.gpu import Gpu
from rackrate.errors import NoAnswer
from rackrate.fit.engine import ENGINES, is_large
from rackrate.fit.overhead import usable_memory
from rackrate.fit.setup import Setup
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.factors import Factors
from rackrate.perf.machine import Machine, habits_of, rates_of
from rackrate.perf.ranges import width_of
from rackrate.perf.serving import Habits
from rackrate.perf.step import Rates

Shape = tuple[str, str, int, int]
"""Engine, packing of the weights, GPUs that share every layer, stages."""


class Cards:
    """GPUs in the order of their slugs.

    Attributes:
        gpus: their facts.
        chips: as the speed model sees them; None where nobody states a speed.
        memory: of each, as CUDA gives it to a process.
        gib: of it, expected.
        sigma_gib: one standard deviation.
        is_big: whether vLLM takes it for a large card.
        factors_date: when the factors of the speed model were fitted.
    """

    def __init__(self, gpus: Iterable[Gpu], factors: Factors) -> None:
        self.gpus = tuple(sorted(gpus, key=lambda gpu: gpu.slug))
        self.chips = tuple(_chip(gpu) for gpu in self.gpus)
        self.memory = tuple(usable_memory(gpu) for gpu in self.gpus)
        self.gib = np.array([card.gib for card in self.memory])
        self.sigma_gib = np.array([card.sigma_gib for card in self.memory])
        self.is_big = np.array([is_large(card.gib, is_a100=card.is_a100) for card in self.memory])
        self._index = {gpu.slug: at for at, gpu in enumerate(self.gpus)}
        self.factors_date = factors.date
        self._factors = factors
        self._widths: dict[str, Any] = {}
        self._speeds: dict[tuple[int, Shape], tuple[Rates, Habits]] = {}

    def at(self, slug: str) -> int | None:
        """Return the place of a GPU; of a family that of its slowest member, None where it is not known."""
        if slug in self._index:
            return self._index[slug]
        members = [self._index[name] for name in family_members(slug) if name in self._index]
        return min(members, key=self._slowness, default=None)

    def _slowness(self, at: int) -> tuple[float, float]:
        chip = self.chips[at]
        return (chip.bandwidth if chip else 0.0, self.gib[at])

    def chip(self, at: int) -> Chip:
        """Return the chip of a GPU.

        Raises:
            NoAnswer: nobody states its speed.
        """
        found = self.chips[at]
        if found is None:
            raise NoAnswer(f"no speed is known of {self.gpus[at].slug}")
        return found

    def widths(self, kind: str) -> Any:
        """Return of each GPU the factor by which a forecast of a kind may be off, see `perf.ranges`."""
        if kind not in self._widths:
            widths = [width_of(self._factors, kind, chip) if chip else 1.0 for chip in self.chips]
            self._widths[kind] = np.array(widths)
        return self._widths[kind]

    def speed(self, at: int, shape: Shape) -> tuple[Rates, Habits]:
        """Return rates and habits of a group of a GPU."""
        key = (at, shape)
        if key not in self._speeds:
            engine, packing, tensor, pipeline = shape
            chunk = Setup(engine=ENGINES[engine]).chunk_tokens(self.memory[at], 0)
            machine = Machine(self.chip(at), engine, packing, tensor, pipeline, chunk)
            self._speeds[key] = rates_of(machine, self._factors), habits_of(machine, self._factors)
        return self._speeds[key]


def _chip(gpu: Gpu) -> Chip | None:
    try:
        return chip_of(gpu)
    except NoAnswer:
        return None
