"""Fit the factors of all that is not LLM serving, and say how far off they are on what they have not seen.

    python bench/fit_media.py CASES.csv MEASUREMENTS.csv [--write] [--date DATE]

Residuals are logarithms of predicted over measured. Every number has a prior and a width within which it may
leave it (most multipliers' is 1), so that few cases move it little; single wild cases are damped (soft_l1),
and rows of one run share part of their weight. Of our own training runs those that Python slowed down are
kept: they alone tell what a launch costs.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.sparse import csr_array

from rackrate.catalog.gpu import find_gpu
from rackrate.perf.cases import PerfCase, read_perf_cases
from rackrate.perf.chip import chip_of
from rackrate.perf.factors import BASE, Factors
from rackrate.perf.predict_media import predict_media

Table = dict[str, dict[str, float]]
OUT = Path(__file__).parents[1] / "src/rackrate/perf/data/media.toml"
WORKLOADS = ("diffusion", "encoder", "asr", "bert_ft", "train", "gemm", "bandwidth")

PRIORS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "matmul": {BASE: (0.79, 0.2)},
    "copy": {BASE: (0.85, 0.1)},
    "wire": {
        BASE: (0.8, 0.2),
        "peer": (0.7, 0.3),
        "16 GB/s": (1.0, 0.3),
        "32 GB/s": (0.8, 0.3),
        "63 GB/s": (1.0, 0.3),
    },
    "reach": {
        BASE: (0.8, 0.3),
        "diffusion": (0.9, 0.3),
        "encoder": (1.0, 0.2),
        "training": (0.9, 0.2),
        "speech": (0.8, 0.2),
        "eager": (0.9, 0.2),
        "diffusion in 8 bit": (0.6, 0.3),
        "encoder in 8 bit": (0.8, 0.3),
        "training in 8 bit": (0.7, 0.3),
        "lora": (0.8, 0.2),
    },
    "traffic": {
        BASE: (16.0, 0.5),
        "eager": (2.0, 0.4),
        "encoder": (0.6, 0.3),
        "container": (2.0, 0.4),
        "torch": (2.0, 0.4),
        "speech": (2.0, 0.2),
    },
    "host_s": {
        BASE: (1e-3, 0.5),
        "tensorrt": (0.01, 0.3),
        "compiled": (0.2, 0.3),
        "training": (2.5, 0.3),
        "lora": (2.0, 0.3),
        "qlora": (2.5, 0.3),
        "checkpointing": (2.5, 0.4),
        "encoder": (0.3, 0.3),
    },
    "server": {BASE: (0.93, 0.1), "encoder": (1.05, 0.1)},
    "patience_s": {BASE: (0.01, 0.5)},
    "layer_s": {
        BASE: (1e-3, 0.4),
        "openai-whisper": (1.5, 0.3),
        "transformers": (1.2, 0.3),
        "flash-attention": (0.8, 0.3),
        "bettertransformer": (2.0, 0.4),
        "faster-whisper": (0.5, 0.3),
        "whisper.cpp": (0.5, 0.3),
        "tensorrt": (0.05, 0.5),
        "vllm": (0.1, 0.5),
    },
    "window_s": {
        BASE: (0.1, 0.4),
        "bettertransformer": (2.0, 0.5),
        "tensorrt": (0.05, 0.5),
        "vllm": (0.1, 0.5),
    },
    "link": {
        BASE: (0.8, 0.4),
        "nvlink": (1.0, 0.3),
        "bridge": (0.7, 0.3),
        "pcie": (0.6, 0.3),
        "tuned": (3.0, 0.5),
    },
    "node_bytes_per_s": {BASE: (25e9, 0.3)},
    "scaling": {BASE: (0.08, 0.5)},
    "samples": {BASE: (1.0, 0.01), "bert": (2.4e6, 0.5), "llama2-70b-lora": (3500.0, 0.5)},
    "batch_growth": {BASE: (0.05, 0.3)},
    "work": {
        BASE: (45.0, 1.0),
        "resnet": (0.1, 1.0),
        "retinanet": (0.3, 1.0),
        "unet3d": (0.1, 1.0),
        "stable-diffusion": (0.3, 1.0),
    },
    "width": {BASE: (1.0, 0.0)},
}
"""Where each factor starts, and the standard deviation of its logarithm. By rough physics: 0.8 of the
peak, 16 bytes for each number written by fused kernels and twice that by plain ones, a millisecond of
Python a layer. Classes and GPUs are added as the cases have them."""

BY_CLASS = {"matmul": 0.15, "copy": 0.1, "traffic": 0.15}
MOST_STEPS = 12
TYPICAL = 0.15  # standard deviation of a case's logarithm, against which priors' widths are weighed
DAMPED = 0.3  # errors above it count less and less
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A case, and where it came from."""

    case: PerfCase
    file: str


