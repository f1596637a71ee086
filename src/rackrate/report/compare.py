"""The answer to "which of these": GPUs side by side, like with like, and in words.

Rates are dense and of one precision; prices are the median on-demand price across providers on the
same day; "at the price of" means within 10 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rackrate.catalog.fact import Fact
from rackrate.catalog.gpu import Gpu
from rackrate.catalog.workload import CAPABILITIES
from rackrate.market.stats import Spread
from rackrate.plan.parity import PARITY_FRAC
from rackrate.report.block import Block, Cell, Column, Table, Text
from rackrate.report.shown import Shown

_LINES: tuple[tuple[str, str, int | None, Callable[[Gpu], Fact[Any]]], ...] = (
    ("memory_gib", "memory GiB", 0, lambda gpu: gpu.memory_gib),
    ("memory_visible_gib", "memory that the driver shows, GiB", 1, lambda gpu: gpu.memory_visible_gib),
    ("bandwidth_gb_per_s", "bandwidth GB/s", 0, lambda gpu: gpu.bandwidth_gb_per_s),
    ("fp16_dense_tflops", "FP16 dense TFLOPS", 0, lambda gpu: gpu.dense_tflops("fp16")),
    ("fp8_dense_tflops", "FP8 dense TFLOPS", 0, lambda gpu: gpu.dense_tflops("fp8")),
    ("int8_dense_tops", "INT8 dense TOPS", 0, lambda gpu: gpu.dense_tflops("int8")),
    ("fp32_tflops", "FP32 TFLOPS", 1, lambda gpu: gpu.dense_tflops("fp32")),
    ("tdp_w", "power W", 0, lambda gpu: gpu.tdp_w),
    ("nvlink_gb_per_s", "GPU-to-GPU link GB/s", 0, lambda gpu: gpu.nvlink_gb_per_s),
    ("graphics_apis", "graphics", None, lambda gpu: gpu.graphics_apis),
    ("nvenc", "video encoders", 0, lambda gpu: gpu.nvenc),
    ("form_factor", "form factor", None, lambda gpu: gpu.form_factor),
)


@dataclass(frozen=True)
class Comparison(Shown):
    """Some GPUs against the first of them.

    Attributes:
        gpus: the first is the baseline.
        prices: slug to the on-demand spread of the day; None where nobody offers it.
        as_of: instant of the newest listing used.
        version: of the market data.
    """

    gpus: tuple[Gpu, ...]
    prices: Mapping[str, Spread | None]
    as_of: datetime | None
    version: str

    def usd_per_hour(self, gpu: Gpu) -> float | None:
        """Return the median on-demand price of one GPU, USD per hour."""
        found = self.prices[gpu.slug]
        return found.median_usd_per_gpu_hour if found else None

    def numbers(self, gpu: Gpu) -> dict[str, Any]:
        """Return what is compared, ratios to price and power included."""
        out: dict[str, Any] = {key: read(gpu).value for key, _, _, read in _LINES}
        usd, found = self.usd_per_hour(gpu), self.prices[gpu.slug]
        out["median_usd_per_gpu_hour"] = usd
        out["n_providers"] = found.n if found else 0
        fp16, memory, watt = out["fp16_dense_tflops"], out["memory_gib"], out["tdp_w"]
        out["fp16_tflops_per_usd_hour"] = _ratio(fp16, usd)
        out["memory_gib_per_usd_hour"] = _ratio(memory, usd)
        out["bandwidth_gb_per_s_per_usd_hour"] = _ratio(out["bandwidth_gb_per_s"], usd)
        out["fp16_tflops_per_w"] = _ratio(fp16, watt)
        return out

    def sentences(self) -> tuple[str, ...]:
        """Say what the first GPU is beside each other one."""
        base = self.gpus[0]
        return tuple(self._sentence(base, other) for other in self.gpus[1:])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return {
            "baseline": self.gpus[0].slug,
            "data": [{"gpu": gpu.slug, "name": gpu.name, **self.numbers(gpu)} for gpu in self.gpus],
            "sentences": list(self.sentences()),
            "meta": {
                "as_of": self.as_of.isoformat() if self.as_of else None,
                "dataset": self.version,
                "price": "median on-demand USD per GPU-hour across providers",
                "rates": "dense, same precision",
            },
        }

    def blocks(self) -> list[Block]:
        """Return one column a GPU, and the words below."""
        numbers = [self.numbers(gpu) for gpu in self.gpus]
        columns = (Column("figure", "figure"), *(Column(gpu.slug, gpu.slug, 2) for gpu in self.gpus))
        rows = [
            (title, *(_cell(read(gpu).value, digits, read(gpu).unknown) for gpu in self.gpus))
            for _, title, digits, read in _LINES
        ]
        rows += [
            (title, *(_cell(found[key], digits, "none counted") for found in numbers))
            for key, (title, digits) in _RATIOS.items()
        ]
        day = f"prices of {self.as_of:%Y-%m-%d}" if self.as_of else "no prices"
        notes = ("rates are dense and of one precision; prices are on-demand medians across providers",)
        blocks: list[Block] = [Table(f"Side by side, {day}", columns, rows, notes)]
        if len(self.gpus) > 1:
            blocks.append(Text(f"{self.gpus[0].name} beside the others", self.sentences()))
        return blocks

    def brief(self) -> Table:
        """Return what decides of each GPU, a row a GPU."""
        keys = ("bandwidth_gb_per_s", "fp16_dense_tflops", "fp8_dense_tflops", "nvlink_gb_per_s", "tdp_w")
        columns = (
            Column("gpu", "GPU"),
            Column("median_usd_per_gpu_hour", "USD/GPU-h", 3, "nobody offers it"),
            Column("memory_gib", "GiB", 0, "not known"),
            *(Column(key, title, 0, "none") for key, title, _, _ in _LINES if key in keys),
            Column("has_graphics", "renders", absent="not known"),
        )
        rows = []
        for gpu in self.gpus:
            found = {"gpu": gpu.slug, "has_graphics": CAPABILITIES["graphics_api"](gpu), **self.numbers(gpu)}
            rows.append(tuple(found[column.key] for column in columns))
        return Table(f"{self.gpus[0].name} beside others", columns, rows)

    def _sentence(self, base: Gpu, other: Gpu) -> str:
        parts = [*_facts(base, other), *self._price_words(base, other)]
        return f"Beside the {_short(other)}: " + "; ".join(parts) + "."

    def _price_words(self, base: Gpu, other: Gpu) -> Iterator[str]:
        mine, theirs = self.usd_per_hour(base), self.usd_per_hour(other)
        if mine is None or theirs is None:
            missing = _short(base if mine is None else other)
            yield f"no on-demand price of the {missing} in these data"
            return
        ratio = mine / theirs
        both = f"median {mine:.2f} against {theirs:.2f} USD/GPU-h"
        if round(abs(ratio - 1), 9) <= PARITY_FRAC:
            yield f"at the {_short(other)}'s price ({both})"
        elif ratio > 1:
            yield f"{ratio:.1f} times its price ({both})"
        else:
            yield f"{1 - ratio:.0%} cheaper ({both})"

    def __repr__(self) -> str:
        """Name the GPUs, in one line."""
        return f"<Comparison: {' / '.join(gpu.slug for gpu in self.gpus)}>"


_RATIOS: dict[str, tuple[str, int | None]] = {
    "median_usd_per_gpu_hour": ("median on-demand USD/GPU-h", 3),
    "n_providers": ("providers", 0),
    "fp16_tflops_per_usd_hour": ("FP16 dense TFLOPS per USD/h", 0),
    "memory_gib_per_usd_hour": ("memory GiB per USD/h", 1),
    "bandwidth_gb_per_s_per_usd_hour": ("bandwidth GB/s per USD/h", 0),
    "fp16_tflops_per_w": ("FP16 dense TFLOPS per W", 2),
}


def _facts(base: Gpu, other: Gpu) -> Iterator[str]:
    """Yield the differences that decide, largest figures first."""
    mine, theirs = base.dense_tflops("fp16").value, other.dense_tflops("fp16").value
    if mine and theirs:
        yield f"{_written(mine / theirs)}x the dense FP16 rate ({mine:.0f} against {theirs:.0f} TFLOPS)"
    yield from _times("memory", base.memory_gib.value, other.memory_gib.value, "GiB")
    yield from _times("bandwidth", base.bandwidth_gb_per_s.value, other.bandwidth_gb_per_s.value, "GB/s")
    fp8 = [gpu.dense_tflops("fp8") for gpu in (base, other)]
    if all(fact.is_settled for fact in fp8) and bool(fp8[0]) != bool(fp8[1]):
        yield "FP8, which the other lacks" if fp8[0] else "no FP8, which the other has"
    no_link = (
        f"no {link_name(other)}, which the other has: good for inference, not for tightly coupled training"
    )
    yield from _either("nvlink", base, other, f"{link_name(base)}, which the other lacks", no_link)
    yield from _either(
        "graphics_api",
        base,
        other,
        "graphics kept, where the other is compute only",
        "compute only, where the other renders",
    )
    if base.tdp_w and other.tdp_w:
        yield f"{base.tdp_w.value:.0f} W against {other.tdp_w.value:.0f} W"


def _either(capability: str, base: Gpu, other: Gpu, mine: str, theirs: str) -> Iterator[str]:
    """Yield what tells two GPUs apart, where it is known of both and they differ."""
    has = CAPABILITIES[capability]
    here, there = has(base), has(other)
    if None not in (here, there) and here != there:
        yield mine if here else theirs


def _written(ratio: float) -> str:
    """Write a ratio; one that is nearly nothing is still no 0."""
    return f"{ratio:.1f}" if ratio >= 0.1 else f"{ratio:.1g}"  # noqa: PLR2004 - below it one digit is left


def _times(what: str, mine: float | None, theirs: float | None, unit: str) -> Iterator[str]:
    if mine and theirs:
        if abs(mine / theirs - 1) < 0.01:  # noqa: PLR2004 - what rounds to 1.0x
            yield f"the same {what} ({mine:.0f} {unit})"
        else:
            yield f"{_written(mine / theirs)}x the {what} ({mine:.0f} against {theirs:.0f} {unit})"


def link_name(gpu: Gpu) -> str:
    """Return what the vendor calls the link between its GPUs."""
    return "NVLink" if gpu.vendor == "NVIDIA" else "Infinity Fabric" if gpu.vendor == "AMD" else "GPU link"


def _short(gpu: Gpu) -> str:
    return gpu.name.removeprefix(f"{gpu.vendor} ").removeprefix("GeForce ")


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def _cell(value: Any, digits: int | None, reason: str) -> Cell:
    return Cell(value, Column("", "", digits, reason).write(value))
