"""The answer to "what did my engine measure": the figures of a start-up log beside those predicted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rackrate.fit.cases import VERDICTS, Case
from rackrate.fit.logs import EngineLog
from rackrate.fit.predict import Prediction
from rackrate.report.block import Block, Cell, Column, Table, Text
from rackrate.report.fit import chance
from rackrate.report.shown import Shown


@dataclass(frozen=True, slots=True)
class Compared:
    """One measured quantity beside its prediction.

    Attributes:
        case: what was measured.
        predicted: in its unit, of a verdict the probability that it fits; None where nothing predicts it.
    """

    case: Case
    predicted: Prediction | None

    @property
    def is_verdict(self) -> bool:
        """Whether the quantity is true or false."""
        return self.case.quantity in VERDICTS

    @property
    def error_frac(self) -> float | None:
        """How far the prediction is off, as a share of what was measured; None where that means nothing."""
        if self.predicted is None or self.is_verdict or not self.case.value:
            return None
        return self.predicted.value / self.case.value - 1

    @property
    def is_inside(self) -> bool | None:
        """Whether the range holds what was measured; of a verdict whether the likelier one came true."""
        if self.predicted is None:
            return None
        if self.is_verdict:
            did_fit = (self.case.quantity == "fits") == (self.case.value == 1)
            return did_fit == (self.predicted.value >= 0.5)  # noqa: PLR2004 - the likelier
        return self.predicted.low <= self.case.value <= self.predicted.high

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        predicted = self.predicted
        return {
            "quantity": self.case.quantity,
            "per": self.case.per,
            "measured": self.case.value,
            "predicted": predicted.value if predicted else None,
            "low": predicted.low if predicted else None,
            "high": predicted.high if predicted else None,
            "error_frac": self.error_frac,
            "is_inside": self.is_inside,
        }


@dataclass(frozen=True)
class MeasuredRun(Shown):
    """What a start-up log says, and what was to be expected.

    Attributes:
        log: as read.
        model: slug or name of the model whose prediction it is.
        gpu: slug of the GPU, or its memory where no name is known.
        rows: each measured quantity.
        assumed: what the log does not say and was taken instead.
        saved: what was done with the cases, in words; empty when nothing was.
    """

    log: EngineLog
    model: str
    gpu: str
    rows: tuple[Compared, ...]
    assumed: tuple[str, ...] = ()
    saved: str = ""

    @property
    def cases(self) -> tuple[Case, ...]:
        """The measured quantities."""
        return tuple(row.case for row in self.rows)

    @property
    def title(self) -> str:
        """Engine, model, GPUs and outcome in one line."""
        log = self.log
        engine = " ".join(filter(None, (log.engine, log.version)))
        gpus = self.gpu if log.n_gpus in (0, 1) else f"{log.n_gpus} x {self.gpu}"
        return f"{engine} with {self.model} on {gpus}: {log.outcome.replace('_', ' ')}"

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return {
            "engine": self.log.engine,
            "version": self.log.version,
            "model": self.model,
            "model_in_log": self.log.model,
            "gpu": self.gpu,
            "n_gpus": self.log.n_gpus,
            "outcome": self.log.outcome,
            "reason": self.log.reason,
            "n_starts": self.log.n_starts,
            "data": [row.to_dict() for row in self.rows],
            "settings": dict(self.log.settings),
            "assumed": list(self.assumed),
            "saved": self.saved,
        }

    def blocks(self) -> list[Block]:
        """Return what was read, the comparison, and the settings of the run."""
        blocks: list[Block] = [Text(self.title, tuple(self._words())), self.comparison()]
        if self.log.settings:
            columns = (Column("setting", "setting"), Column("value", "value"))
            blocks.append(Table("Settings that the log states", columns, tuple(self.log.settings.items())))
        return blocks

    def comparison(self) -> Table:
        """Return measured beside predicted."""
        columns = (
            Column("quantity", "what"),
            Column("per", "of"),
            Column("measured", "measured", 2),
            Column("predicted", "predicted", 2, "not predicted"),
            Column("low", "low", 2, ""),
            Column("high", "high", 2, ""),
            Column("error_frac", "error", 2, ""),
            Column("is_inside", "inside", absent=""),
        )
        notes = (
            "per GPU: the fullest, of KV room the one with the least; low to high is to hold 9 cases of 10",
        )
        return Table("Measured beside predicted", columns, [_cells(row) for row in self.rows], notes)

    def _words(self) -> Iterator[str]:
        judged = [row.is_inside for row in self.rows if row.is_inside is not None]
        yield f"{sum(judged)} of {len(judged)} predictions hold what was measured"
        if self.log.model and self.log.model != self.model:
            yield f"the log names the model {self.log.model}"
        if self.log.reason:
            yield self.log.reason
        if self.log.n_starts > 1:
            yield f"the log holds {self.log.n_starts} starts; this is the last complete one"
        yield from self.assumed
        if self.saved:
            yield self.saved

    def __repr__(self) -> str:
        """Say what was read in one line."""
        return f"<MeasuredRun: {self.title}, {len(self.rows)} figures>"


def _cells(row: Compared) -> tuple[Any, ...]:
    found = row.to_dict()
    if row.error_frac is not None:
        found["error_frac"] = Cell(row.error_frac, f"{row.error_frac:+.1%}")
    if row.is_verdict:
        found["measured"] = Cell(row.case.value, "yes" if row.case.value else "no")
        if row.predicted:
            likely = row.predicted.value
            found |= {"predicted": Cell(likely, f"fits: {chance(likely)}"), "low": None, "high": None}
    return tuple(found.values())
