"""How would it do on sources and models that it has not seen? Cross-validation by group.

Most of the model is arithmetic on a config and was fitted to nothing. A few constants were set by eye on
measured cases; `CONSTANTS` lists them. For each group of rows (one source, or one model) the constants
that touch it are fitted again on the rows of all other groups, and the group is scored with those.

A constant is fitted by a coordinate search: of a grid of factors around its value, narrowed twice, the one
with the least median error of the rows that it moves (ties by the mean, where one row counts at most
100 %). A constant that no row outside the group moves keeps its value; such rows are counted apart,
because they were not held out of anything.
"""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from score_table import Scored

from rackrate.fit import engine

WIDTH = 2.0  # a constant may become this many times larger or smaller
STEPS = 5
ROUNDS = 3  # each three times as fine as the last
LEAST_ROWS = 3  # below, a constant keeps its value: there is nothing to fit it on


@dataclass(frozen=True)
class Constant:
    """A number of the model that was fitted on cases.

    Attributes:
        module: of the package, after `rackrate.fit.`.
        name: of the constant; of an entry of a table `TABLE[key]`; of a field of an engine `engine.field`.
    """

    module: str
    name: str

    def __str__(self) -> str:
        """Write it as one finds it."""
        return f"{self.module}.{self.name}"

    def get(self) -> float:
        """Return its value."""
        if self.module == "engine":
            owner, field = self.name.rsplit(".", 1)
            return float(getattr(engine.ENGINES[owner], field))
        table, _, key = self.name.partition("[")
        value = getattr(self._module(), table)
        return float(value[key.rstrip("]")] if key else value)

    def set(self, value: float) -> None:
        """Give it another value, for this process."""
        if self.module == "engine":
            owner, field = self.name.rsplit(".", 1)
            table: Any = engine.ENGINES
            table[owner] = replace(table[owner], **{field: value})
            return
        module, (name, _, key) = self._module(), self.name.partition("[")
        if key:
            getattr(module, name)[key.rstrip("]")] = value
        else:
            setattr(module, name, value)
        for function in vars(module).values():  # what was kept is of the other value
            if hasattr(function, "cache_clear"):
                function.cache_clear()

    def _module(self) -> Any:
        return importlib.import_module(f"rackrate.fit.{self.module}")

    def exists(self) -> bool:
        """Tell whether it is still there: the model changes faster than this list."""
        try:
            self.get()
        except (AttributeError, KeyError, ImportError, TypeError, ValueError):
            return False
        return True


CONSTANTS = (
    Constant("activation", "SAMPLER_BYTES[sort]"),
    Constant("activation", "SAMPLER_BYTES[kernel]"),
    Constant("activation", "IMAGE_COPIES"),
    Constant("activation", "WORKSPACE_GIB"),
    Constant("activation", "LLAMA_HIDDEN"),
    Constant("overhead", "GRAPHS_GIB"),
    Constant("overhead", "NEWER_CONTEXT_GIB"),
    Constant("overhead", "MULTICAST_GIB"),
    Constant("overhead", "LOSS_SLACK"),
    Constant("overhead", "KEPT_SLACK"),
    Constant("kv", "PAGE_PADDING"),
    Constant("engine", "vllm.context_gib"),
    Constant("engine", "vllm.link_gib"),
    Constant("engine", "transformers.context_gib"),
    Constant("engine", "transformers.slack_frac"),
    Constant("engine", "litgpt.slack_frac"),
    Constant("engine", "torch.slack_frac"),
    Constant("engine", "llama.cpp.context_gib"),
    Constant("engine", "openai-whisper.context_gib"),
    Constant("training", "LOSSES[full]"),
    Constant("training", "LOSSES[chunked]"),
    Constant("backward", "NORM_COPIES"),
    Constant("backward", "FUSED_FFN"),
    Constant("activation", "SCORE_BYTES"),
    Constant("pipeline", "LEFT_OVER_GIB"),
    Constant("pipeline", "DECODER_BYTES"),
    Constant("pipeline", "DENOISER_BYTES"),
    Constant("pipeline", "FRAMES_AT_ONCE"),
    Constant("pipeline", "LOADED_TWICE_BYTES"),
)

Answerer = Callable[[Any], Scored]


