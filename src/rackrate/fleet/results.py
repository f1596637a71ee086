"""What did a sweep find? Its trials as a table for people, programs and Arrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rackrate.fleet.trials import Goal, Trial, TrialState
from rackrate.report.block import Block, Column, Table, Text, to_html

COLUMNS = {
    "trial": "BIGINT",
    "state": "VARCHAR",
    "value": "DOUBLE",
    "curve_steps": "BIGINT[]",
    "curve_values": "DOUBLE[]",
    "attempts": "BIGINT",
    "node": "VARCHAR",
    "seconds": "DOUBLE",
    "usd": "DOUBLE",
    "why": "VARCHAR",
}
"""Beside the parameters, which have a column each."""
_NOTE = "the best first, then what was stopped by how far it came"


@dataclass(frozen=True, repr=False)
class Results:
    """The trials of a sweep at an instant.

    Attributes:
        name: of the sweep.
        goal: what it looks for.
        trials: in their order.
    """

    name: str
    goal: Goal
    trials: tuple[Trial, ...]

    @property
    def params(self) -> list[str]:
        """Names of all parameters, as they first occur."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.params))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a trial."""
        return [{**trial.params, **_row(trial)} for trial in self.trials]

    def n(self, state: TrialState) -> int:
        """Count the trials in a state."""
        return sum(trial.state is state for trial in self.trials)

    @property
    def steps(self) -> int:
        """Steps that all trials together have come."""
        return sum(max(trial.curve, default=0) for trial in self.trials)

    @property
    def usd(self) -> float:
        """Cost of all attempts."""
        return sum(trial.usd for trial in self.trials)

    def curves(self) -> dict[int, list[tuple[int, float | None]]]:
        """Return (step, value) of each trial, by its number; a value that is no number is None."""
        return {trial.number: sorted(trial.curve.items()) for trial in self.trials}

    @property
    def best(self) -> Trial | None:
        """The best of the trials that are done; None where none has a value."""
        found = [one for one in self.trials if one.state is TrialState.DONE and one.value is not None]
        return min(found, key=self._rank, default=None)

    def points(self) -> list[dict[str, Any]]:
        """Return a row a reported value, for charts: trial, step, value, and what became of the trial."""
        best = self.best
        return [
            {"trial": trial.number, "step": step, "value": value, "fate": _fate(trial, best)}
            for trial in self.trials
            for step, value in sorted(trial.curve.items())
        ]

    def plot(self) -> Any:
        """Return the curves as an Altair chart.

        Raises:
            UsageError: the chart packages are not installed.
        """
        from rackrate.chart import curves  # noqa: PLC0415 - a heavy extra

        return curves(self.line(), self.goal.metric, self.points())

    def to_svg(self) -> str:
        """Return the curves as SVG text.

        Raises:
            UsageError: the chart packages are not installed.
        """
        from rackrate.chart import curves_svg  # noqa: PLC0415 - a heavy extra

        return curves_svg(self.line(), self.goal.metric, self.points())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"sweep": self.name, "goal": self.goal.to_dict(), "data": self.rows}

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """Return the rows as an Arrow stream (PyCapsule interface): a column a parameter, curves as lists."""
        del requested_schema  # a consumer may ask for a cast; offering our own schema is allowed
        from rackrate.market.store.arrow import stream  # noqa: PLC0415 - start-up: loads the database

        rows = self.rows
        kinds = {name: _kind([row.get(name) for row in rows]) for name in self.params} | COLUMNS
        cells = [tuple(_cell(row.get(name), kind) for name, kind in kinds.items()) for row in rows]
        return stream(cells, kinds)

    def blocks(self) -> list[Block]:
        """Return a summary and the trials, the best first."""
        names = self.params
        columns = (
            Column("trial", "trial"),
            Column("state", "state"),
            Column("value", self.goal.metric, 4, absent="none"),
            Column("step", "step", 0, absent="none"),
            *(Column(name, name) for name in names),
            Column("attempts", "attempts", 0),
            Column("node", "node"),
            Column("seconds", "s", 1),
            Column("usd", "USD", 6),
            Column("why", "why"),
        )
        rows = tuple(
            (
                str(trial.number),
                str(trial.state),
                trial.value,
                max(trial.curve, default=None),
                *(_text(trial.params.get(name)) for name in names),
                trial.attempt,
                trial.node,
                trial.seconds,
                trial.usd,
                trial.why,
            )
            for trial in sorted(self.trials, key=self._rank)
        )
        return [Text(f"sweep {self.name}", tuple(self._says())), Table("trials", columns, rows, (_NOTE,))]

    def _rank(self, trial: Trial) -> tuple[bool, int, float, int]:
        is_done = trial.state is TrialState.DONE
        far = 0 if is_done else -max(trial.curve, default=0)
        value = float("inf") if trial.value is None else self.goal.signed(trial.value)
        return not is_done, far, value, trial.number

    def line(self) -> str:
        """Return how it stands, in a line."""
        best = self.best
        found = "" if best is None else f"; best {self.goal.metric} {best.value:.4f}"
        return ", ".join(self._says()) + found

    def _says(self) -> list[str]:
        counted = ", ".join(f"{self.n(state)} {state}" for state in TrialState if self.n(state))
        seconds = sum(trial.seconds for trial in self.trials)
        return [
            counted or "no trials",
            f"{self.steps:,} steps, {seconds:,.1f} s on nodes, {self.usd:.4f} USD",
        ]

    def __repr__(self) -> str:
        """Say how it stands, in one line."""
        return f"<Results of sweep {self.name}: {self.line()}>"

    def _repr_html_(self) -> str:
        return to_html(self.blocks())


def _fate(trial: Trial, best: Trial | None) -> str:
    if best is not None and trial.number == best.number:
        return "best"
    return "done" if trial.state is TrialState.DONE else "other"


def _row(trial: Trial) -> dict[str, Any]:
    curve = sorted(trial.curve.items())
    return {
        "trial": trial.number,
        "state": str(trial.state),
        "value": trial.value,
        "curve_steps": [step for step, _ in curve],
        "curve_values": [value for _, value in curve],
        "attempts": trial.attempt,
        "node": trial.node,
        "seconds": trial.seconds,
        "usd": trial.usd,
        "why": trial.why,
    }


def _kind(values: Sequence[Any]) -> str:
    """Return the SQL type that holds all values of a parameter."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int}:
        return "BIGINT"
    return "DOUBLE" if kinds and kinds <= {int, float} else "VARCHAR"


def _cell(value: Any, kind: str) -> Any:
    return _text(value) if kind == "VARCHAR" and value is not None else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
