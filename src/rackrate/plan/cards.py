"""Every GPU with what a plan asks of it again and again, as arrays: memory, capabilities, speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from rackrate.catalog.aliases import family_members
from rackrate.catalog.gpu import Gpu
from rackrate.errors import NoAnswer
from rackrate.fit.engine import BIG_CARD_GIB
from rackrate.fit.overhead import usable_memory
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.factors import Factors
from rackrate.perf.machine import Machine, habits_of, rates_of
from rackrate.perf.serving import Habits
from rackrate.perf.step import Rates
from rackrate.perf.work import Work

T = TypeVar("T", Rates, Habits, Work)

Shape = tuple[str, str, int, int]
"""Engine, packing of the weights, GPUs that share every layer, stages."""


def stacked(items: Sequence[T], kind: type[T]) -> T:
    """Return one dataclass whose fields are arrays, an element for each of `items`."""
    return kind(**{f.name: np.array([getattr(item, f.name) for item in items], float) for f in fields(kind)})


def taken(whole: T, rows: Any) -> T:
    """Return some elements of a dataclass of arrays."""
    return type(whole)(**{f.name: getattr(whole, f.name)[rows] for f in fields(whole)})


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
        self.is_big = np.array([card.gib >= BIG_CARD_GIB and not card.is_a100 for card in self.memory])
        self._index = {gpu.slug: at for at, gpu in enumerate(self.gpus)}
        self.factors_date = factors.date
        self._factors = factors
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

    def speed(self, at: int, shape: Shape) -> tuple[Rates, Habits]:
        """Return rates and habits of a group of a GPU."""
        key = (at, shape)
        if key not in self._speeds:
            engine, packing, tensor, pipeline = shape
            machine = Machine(self.chip(at), engine, packing, tensor, pipeline)
            self._speeds[key] = rates_of(machine, self._factors), habits_of(machine, self._factors)
        return self._speeds[key]


def _chip(gpu: Gpu) -> Chip | None:
    try:
        return chip_of(gpu)
    except NoAnswer:
        return None