@dataclass(frozen=True)
class Crossed:
    """What cross-validation found.

    Attributes:
        by: what the groups are: `source` or `model`.
        rows: every row, scored by constants that have not seen its group.
        n_groups: how many groups there are.
        n_moved: rows that some constant moves.
        n_unheld: rows that are moved by a constant which no other group can fit.
        moves: rows that each constant moves; -1 for one that is not in the model any more.
    """

    by: str
    rows: list[Scored]
    n_groups: int
    n_moved: int
    n_unheld: int
    moves: dict[str, int]


def touched(prepared: Sequence[Any], answer: Answerer) -> dict[Constant, set[int]]:
    """Return which rows each constant moves, by their place."""
    before = [_value(answer(one)) for one in prepared]
    found = {}
    for constant in CONSTANTS:
        if not constant.exists() or not constant.get():
            continue
        with _Set(constant, constant.get() * 1.05):
            found[constant] = {
                place for place, one in enumerate(prepared) if _value(answer(one)) != before[place]
            }
    return {constant: rows for constant, rows in found.items() if rows}


def cross_validate(prepared: Sequence[Any], answer: Answerer, by: str) -> Crossed:
    """Score every row with constants fitted on the other groups.

    Args:
        prepared: rows as `score_fit.prepare` gives them.
        answer: what scores one of them with the constants as they are.
        by: `source` or `model`.
    """
    moves = touched(prepared, answer)
    scored = [answer(one) for one in prepared]
    unheld: set[int] = set()
    n_groups = 0
    for group in _groups(prepared, by):
        n_groups += 1
        fitted = {}
        for constant, rows in moves.items():
            if not rows & group:
                continue
            others = sorted(rows - group)
            if len(others) < LEAST_ROWS:
                unheld |= rows & group
                continue
            fitted[constant] = fit(constant, [prepared[place] for place in others], answer)
        with _AllSet(fitted):
            for place in group:
                scored[place] = answer(prepared[place])
    moved = set().union(*moves.values()) if moves else set()
    counts = {str(c): len(moves.get(c, ())) if c.exists() else -1 for c in CONSTANTS}
    return Crossed(by, scored, n_groups, len(moved), len(unheld), counts)


def fit(constant: Constant, rows: Sequence[Any], answer: Answerer) -> float:
    """Return the value of a constant with the least error of `rows`; it is left as it was."""
    best, width = constant.get(), WIDTH
    least = _loss_at(constant, best, rows, answer)
    for _ in range(ROUNDS):
        centre = best
        for step in range(STEPS):
            value = centre * width ** (2 * step / (STEPS - 1) - 1)
            loss = _loss_at(constant, value, rows, answer)
            if loss < least:
                best, least = value, loss
        width = width ** (1 / 3)
    return best


def _loss_at(constant: Constant, value: float, rows: Sequence[Any], answer: Answerer) -> tuple[float, float]:
    with _Set(constant, value):
        errors = [_share(answer(one)) for one in rows]
    return round(statistics.median(errors), 6), statistics.fmean(min(error, 1.0) for error in errors)


def _share(row: Scored) -> float:
    """Return the error as a share, that of KV room too; of a verdict how sure it was of the wrong thing."""
    found = row.answer.prediction
    if found is None:
        return 1.0
    if row.kind == "verdict":
        return abs(found.value - row.truth)
    return abs(found.value - row.truth) / max(row.truth, 1e-9)


def _value(row: Scored) -> float:
    found = row.answer.prediction
    return math.nan if found is None else found.value


def _groups(prepared: Sequence[Any], by: str) -> Iterator[set[int]]:
    names = [getattr(one.row.case, by) for one in prepared]
    for name in dict.fromkeys(names):
        yield {place for place, other in enumerate(names) if other == name}


class _Set:
    """A constant at another value for a while."""

    def __init__(self, constant: Constant, value: float) -> None:
        self.constant, self.value, self.before = constant, value, constant.get()

    def __enter__(self) -> None:
        self.constant.set(self.value)

    def __exit__(self, *_: object) -> None:
        self.constant.set(self.before)


class _AllSet:
    """Several constants at other values for a while."""

    def __init__(self, values: dict[Constant, float]) -> None:
        self.values, self.before = values, {constant: constant.get() for constant in values}

    def __enter__(self) -> None:
        for constant, value in self.values.items():
            constant.set(value)

    def __exit__(self, *_: object) -> None:
        for constant, value in self.before.items():
            constant.set(value)
