"""How right is the speed model? Predicts every row of a file of measured speeds, and scores all who try.

    python bench/score_perf.py CASES.csv [--json] [--worst N] [--no-peers] [--docs TITLE]

An error is |predicted - measured| / measured; a row without an answer counts 100 %, for us and for everyone
else. Rows that their source doubts (`quality` begins neither with ok nor note) are left out and counted, and
lines that are no row (no value above 0, no number where one belongs) are listed.
Beside each figure stand those of the uncalibrated roofline; AIConfigurator, where it is installed, is asked
for a sample of rows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import score_perf_aic as aic
from measure import machine, table, write_section
from score_perf_peers import peers
from score_perf_ranking import Ranking, ranking

from rackrate.errors import RackrateError
from rackrate.fit.cases import Rejected
from rackrate.perf.cases import TRUSTED, PerfCase, PerfTable, read_perf_cases
from rackrate.perf.chip import chip_of
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import load_factors
from rackrate.perf.predict import predict
from rackrate.perf.wording import gpu_meant

OURS = "rackrate"
Slice = Callable[[PerfCase], bool]


def _is_tensor_parallel_pcie(case: PerfCase) -> bool:
    if not case.workload.startswith("llm") or not re.search(r"tp(?:[2-9]|\d\d)", case.parallel):
        return False
    return _chip_says(case, lambda chip: chip.link == "pcie")


def _is_unseen(case: PerfCase) -> bool:
    names = load_factors("llm" if case.workload.startswith("llm") else "media").values.values()
    return not _chip_says(case, lambda chip: any(chip.gpu in row for row in names))


def _is_l40s_llm(case: PerfCase) -> bool:
    return case.workload.startswith("llm") and _chip_says(case, lambda chip: chip.gpu == "l40s")


def _chip_says(case: PerfCase, question: Callable[[Any], bool]) -> bool:
    try:
        return question(chip_of(gpu_meant(case.gpu)[0]))
    except RackrateError:
        return False


SLICES: dict[str, tuple[Slice, tuple[float, float] | None]] = {
    "all LLM": (lambda c: c.workload.startswith("llm"), (0.13, 0.42)),
    "L40S": (_is_l40s_llm, (0.11, 0.32)),
    "PCIe tensor parallel": (_is_tensor_parallel_pcie, (0.13, 0.35)),
    "GPUs never calibrated": (lambda c: c.workload.startswith("llm") and _is_unseen(c), (0.12, 0.38)),
    "batch-1 decode": (lambda c: c.workload == "llm_decode", (0.07, 0.22)),
    "unloaded TTFT": (
        lambda c: c.workload == "llm_prefill" and c.metric != "prefill_tokens_per_s",
        (0.11, 0.28),
    ),
    "prefill": (lambda c: c.metric == "prefill_tokens_per_s", None),
    "offline": (lambda c: c.workload == "llm_offline", (0.15, 0.40)),
    "server TPOT": (lambda c: c.workload == "llm_server" and c.metric.startswith("tpot"), (0.12, 0.35)),
    "server TTFT": (lambda c: c.workload == "llm_server" and c.metric.startswith("ttft"), (0.24, 0.65)),
    "server tokens/s": (
        lambda c: c.workload == "llm_server" and not c.metric.startswith(("tpot", "ttft")),
        None,
    ),
    "diffusion": (lambda c: c.workload == "diffusion", (0.09, 0.28)),
    "encoder": (lambda c: c.workload == "encoder", (0.08, 0.30)),
    "BERT fine-tuning": (lambda c: c.workload == "bert_ft", (0.12, 0.35)),
    "ASR": (lambda c: c.workload == "asr", (0.25, 0.80)),
    "train": (lambda c: c.workload == "train", None),
    "gemm": (lambda c: c.workload == "gemm", None),
    "comm": (lambda c: c.workload == "comm", None),
    "bandwidth": (lambda c: c.workload == "bandwidth", None),
    "everything": (lambda _: True, None),
}
"""What is scored, each with the goal for median and 90th percentile where there is one."""

_SHOWN = 5
COVERED = (0.76, 0.84)
ANSWERED = 0.99


@dataclass
class Scored:
    """Answers to all rows.

    Attributes:
        values: predicted, NaN where there is no answer.
        lows: lower ends of the ranges; NaN where there are none.
        highs: upper ends.
        seconds: all answers together.
        reasons: why rows have no answer, by row.
    """

    values: Any
    lows: Any
    highs: Any
    seconds: float
    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """The score of a slice.

    Attributes:
        n: rows.
        median: of the error.
        p90: its 90th percentile.
        held: share of the truths within the ranges; NaN without ranges.
        answered: share of the rows.
    """

    n: int
    median: float
    p90: float
    held: float
    answered: float


def ask(cases: Sequence[PerfCase], answer: Callable[[PerfCase], Estimate | float]) -> Scored:
    """Return what someone says to every case; whatever goes wrong is no answer, with its reason."""
    values, lows, highs = (np.full(len(cases), np.nan) for _ in range(3))
    found = Scored(values, lows, highs, 0.0)
    start = time.perf_counter()
    for i, case in enumerate(cases):
        try:
            said = answer(case)
        except RackrateError as error:
            found.reasons[i] = f"{error.code}: {error.message}"
            continue
        except Exception as error:  # noqa: BLE001 - a crash is an unanswered row, and is shown as such
            found.reasons[i] = f"crash: {type(error).__name__}: {error}"
            continue
        value = said.value if isinstance(said, Estimate) else said
        if not np.isfinite(value):
            found.reasons[i] = f"no number: {value}"
            continue
        found.values[i] = value
        if isinstance(said, Estimate):
            found.lows[i], found.highs[i] = said.low, said.high
    found.seconds = time.perf_counter() - start
    return found


def errors_of(cases: Sequence[PerfCase], scored: Scored) -> Any:
    """Return the error of every row; 1 where there is no answer."""
    truth = np.array([case.value for case in cases])
    return np.where(np.isnan(scored.values), 1.0, np.abs(scored.values - truth) / truth)


def line(cases: Sequence[PerfCase], scored: Scored, rows: Any) -> Line:
    """Return the score of some rows."""
    truth = np.array([case.value for case in cases])[rows]
    far = errors_of(cases, scored)[rows]
    has = ~np.isnan(scored.lows[rows])
    inside = (scored.lows[rows] <= truth) & (truth <= scored.highs[rows])
    return Line(
        len(far),
        float(np.median(far)),
        float(np.quantile(far, 0.9)),
        float(inside[has].mean()) if has.any() else float("nan"),
        float(1 - np.isnan(scored.values[rows]).mean()),
    )


def lines(cases: Sequence[PerfCase], scored: Scored) -> dict[str, Line]:
    """Return the score of every slice that has rows."""
    found = {}
    for name, (belongs, _) in SLICES.items():
        rows = np.array([belongs(case) for case in cases])
        if rows.any():
            found[name] = line(cases, scored, rows)
    return found


def report(
    cases: Sequence[PerfCase], by_name: dict[str, Scored], ranks: Ranking, read: PerfTable, n_worst: int
) -> str:
    """Return the scores as Markdown."""
    others = [name for name in by_name if name != OURS]
    scores = {name: lines(cases, scored) for name, scored in by_name.items()}
    rows = [
        [name, str(ours.n), pair(ours), goal(name, ours), _share(ours.held), f"{ours.answered:.1%}"]
        + [pair(scores[other][name]) + _unanswered(scores[other][name]) for other in others]
        for name, ours in scores[OURS].items()
    ]
    header = ["slice", "n", OURS, "goal", "80% range holds", "answered", *others]
    every = scores[OURS]["everything"]
    text = [
        table(header, rows),
        "",
        _summary(every, len(read.cases) - len(cases)),
        *_no_rows(read.rejected),
        "",
        str(ranks),
        "",
        f"{'; '.join(_time(name, scored, len(cases)) for name, scored in by_name.items())}.",
    ]
    if n_worst:
        text += ["", *_worst(cases, by_name[OURS], n_worst)]
    return "\n".join(text)


@dataclass
class Sampled:
    """Answers of a peer that is asked for some rows only, and ours to the same.

    Attributes:
        rows: which of the cases.
        theirs: their answers.
        ours: ours.
    """

    rows: list[int]
    theirs: Scored
    ours: Scored


def sample(cases: Sequence[PerfCase], rows: list[int]) -> Sampled:
    """Ask AIConfigurator and ourselves for some rows."""
    chosen = [cases[i] for i in rows]
    return Sampled(rows, ask(chosen, aic.aiconfigurator), ask(chosen, predict))


def sampled_text(cases: Sequence[PerfCase], found: Sampled) -> str:
    """Return the comparison on the rows of a sample as Markdown."""
    chosen = [cases[i] for i in found.rows]
    answered = ~np.isnan(found.theirs.values)
    kinds = {name: [case.metric.startswith(name) for case in chosen] for name in ("tpot", "ttft", "output")}
    slices = {"all that were asked": np.ones(len(chosen), bool), "those it answers": answered}
    slices |= {f"of these {name}": answered & np.array(rows) for name, rows in kinds.items()}
    rows = []
    for name, among in slices.items():
        if among.any():
            scores = (line(chosen, found.theirs, among), line(chosen, found.ours, among))
            rows.append([name, str(int(among.sum())), *map(pair, scores)])
    ids = ", ".join(case.id for case in chosen)
    took_s = found.theirs.seconds / len(chosen)
    return (
        f"{aic.NAME} was asked for {len(chosen)} rows, evenly spread over those whose GPU, engine and model "
        f"it ships, and answers {answered.mean():.0%} of them, at {took_s:.1f} s a row. Where the file is "
        f"the one that the factors of {OURS} were fitted to, its errors here are not held out.\n\n"
        f"{table(['rows', 'n', aic.NAME, OURS], rows)}\n\nAsked: {ids}."
    )


def _no_rows(rejected: Sequence[Rejected]) -> Iterable[str]:
    """Yield the lines that could not be read: they are scored for nobody, as they measure nothing."""
    if rejected:
        some = "; ".join(f"line {each.line}: {each.reason}" for each in rejected[:_SHOWN])
        more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
        yield ""
        yield f"{len(rejected)} line{'s' * (len(rejected) > 1)} of the file could not be read: {some}{more}."


def _summary(every: Line, n_left_out: int) -> str:
    covered = _met(COVERED[0] <= every.held <= COVERED[1])
    return (
        f"The ranges hold {_share(every.held, 1)} of the truths (goal 76% to 84%: {covered}); "
        f"{every.answered:.2%} of the rows are answered (goal 99%: {_met(every.answered >= ANSWERED)}). "
        f"{n_left_out} row{'s' * (n_left_out != 1)} that their source doubts are left out. Median / 90th "
        "percentile of the error; no answer counts 100%."
    )


def _share(frac: float, digits: int = 0) -> str:
    return "none" if np.isnan(frac) else f"{frac:.{digits}%}"


def _time(name: str, scored: Scored, n: int) -> str:
    return f"{name} took {1e3 * scored.seconds / n:.2f} ms a row"


def pair(score: Line) -> str:
    """Write median and 90th percentile."""
    return f"{score.median:.1%} / {score.p90:.1%}"


def _unanswered(score: Line) -> str:
    return "" if score.answered == 1 else f" (answers {score.answered:.0%})"


def _met(is_met: bool) -> str:  # noqa: FBT001 - a word for a truth value
    return "met" if is_met else "missed"


def goal(name: str, score: Line) -> str:
    """Write the goal of a slice and whether it is met."""
    wanted = SLICES[name][1]
    if wanted is None:
        return ""
    median, p90 = wanted
    words = [_met(score.median <= median), _met(score.p90 <= p90)]
    both = words[0] if words[0] == words[1] else " / ".join(words)
    return f"{median:.0%} / {p90:.0%}: {both}"


def _worst(cases: Sequence[PerfCase], scored: Scored, n: int) -> Iterable[str]:
    far = errors_of(cases, scored)
    for i in np.argsort(-far)[:n]:
        case = cases[i]
        said = scored.reasons.get(int(i), f"{scored.values[i]:.4g}")
        yield (
            f"- {case.id} {case.workload} {case.model} {case.engine} {case.gpu_count} x {case.gpu} "
            f"{case.metric}: measured {case.value:g}, predicted {said}"
        )


def as_json(
    cases: Sequence[PerfCase], by_name: dict[str, Scored], ranks: Ranking, read: PerfTable
) -> dict[str, Any]:
    """Return the scores as plain data, with every row's answer of ours; what is no number is None."""
    ours = by_name[OURS]
    return {
        "slices": {
            name: {
                key: {field: None if value != value else value for field, value in vars(score).items()}  # noqa: PLR0124 - NaN
                for key, score in lines(cases, scored).items()
            }
            for name, scored in by_name.items()
        },
        "n_doubted": len(read.cases) - len(cases),
        "unread": [{"line": each.line, "reason": each.reason} for each in read.rejected],
        "ranking": vars(ranks),
        "ms_per_row": {name: 1e3 * s.seconds / len(cases) for name, s in by_name.items()},
        "rows": [
            {
                "id": case.id,
                "metric": case.metric,
                "measured": case.value,
                "predicted": None if np.isnan(ours.values[i]) else float(ours.values[i]),
                "low": None if np.isnan(ours.lows[i]) else float(ours.lows[i]),
                "high": None if np.isnan(ours.highs[i]) else float(ours.highs[i]),
                "reason": ours.reasons.get(i, ""),
            }
            for i, case in enumerate(cases)
        ],
    }


