"""How right is the memory model? Predicts every row of files of measured cases, and scores itself and others.

    python bench/score_fit.py CASES.csv [CASES2.csv ...] [--json] [--worst N] [--no-peers]
                              [--cross-validate] [--z] [--docs TITLE]

See `score_rows` for what files may hold, `score_table` for what an error is, `score_peers` for the others.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import machine, write_section
from score_cross import Crossed, cross_validate
from score_peers import Refused, installed, peers
from score_rows import Row, read_rows
from score_table import Answer, Scored, class_of, scores
from score_text import as_json, docs_section, report

from rackrate.catalog.architecture import Architecture
from rackrate.errors import RackrateError
from rackrate.fit.cases import Case
from rackrate.fit.overhead import Card
from rackrate.fit.precision import Precision
from rackrate.fit.predict import predict
from rackrate.fit.resolve import architecture_for, card_for
from rackrate.fit.run import precision_of
from rackrate.fit.tools import style_of

RESERVING = ("vllm", "sglang")
OURS = "rackrate"


@dataclass(frozen=True)
class Prepared:
    """A row with what its words mean.

    Attributes:
        row: as read.
        arch: its model; None where it has none.
        card: one of its GPUs.
        precision: of its weights; None where no one knows the word.
        kind: its class.
        room_gib: the KV room of the same run, where it was measured.
        reason: why there is no model.
    """

    row: Row
    arch: Architecture | None
    card: Card
    precision: Precision | None
    kind: str
    room_gib: float | None
    reason: str = ""


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        files: names of the files read.
        left_out: rows that are none, with the reason.
        by_name: the scored rows of us and of each other; None of one that is not installed.
        n_bare: rows whose model is known by its parameter count alone.
        crossed: how we do on sources and models that the constants have not seen, where it was asked for.
    """

    files: list[str]
    left_out: list[str]
    by_name: dict[str, list[Scored] | None] = field(default_factory=dict)
    n_bare: int = 0
    crossed: list[Crossed] = field(default_factory=list)


def prepare(rows: Sequence[Row]) -> list[Prepared]:
    """Return the rows with model, card, precision and class."""
    rooms = {_run(row.case): row.case.value for row in rows if row.case.quantity == "kv_gib"}
    return [_prepare(row, rooms) for row in rows]


def _run(case: Case) -> tuple[Any, ...]:
    return (case.source, case.model, case.engine, case.gpu, case.gpu_count, case.context, case.note)


def _prepare(row: Row, rooms: Mapping[tuple[Any, ...], float]) -> Prepared:
    case = row.case
    arch, reason = None, ""
    try:
        arch = architecture_for(case, row.config)
    except RackrateError as error:
        reason = f"{error.code}: {error.message}"
    try:
        precision = precision_of(case)
    except RackrateError:
        precision = None
    style = row.style or style_of(case)
    kind = class_of(case, precision, reserves=style.engine in RESERVING)
    room = rooms.get(_run(case)) if case.quantity == "kv_tokens" else None
    return Prepared(row, arch, card_for(case.gpu, case.source), precision, kind, room, reason)


def ours(prepared: Prepared) -> Scored:
    """Return our answer to a row; whatever goes wrong is no answer, with its reason."""
    case = prepared.row.case
    start = time.perf_counter()
    try:
        if prepared.arch is None:
            return Scored(case, prepared.kind, Answer(None, prepared.reason))
        found = predict(case, prepared.arch, prepared.card, prepared.room_gib, prepared.row.style)
    except RackrateError as error:
        return Scored(case, prepared.kind, Answer(None, f"{error.code}: {error.message}"))
    except Exception as error:  # noqa: BLE001 - a crash is an unanswered row, and is shown as such
        return Scored(case, prepared.kind, Answer(None, f"crash: {type(error).__name__}: {error}"))
    return Scored(case, prepared.kind, Answer(found, seconds=time.perf_counter() - start))


def theirs(rows: Iterable[Prepared]) -> dict[str, list[Scored] | None]:
    """Return the answers of the others; None of one that is not installed."""
    found: dict[str, list[Scored] | None] = {}
    for name, peer in peers().items():
        found[name] = None if peer is None else [_ask(peer, prepared) for prepared in rows]
    return found


def _ask(peer: Any, prepared: Prepared) -> Scored:
    case = prepared.row.case
    if prepared.arch is None or prepared.precision is None:
        return Scored(case, prepared.kind, Answer(None, "no model or precision"))
    try:
        found = peer(case, prepared.arch, prepared.card, prepared.precision)
    except Refused as error:
        return Scored(case, prepared.kind, Answer(None, str(error)))
    return Scored(case, prepared.kind, Answer(found))


def run(paths: Sequence[Path], *, with_peers: bool = True) -> tuple[Outcome, list[Prepared]]:
    """Read the files and score everybody.

    Raises:
        RackrateError: a file is neither of cases nor of measurements.
    """
    rows: list[Row] = []
    outcome = Outcome([path.name for path in paths], [])
    for path in paths:
        found, left_out = read_rows(path)
        rows += found
        outcome.left_out += left_out
    prepared = prepare(rows)
    outcome.by_name[OURS] = [ours(one) for one in prepared]
    outcome.n_bare = sum(
        one.arch is not None and any("only a count" in text for text in one.arch.assumptions)
        for one in prepared
    )
    if with_peers:
        outcome.by_name.update(theirs(prepared))
    return outcome, prepared


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status is 2 for bad input, else 0."""
    parser = argparse.ArgumentParser(description="Score rackrate.fit on measured cases.")
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASES.csv")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--worst", type=int, default=5, metavar="N", help="worst rows of each class to list")
    parser.add_argument("--no-peers", action="store_true", help="score Rackrate alone")
    parser.add_argument("--cross-validate", action="store_true", help="score groups that were held out")
    parser.add_argument("--docs", metavar="TITLE", default="", help="write a section of docs/benchmarks.md")
    parser.add_argument("--z", action="store_true", help="list the rows outside their range")
    args = parser.parse_args(argv)
    try:
        outcome, prepared = run(args.cases, with_peers=not args.no_peers)
    except (RackrateError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if args.cross_validate:
        outcome.crossed = [cross_validate(prepared, ours, by) for by in ("source", "model")]
    by_name = {name: None if rows is None else scores(rows) for name, rows in outcome.by_name.items()}
    if args.docs:
        name = re.sub(r"\W+", "-", args.docs.lower())
        write_section(
            name, docs_section(args.docs, outcome, by_name) + "\n\n" + machine("rackrate", *installed())
        )
    if args.json:
        print(json.dumps(as_json(outcome, by_name), indent=1))
    else:
        print(report(outcome, by_name, n_worst=args.worst, with_z=args.z))
    return 0


if __name__ == "__main__":
    sys.exit(main())