def read_cases(path: Path) -> list[Row]:
    """Return the trusted cases of our workloads."""
    found = read_perf_cases(path.read_text("utf-8")).cases
    return [
        Row(case, path.name)
        for case in found
        if case.workload in WORKLOADS and case.is_trusted and case.metric != "kernel_time_us"
    ]


_QUANTITIES = {
    ("training", "train_samples_per_s"): ("bert_ft", "samples/s"),
    ("embedding", "forward_ms"): ("encoder", "ms"),
    ("image-diffusion", "step_ms"): ("diffusion", "ms"),
    ("ceiling", "gemm_tflops"): ("gemm", "TFLOP/s"),
}


def read_measurements(path: Path) -> list[Row]:
    """Return what we measured ourselves as cases, without what the host slowed down."""
    found = []
    for row in csv.DictReader(io.StringIO(path.read_text("utf-8"))):
        meant = _QUANTITIES.get((row["workload"], row["quantity"]))
        if meant is None or row["precision"] in ("fp64", "fp8-slowaccum", "fp8-row"):
            continue
        is_slowed = row["host_bound"] == "yes" and row["workload"] != "training"
        if is_slowed or "peer access off" in row["notes"]:
            continue
        workload, unit = meant
        found.append(Row(_as_case(row, workload, unit), path.name))
    return found


def _as_case(row: Mapping[str, str], workload: str, unit: str) -> PerfCase:
    parallel = "ddp" if row["gpus"] != "1" else ""
    gpu = "h200-sxm" if "H200" in row["gpu"] else "h100-sxm"
    compiled = " torch.compile" if "torch.compile" in row["notes"] else ""
    return PerfCase(
        id=row["id"], workload=workload, model=row["model"], precision=row["precision"],
        engine=f"torch{compiled}", gpu=gpu, gpu_count=int(row["gpus"]), nodes=1, parallel=parallel,
        load=row["batch"], input_tokens=int(row["input_tokens"] or 0) or None, output_tokens=None,
        metric=row["quantity"], value=float(row["value"]), unit=unit, extra=row["notes"], quality="ok",
        source="Rackrate's measurements", licence="", group=f"own|{row['case']}",
    )  # fmt: skip


# --- the fit -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """One number to be fitted: a base or a multiplier of a factor."""

    factor: str
    key: str
    prior: float
    width: float


def numbers_for(rows: Iterable[Row]) -> list[Number]:
    """Return what is fitted: the priors' numbers, and multipliers of the classes that occur."""
    found = [
        Number(factor, key, prior, width)
        for factor, keys in PRIORS.items()
        for key, (prior, width) in keys.items()
        if width > 0
    ]
    chips = [chip_of(find_gpu(gpu)) for gpu in sorted({row.case.gpu for row in rows})]
    for kind in sorted({chip.kind for chip in chips}):
        found += [Number(factor, kind, 1.0, width) for factor, width in BY_CLASS.items()]
    return found


