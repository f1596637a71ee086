"""Write scores: as text for the terminal and docs/benchmarks.md, and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from measure import table
from score_table import (
    COVERAGE_GOAL,
    GOALS,
    IN_GIB,
    VERDICT_GOAL,
    WIDTH_GOAL,
    Score,
    Scored,
    ranges,
    scores,
)

Scores = Mapping[str, Sequence[Score] | None]
OURS = "rackrate"


def figure(kind: str, value: float | None) -> str:
    """Write an error in the unit of its class."""
    if value is None:
        return "-"
    return f"{value:.2f} GiB" if kind == IN_GIB else f"{100 * value:.1f}%"


def pair(score: Score) -> str:
    """Write median and 90th percentile, or the share of verdicts that is right."""
    if score.kind == "verdict":
        return f"{100 * score.median:.0f}% right, {score.n_false_fits} false `fits`"
    return f"{figure(score.kind, score.median)} / {figure(score.kind, score.p90)}"


def of_peer(score: Score) -> str:
    """Write a peer's figures: over all rows, and over those that it answers."""
    if score.n_refused == score.n:
        return "refuses all"
    if not score.n_refused:
        return pair(score)
    if score.kind == "verdict":
        return f"{pair(score)}, refuses {score.n_refused}"
    answered = f"{figure(score.kind, score.median_answered)} / {figure(score.kind, score.p90_answered)}"
    return f"{pair(score)}; refuses {score.n_refused}, else {answered}"


def goal(score: Score) -> str:
    """Write the goal of a class and whether it is met."""
    met = {True: "met", False: "missed", None: ""}[score.is_met]
    if score.kind == "verdict":
        return f"{VERDICT_GOAL:.0%}, no false `fits`: {met}"
    if score.kind not in GOALS:
        return ""
    median, p90 = GOALS[score.kind]
    return f"{figure(score.kind, median)} / {figure(score.kind, p90)}: {met}"


def main_table(by_name: Scores) -> str:
    """Return the table of all classes: us with goals and ranges, and everyone else."""
    ours = by_name[OURS] or ()
    others = [name for name, found in by_name.items() if name != OURS and found is not None]
    header = ["class", "n", "rackrate", "goal", "range holds", "width", *others]
    rows = []
    for score in ours:
        row = [score.kind, str(score.n), pair(score) + _refusals(score), goal(score)]
        row += [_percent(score.coverage), _percent(score.width)]
        for name in others:
            found = {other.kind: other for other in by_name[name] or ()}
            row.append(of_peer(found[score.kind]))
        rows.append(row)
    return table(header, rows)


def _refusals(score: Score) -> str:
    return f", {score.n_refused} unanswered" if score.n_refused else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"


def ranges_line(rows: Sequence[Scored]) -> str:
    """Return how often the stated ranges hold the truth, and how wide they are."""
    coverage, width, n = ranges(rows)
    if coverage is None or width is None:
        return "No range was stated."
    low, high = COVERAGE_GOAL
    held = "met" if low <= coverage <= high else "missed"
    narrow = "met" if width <= WIDTH_GOAL else "missed"
    return (
        f"The stated 90% ranges hold {coverage:.1%} of {n} truths (goal {low:.0%} to {high:.0%}: {held}); "
        f"their median width is {width:.1%} of the value (goal {WIDTH_GOAL:.0%}: {narrow})."
    )


def worst_rows(rows: Sequence[Scored], n_worst: int) -> str:
    """List the rows with the largest errors of each class."""
    lines = []
    for kind in dict.fromkeys(row.kind for row in rows):
        found = sorted((row for row in rows if row.kind == kind), key=lambda row: -row.error)[:n_worst]
        lines.append(f"{kind}:")
        lines += [f"  {describe(row)}" for row in found if row.error]
    return "\n".join(lines)


def describe(row: Scored) -> str:
    """Write a row with its prediction and error."""
    case, found = row.case, row.answer.prediction
    what = f"{case.id} {case.model}, {case.quant_format or case.precision}, {case.engine}, {case.gpu_count}x "
    what += (
        f"{case.gpu or 'no GPU'}, batch {case.batch or '-'}, {case.context or '-'} tokens, {case.quantity}"
    )
    if found is None:
        return f"{what}: {row.truth:g} measured, no answer: {row.answer.reason}"
    said = f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"
    z = "" if row.z is None else f", z {row.z:+.1f}"
    return f"{what}: {row.truth:.4g} measured, {said} said, {figure(row.kind, row.error)}{z}"


def z_table(rows: Sequence[Scored]) -> str:
    """Return how far the truths lie from what was expected, in standard deviations, by class."""
    lines = []
    for kind in dict.fromkeys(row.kind for row in rows):
        found = sorted(row.z for row in rows if row.kind == kind and row.z is not None)
        if found:
            spread = statistics.median(abs(value) for value in found)
            outside = sum(row.is_inside is False for row in rows if row.kind == kind)
            lines.append(
                [kind, str(len(found)), f"{statistics.median(found):+.2f}", f"{spread:.2f}",
                 f"{found[0]:+.1f}", f"{found[-1]:+.1f}", str(outside)]
            )  # fmt: skip
    header = ["class", "n", "median z", "median |z| (0.67 if right)", "lowest", "highest", "outside"]
    return table(header, lines)