def _nothing(read: PerfTable) -> str:
    """Say why a file has no row to score."""
    if read.rejected:
        first = read.rejected[0]
        return f"no row can be scored; line {first.line}: {first.reason}"
    if read.cases:
        return f"no row can be scored: the quality of none begins with {' or '.join(TRUSTED)}"
    return "the file has a header and no rows"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status is 2 for bad input, else 0."""
    parser = argparse.ArgumentParser(description="Score rackrate.perf on measured cases.")
    parser.add_argument("cases", type=Path, metavar="CASES.csv")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="worst rows to list")
    parser.add_argument("--no-peers", action="store_true", help="score Rackrate alone")
    parser.add_argument("--docs", metavar="TITLE", default="", help="write a section of docs/benchmarks.md")
    args = parser.parse_args(argv)
    try:
        read = read_perf_cases(args.cases.read_text("utf-8"))
    except (RackrateError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{args.cases}: {error}\n")
        return 2
    cases = [case for case in read.cases if case.is_trusted]
    if not cases:
        sys.stderr.write(f"{args.cases}: {_nothing(read)}\n")
        return 2
    by_name = {OURS: ask(cases, predict)}
    if not args.no_peers:
        by_name |= {name: ask(cases, peer) for name, peer in peers().items()}
    ranks = ranking(cases, by_name[OURS].values)
    rows = aic.asked(cases) if aic.is_there() and not args.no_peers else []
    sampled = sample(cases, rows) if rows else None
    if args.json:
        data = as_json(cases, by_name, ranks, read)
        if sampled:
            data["sampled"] = {"asked": [cases[i].id for i in rows], "text": sampled_text(cases, sampled)}
        print(json.dumps(data, indent=1, allow_nan=False))
        return 0
    text = report(cases, by_name, ranks, read, 0 if args.docs else args.worst)
    if not args.no_peers:
        text += "\n\n" + (sampled_text(cases, sampled) if sampled else f"{aic.NAME} was not asked.")
    if args.docs:
        name = re.sub(r"\W+", "-", args.docs.lower())
        write_section(name, f"## {args.docs}\n\n{text}\n\n{machine('rackrate', 'numpy')}")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
