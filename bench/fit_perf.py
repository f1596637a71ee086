"""Fit every factor of the speed model to measured cases and write the tables that ship with the package.

    python bench/fit_perf.py [CASES.csv] [--dry-run]

Prints how far off cases are whose group was held out, and how wide a range follows from that; writes
`src/rackrate/perf/data/{kernels,llm}.toml` and `measured_llm.toml`. Media and training: `bench/fit_media.py`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fit_kernels import kernel_rows
from fit_llm import llm_rows
from perf_fit import Fitted, fit, folds, held_out

from rackrate.perf.cases import PerfCase, read_perf_cases
from rackrate.perf.factors import BASE
from rackrate.perf.predict import kind_of
from rackrate.perf.predict_llm import Run

ROOT = Path(__file__).parent.parent
DATA = ROOT / "src" / "rackrate" / "perf" / "data"
CASES = ROOT.parent / "shared" / "data" / "perf_cases.csv"
SMALLEST = 0.06  # multipliers within 6 % of 1 are left out: cross-validation does not miss them
HELD = 0.8  # share of the truths that a range is to hold
GPU_FOLDS = 8
SHOWN = 2  # measured cases of each GPU and workload that are bundled

Table = dict[str, dict[str, float]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fit the speed model.")
    parser.add_argument("cases", nargs="?", type=Path, default=CASES, metavar="CASES.csv")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    args = parser.parse_args(argv)
    cases = read_perf_cases(args.cases.read_text("utf-8")).cases
    kernels, kernel_fit = fit_kernels(cases)
    llm, shown = fit_llm(cases, kernel_fit)
    if not args.dry_run:
        write_factors(DATA / "kernels.toml", kernels, args.cases.name)
        write_factors(DATA / "llm.toml", llm, args.cases.name)
        write_measured(DATA / "measured_llm.toml", shown)
    return 0


def fit_kernels(cases: Sequence[PerfCase]) -> tuple[Table, Fitted]:
    """Return the table of the kernels, ranges and all, and the fit."""
    kept, problem = kernel_rows(cases)
    errors, _ = held_out(problem, folds([case.group for case in kept]), smallest=SMALLEST)
    widths = {}
    for workload in ("gemm", "comm"):
        mine = errors[[case.workload == workload for case in kept]]
        widths[workload] = _width(mine)
        _say(workload, mine)
    fitted = fit(problem, np.ones(len(kept), bool), smallest=SMALLEST)
    return fitted.table() | {"width": {BASE: 1.0, **widths}}, fitted


def fit_llm(cases: Sequence[PerfCase], kernels: Fitted) -> tuple[Table, list[dict[str, Any]]]:
    """Return the table of LLM serving, ranges and all, and the cases to bundle."""
    rows = llm_rows(cases)
    problem = rows.problem
    problem.priors = link_priors(kernels)
    problem.guesses = problem.guesses | link_bases(kernels)
    by_group, _ = held_out(problem, folds([case.group for case in rows.cases]), smallest=SMALLEST)
    by_gpu, _ = held_out(problem, gpu_folds(rows.runs), smallest=SMALLEST)
    kinds = np.array([kind_of(case, run) for case, run in zip(rows.cases, rows.runs, strict=True)])
    widths = {}
    for kind in sorted(set(kinds)):
        mine = by_group[kinds == kind]
        widths[kind] = _width(mine)
        _say(kind, mine)
    _say("all LLM", by_group)
    _say("GPUs held out", by_gpu)
    widths["unseen"] = max(_width(by_gpu) / _width(by_group), 1.0)
    _say_coverage(rows.cases, kinds, by_group)
    fitted = fit(problem, np.ones(len(rows.cases), bool), smallest=SMALLEST)
    print(f"{len(fitted.names)} factors of LLM serving")
    return fitted.table() | {"width": {BASE: 1.0, **widths}}, _bundled(rows.cases, rows.runs)


def link_bases(kernels: Fitted) -> dict[str, float]:
    """Return what all-reduces say of a link's efficiency and latency, as first guesses."""
    return {name: row[BASE] for name, row in kernels.table().items() if name in ("link", "link_us")}