def crossed_table(in_sample: Sequence[Score], crossed: Sequence[Any]) -> str:
    """Return the errors on groups that were held out, beside those of the constants as they stand."""
    columns = [{score.kind: score for score in scores(found.rows)} for found in crossed]
    names = [f"{found.by}s held out" for found in crossed]
    header = ["class", "n", "as it stands", *names]
    rows = [
        [score.kind, str(score.n), pair(score), *(pair(column[score.kind]) for column in columns)]
        for score in in_sample
    ]
    lines = [table(header, rows)]
    lines += [
        f"{found.n_groups} {found.by}s, each scored with the fitted constants set anew on the others. Of "
        f"{len(found.rows)} rows {found.n_moved} depend on a fitted constant; {found.n_unheld} on one that "
        f"no other {found.by} can set, which kept its value."
        for found in crossed
    ]
    moves = crossed[0].moves if crossed else {}
    lines.append(
        "Fitted constants and the rows that each moves: "
        + ", ".join(f"{name} {n}" if n >= 0 else f"{name} is no more" for name, n in moves.items() if n)
        + "."
    )
    return "\n\n".join(lines)


def report(outcome: Any, by_name: Scores, *, n_worst: int, with_z: bool) -> str:
    """Return all that a run found, as text."""
    rows = outcome.by_name[OURS]
    unanswered = [row for row in rows if row.answer.prediction is None]
    parts = [
        f"{len(rows)} rows of {', '.join(outcome.files)}; {outcome.n_bare} of models known by a count alone.",
        main_table(by_name),
        "Median / 90th percentile of the error; an unanswered row counts 100%. " + ranges_line(rows),
        *(f"{name}: not installed" for name, found in by_name.items() if found is None),
    ]
    if outcome.crossed:
        parts.append("Cross-validation\n\n" + crossed_table(by_name[OURS] or (), outcome.crossed))
    if outcome.left_out:
        parts.append("Left out:\n" + "\n".join(f"  {line}" for line in outcome.left_out))
    if unanswered:
        parts.append("Unanswered:\n" + "\n".join(f"  {describe(row)}" for row in unanswered))
    if n_worst:
        parts.append("Worst rows\n" + worst_rows(rows, n_worst))
    if with_z:
        outside = [row for row in rows if row.is_inside is False]
        parts.append("Standard deviations\n" + z_table(rows))
        parts.append("Outside their range\n" + "\n".join(f"  {describe(row)}" for row in outside))
    return "\n\n".join(parts)


def docs_section(title: str, outcome: Any, by_name: Scores) -> str:
    """Return the section of docs/benchmarks.md: the table, the ranges, what was held out."""
    rows = outcome.by_name[OURS]
    what = (
        f"{len(rows)} measured cases ({', '.join(outcome.files)}), every one predicted; median / 90th "
        "percentile of the error, and an unanswered case counts 100%. Others: the rule of 1.2 (parameters x "
        "bytes and a fifth; 16 bytes for full fine-tuning), the arithmetic of `accelerate estimate-memory` "
        "1.15, and vramcalc 0.1.2. "
        f"{outcome.n_bare} cases are of models that are known here by their parameter count alone."
    )
    parts = [
        f"## {title}",
        what,
        main_table(by_name),
        ranges_line(rows),
        *(f"{name} is not installed here." for name, found in by_name.items() if found is None),
    ]
    if outcome.crossed:
        parts += [
            "### Sources and models that were held out",
            crossed_table(by_name[OURS] or (), outcome.crossed),
        ]
    return "\n\n".join(parts)


def as_json(outcome: Any, by_name: Scores) -> dict[str, Any]:
    """Return all that a run found, as plain data."""
    coverage, width, n_ranges = ranges(outcome.by_name[OURS])
    return {
        "files": outcome.files,
        "left_out": outcome.left_out,
        "n_rows": len(outcome.by_name[OURS]),
        "n_bare": outcome.n_bare,
        "coverage": coverage,
        "width": width,
        "n_ranges": n_ranges,
        "scores": {
            name: None if found is None else [_score_dict(score) for score in found]
            for name, found in by_name.items()
        },
        "cross_validation": [
            {
                "by": found.by,
                "n_groups": found.n_groups,
                "n_moved": found.n_moved,
                "n_unheld": found.n_unheld,
                "constants": found.moves,
                "scores": [_score_dict(score) for score in scores(found.rows)],
            }
            for found in outcome.crossed
        ],
        "rows": [row.to_dict() for row in outcome.by_name[OURS]],
    }


def _score_dict(score: Score) -> dict[str, Any]:
    names = (
        "n", "n_refused", "median", "p90", "median_answered", "p90_answered", "coverage", "width",
        "n_false_fits",
    )  # fmt: skip
    return {"class": score.kind, "is_met": score.is_met} | {name: getattr(score, name) for name in names}