def table_of(numbers: Sequence[Number], logs: Sequence[float]) -> Table:
    """Return the factors for some logarithms of multiples of the priors."""
    found: Table = {
        factor: {key: prior for key, (prior, _) in keys.items()} for factor, keys in PRIORS.items()
    }
    for number, log in zip(numbers, logs, strict=True):
        found[number.factor][number.key] = number.prior * math.exp(log)
    return found


def fit(rows: Sequence[Row]) -> Table:
    """Return the factors that fit the rows best, each as near to its prior as they allow."""
    numbers = numbers_for(rows)
    weights = weights_of(rows)
    widths = np.array([number.width for number in numbers])

    def residuals(logs: Array) -> Array:
        factors = Factors(table_of(numbers, list(logs)))
        errors = np.array([error_of(row, factors) for row in rows])
        damped = DAMPED * np.sqrt(2 * (np.sqrt(1 + (errors / DAMPED) ** 2) - 1))  # soft_l1, of cases alone
        return np.concatenate([weights * damped / TYPICAL, logs / widths])

    start = np.zeros(len(numbers))
    before = residuals(start)
    touched = np.array([residuals(start + step) != before for step in 1e-3 * np.eye(len(numbers))])
    found = least_squares(
        residuals, start, jac_sparsity=csr_array(touched.T.astype(int)), max_nfev=MOST_STEPS
    )
    return table_of(numbers, list(found.x))


def weights_of(rows: Sequence[Row]) -> Array:
    """Return a weight for each row: a group of n rows counts as much as the root of n rows would."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.case.group] = counts.get(row.case.group, 0) + 1
    return np.array([counts[row.case.group] ** -0.25 for row in rows])


def error_of(row: Row, factors: Factors) -> float:
    """Return the logarithm of predicted over measured."""
    return math.log(predict_media(row.case, factors).value / row.case.value)


# --- held out ----------------------------------------------------------------------------------

N_FOLDS = 10
COVERED = 0.8
RANGES = {"asr": "speech", "bert_ft": "training"}
"""Name of the range of a workload, where it has another."""

UNLIKE = 1.5
"""By what a range is wider where one or no case speaks: what Stable Diffusion 1.5 on an A100 asks for."""


@dataclass(frozen=True)
class Miss:
    """A row that was held out, and the logarithm of predicted over measured."""

    row: Row
    lot: int
    error: float


def held_out(rows: Sequence[Row], by: str) -> list[Miss]:
    """Return every row's error under factors that have not seen its group (ten lots), or its GPU."""
    keys = sorted({key_of(row, by) for row in rows})
    lots = [{key} for key in keys] if by == "gpu" else [set(keys[i::N_FOLDS]) for i in range(N_FOLDS)]
    with Pool(2) as pool:
        found = pool.starmap(_one_lot, [(rows, by, n, out) for n, out in enumerate(lots)])
    return [miss for misses in found for miss in misses]


def key_of(row: Row, by: str) -> str:
    """Return what must not be seen on both sides: a group of rows, or a GPU."""
    return find_gpu(row.case.gpu).slug if by == "gpu" else row.case.group


def _one_lot(rows: Sequence[Row], by: str, number: int, out: set[str]) -> list[Miss]:
    factors = Factors(fit([row for row in rows if key_of(row, by) not in out]))
    return [Miss(row, number, error_of(row, factors)) for row in rows if key_of(row, by) in out]


def range_of(row: Row) -> str:
    """Return the name of the range that a row's estimate has."""
    if row.case.metric == "time_to_train_min":
        return "benchmark"
    return "training" if row.case.workload == "train" else RANGES.get(row.case.workload, row.case.workload)


def widths_of(misses: Iterable[Miss]) -> dict[str, float]:
    """Return by what the truth was above or below in 4 cases of 5, by the name of the range."""
    errors: dict[str, list[float]] = {}
    for miss in misses:
        errors.setdefault(range_of(miss.row), []).append(abs(miss.error))
    found = {}
    for name, sizes in sorted(errors.items()):
        level = min(COVERED * (len(sizes) + 1) / len(sizes), 1.0)  # few cases make a wider range
        found[name] = math.exp(float(np.quantile(sizes, level)))
    return found