def link_priors(kernels: Fitted) -> dict[tuple[str, str], float]:
    """Return what all-reduces say of the links, as the middle of the same factors' priors."""
    return {
        (name, key): float(log)
        for (name, key), log in zip(kernels.names, kernels.logs, strict=True)
        if name in ("link", "link_us") and key != BASE
    }


def gpu_folds(runs: Sequence[Run]) -> Any:
    """Return for each run the fold that holds its GPU out."""
    gpus = [run.machine.chip.gpu for run in runs]
    by_size = sorted(set(gpus), key=lambda gpu: (-gpus.count(gpu), gpu))
    return np.array([by_size.index(gpu) % GPU_FOLDS for gpu in gpus])


def _width(errors: Any) -> float:
    return float(np.exp(np.quantile(np.abs(errors), HELD)))


def _say(name: str, errors: Any) -> None:
    far = np.abs(np.expm1(errors))
    print(f"{name:16s} n {len(far):5d}  median {np.median(far):6.1%}  p90 {np.quantile(far, 0.9):6.1%}")


def _say_coverage(cases: Sequence[PerfCase], kinds: Any, errors: Any) -> None:
    """Print how many truths ranges hold that were made from the other half of the groups."""
    half, held = folds([case.group for case in cases], 2, seed=1), []
    for kind in set(kinds):
        for side in (0, 1):
            one, other = (kinds == kind) & (half == side), (kinds == kind) & (half != side)
            if one.any() and other.any():
                held += list(np.abs(errors[other]) <= np.quantile(np.abs(errors[one]), HELD))
    print(f"ranges from one half of the groups hold {np.mean(held):.1%} of the other half")


def _bundled(cases: Sequence[PerfCase], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a few cases of each GPU and workload: small models and loads first, one of a metric."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    order = sorted(
        zip(cases, runs, strict=True),
        key=lambda pair: (pair[0].gpu_count, float(pair[1].work.linear_params), pair[0].id),
    )
    for case, run in order:
        if case.workload == "llm_server" and case.metric != "output_tokens_per_s":
            continue
        mine = found[run.machine.chip.gpu, case.workload]
        if len(mine) < SHOWN:
            mine.setdefault(case.metric, _shown(case, run))
    return [row for mine in found.values() for row in mine.values()]


def _shown(case: PerfCase, run: Run) -> dict[str, Any]:
    how = f"{case.precision or '16 bit'}, {case.engine}, {case.load} at once"
    if case.gpu_count > 1:
        how = f"{case.gpu_count} GPUs, {how}"
    tokens = f"{case.input_tokens or 0} tokens in, {case.output_tokens or 0} out"
    return {
        "workload": case.workload,
        "model": run.model,
        "gpu": run.machine.chip.gpu,
        "what": f"{how}, {tokens}, {case.metric.replace('_', ' ')}",
        "value": case.value,
        "unit": case.unit,
        "source": case.source,
    }


def write_factors(path: Path, table: Mapping[str, Mapping[str, float]], source: str) -> None:
    """Write a table of factors as TOML."""
    today = dt.datetime.now(dt.UTC).date()
    lines = [
        f"# Made by bench/fit_perf.py from {source}. See rackrate.perf.factors for how to read it.",
        f'date = "{today}"',
    ]
    for name, row in table.items():
        lines += ["", f"[factors.{name}]"]
        lines += [f"{_key(key)} = {value:.4g}" for key, value in row.items()]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def write_measured(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the bundled cases as TOML."""
    lines = ["# Measured speeds, a few of each GPU, chosen by bench/fit_perf.py. Licences: see NOTICE."]
    for row in rows:
        lines += ["", "[[measured]]", *(f"{key} = {json.dumps(value)}" for key, value in row.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _key(text: str) -> str:
    return text if text.replace("_", "").replace("-", "").isalnum() else json.dumps(text)


if __name__ == "__main__":
    sys.exit(main())
