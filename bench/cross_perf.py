"""How right is the speed model on what its factors have not seen? Fits it anew without parts of the cases.

    python bench/cross_perf.py [CASES.csv] [MEASUREMENTS.csv] [--docs]

Twice: without groups of rows (one run or setting of one source: the factors know the GPU from other runs),
and without GPUs (what a card costs in error that nobody ever measured). The slices and goals are those of
`score_perf`, whose figures for the same file have seen every row.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import fit_media
import numpy as np
from fit_kernels import kernel_rows
from fit_llm import llm_rows
from fit_perf import CASES, SMALLEST, gpu_folds, link_bases, link_priors
from measure import machine, table, write_section
from perf_fit import fit, folds, held_out
from score_perf import OURS, SLICES, Scored, ask, goal, lines, pair
from score_perf_ranking import ranking

from rackrate.perf.cases import PerfCase, read_perf_cases
from rackrate.perf.predict import predict

MEASUREMENTS = CASES.with_name("h100_measurements_calibration.csv")
TITLE = "How fast is it: held out"
Errors = dict[str, float]
"""By the id of a case: logarithm of predicted over measured."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Cross-validate the speed model.")
    parser.add_argument("cases", nargs="?", type=Path, default=CASES, metavar="CASES.csv")
    parser.add_argument(
        "measurements", nargs="?", type=Path, default=MEASUREMENTS, metavar="MEASUREMENTS.csv"
    )
    parser.add_argument("--docs", action="store_true", help="write a section of docs/benchmarks.md")
    args = parser.parse_args(argv)
    cases = [c for c in read_perf_cases(args.cases.read_text("utf-8")).cases if c.is_trusted]
    rows = fit_media.read_cases(args.cases) + fit_media.read_measurements(args.measurements)
    errors = {by: language_errors(cases, by) | media_errors(rows, by) for by in ("group", "gpu")}
    text = report(cases, errors)
    print(text)
    if args.docs:
        write_section("how-fast-is-it-held-out", f"## {TITLE}\n\n{text}\n\n{machine('rackrate', 'scipy')}")
    return 0


def language_errors(cases: Sequence[PerfCase], by: str) -> Errors:
    """Return the errors of language models and kernels by factors that have not seen a row's group or GPU."""
    kept, kernels = kernel_rows(cases)
    whole = fit(kernels, np.ones(len(kept), bool), smallest=SMALLEST)
    fold = folds([c.group if by == "group" else c.gpu for c in kept])
    found, _ = held_out(kernels, fold, smallest=SMALLEST)
    errors = {case.id: float(error) for case, error in zip(kept, found, strict=True)}
    rows = llm_rows(cases)
    rows.problem.priors = link_priors(whole)
    rows.problem.guesses = rows.problem.guesses | link_bases(whole)
    fold = folds([c.group for c in rows.cases]) if by == "group" else gpu_folds(rows.runs)
    found, _ = held_out(rows.problem, fold, smallest=SMALLEST)
    return errors | {case.id: float(error) for case, error in zip(rows.cases, found, strict=True)}


def media_errors(rows: Sequence[fit_media.Row], by: str) -> Errors:
    """Return the errors of everything else, the same way."""
    return {miss.row.case.id: miss.error for miss in fit_media.held_out(rows, by)}


def report(cases: Sequence[PerfCase], errors: Mapping[str, Errors]) -> str:
    """Return the table and what is to be said of it, as Markdown."""
    seen = lines(cases, ask(cases, predict))
    scored = {by: _scored(cases, found) for by, found in errors.items()}
    by_group, by_gpu = lines(cases, scored["group"]), lines(cases, scored["gpu"])
    header = ["slice", "n", "as it stands", "groups held out", "goal", "GPUs held out"]
    body = [
        [
            name,
            str(seen[name].n),
            pair(seen[name]),
            pair(by_group[name]),
            goal(name, by_group[name]),
            pair(by_gpu[name]),
        ]
        for name in SLICES
        if name in seen
    ]
    return (
        f"{table(header, body)}\n\nMedian / 90th percentile of the error; {OURS} alone. The goals are held "
        "against the fourth column; that of GPUs never calibrated means the last one, where every GPU of "
        "every generation, H100 and L40S among them, was left out in turn with all its rows.\n\n"
        f"Groups held out: {ranking(cases, scored['group'].values)}\n\n"
        f"GPUs held out: {ranking(cases, scored['gpu'].values)}"
    )


def _scored(cases: Sequence[PerfCase], errors: Errors) -> Scored:
    """Return the answers that errors stand for; none of a case that has none."""
    values = np.array([case.value * np.exp(errors.get(case.id, np.nan)) for case in cases])
    empty = np.full(len(cases), np.nan)
    return Scored(values, empty, empty, 0.0)


if __name__ == "__main__":
    sys.exit(main())