def coverage(misses: Sequence[Miss]) -> dict[str, float]:
    """Return the share of rows within ranges that were made without their lot, by workload."""
    inside: dict[str, list[bool]] = {}
    for lot in sorted({miss.lot for miss in misses}):
        widths = widths_of(miss for miss in misses if miss.lot != lot)
        for miss in (miss for miss in misses if miss.lot == lot):
            width = widths.get(range_of(miss.row), 1.0)
            inside.setdefault(miss.row.case.workload, []).append(abs(miss.error) <= math.log(width))
    return {workload: sum(held) / len(held) for workload, held in inside.items()}


# --- what is printed and written ------------------------------------------------------------------


def report(misses: Sequence[Miss], by: str, cases: str) -> str:
    """Return a table: workload, rows, median and 90th percentile of |error|, share within the range."""
    covered = coverage(misses)
    lines = [f"held out by {by}:", "| workload | rows | median % | p90 % | in range % |", "| --- " * 5 + "|"]
    for workload in WORKLOADS:
        errors = [
            abs(math.expm1(miss.error)) * 100
            for miss in misses
            if miss.row.case.workload == workload and miss.row.file == cases
        ]
        if errors:
            middle, ninth = np.quantile(errors, [0.5, 0.9])
            share = covered[workload] * 100
            lines.append(f"| {workload} | {len(errors)} | {middle:.1f} | {ninth:.1f} | {share:.0f} |")
    return "\n".join(lines)


def written(table: Table, seen: set[tuple[str, str]], date: str) -> str:
    """Return the table as TOML: multipliers of 1 left out, what no case spoke of marked as assumed."""
    lines = [
        "# What of the data sheet is reached: see rackrate.perf.reach. Made by bench/fit_media.py.",
        "# `all` is a base, every other key multiplies it.",
        f'date = "{date}"',
    ]
    for factor, keys in table.items():
        lines += ["", f"[factors.{factor}]"]
        for key, value in keys.items():
            if key != BASE and abs(value - 1) < 0.005:  # noqa: PLR2004 - as good as 1
                continue
            name = key if key.replace("_", "").replace("-", "").isalnum() else f'"{key}"'
            note = "" if (factor, key) in seen else "  # assumed: no case speaks of it"
            lines.append(f"{name} = {value:.4g}{note}")
    return "\n".join(lines) + "\n"


class Watched(Factors):
    """Factors that note which numbers were asked for."""

    asked: set[tuple[str, str]] = set()  # noqa: RUF012 - one for all: a frozen class has no own

    def value(self, name: str, *keys: str) -> float:
        """Return a factor, and note what it was made of."""
        self.asked.update((name, key) for key in (BASE, *keys))
        return super().value(name, *keys)


def seen_by(rows: Sequence[Row], table: Table) -> set[tuple[str, str]]:
    """Return the numbers that some row's prediction was made of."""
    watched = Watched(table)
    for row in rows:
        error_of(row, watched)
    return {*watched.asked, *(("width", name) for name in {range_of(row) for row in rows})}


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fit the factors of rackrate.perf but for LLM serving.")
    parser.add_argument("cases", type=Path, metavar="CASES.csv")
    parser.add_argument("measurements", type=Path, metavar="MEASUREMENTS.csv")
    parser.add_argument("--write", action="store_true", help=f"replace {OUT.name}")
    parser.add_argument("--date", default=datetime.now(tz=UTC).date().isoformat(), help="of the fit")
    args = parser.parse_args(argv)
    rows = read_cases(args.cases) + read_measurements(args.measurements)
    table = fit(rows)
    misses: list[Miss] = []
    for by in ("group", "gpu"):
        found = held_out(rows, by)
        print(report(found, by, args.cases.name), end="\n\n")
        misses += found
    widths = widths_of(misses)
    table["width"] = {BASE: 1.0, **widths, "unlike": UNLIKE}
    if args.write:
        OUT.write_text(written(table, seen_by(rows, table), args.date), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
