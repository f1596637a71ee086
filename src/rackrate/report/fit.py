"""The answer to "does it fit": verdict, terms against the limit, how far it goes, and what would help.

A verdict never stands without what it was asked for: context, load, engine and version, precision,
cache and GPUs are written beside it, defaults included. Memory is GiB of the fullest GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from rackrate.catalog.load import sources
from rackrate.fit.solve import MOST_CONCURRENT, SURE, Fit, probability_beside
from rackrate.fit.term import Z90
from rackrate.fit.ways import Way
from rackrate.report.block import Block, Cell, Column, Stack, Table, Text
from rackrate.report.shown import Shown

if TYPE_CHECKING:
    from rackrate.fit.cases import Case

_SEQUENCES = {"image": "images", "asr": "windows of 30 s"}


@dataclass(frozen=True)
class FitAnswer(Shown):
    """Whether a model fits, and why.

    Attributes:
        fit: verdict, terms and limits.
        ways: the nearest changes that make it fit; empty when it does.
        measured: what the user measured of this model, engine and GPU before; empty when nothing.
    """

    fit: Fit
    ways: tuple[Way, ...]
    measured: tuple[Case, ...] = ()

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `does not fit`."""
        return self.fit.verdict

    @property
    def title(self) -> str:
        """Model, GPUs, verdict and probability in one line."""
        return f"{self.fit.arch.name} on {_gpus(self.fit)}: {self.verdict} ({chance(self.fit.probability)})"

    @property
    def asked(self) -> str:
        """All that the verdict depends on, in one line: load, engine, precision, cache, layout."""
        setup = self.fit.setup
        is_mixed = setup.training is not None and setup.training.is_mixed
        weights = "32-bit weights, 16-bit work" if is_mixed else f"{setup.precision.name} weights"
        parts = [_load(self.fit), *_engine(self.fit), weights]
        if self.fit.arch.caches and not setup.is_training:
            parts.append(f"{setup.kv} KV cache")
        parts.append(_layout(self.fit))
        return ", ".join(parts)

    def plot(self) -> Any:
        """Return the terms of memory as an Altair chart.

        Raises:
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - a heavy extra

        return chart.memory(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data; what a task does not have is None."""
        fit, found = self.fit, self.fit.to_dict()
        if not _has_context(fit):
            found |= {"context_tokens": None, "longest_context_tokens": None}
        if _is_image(fit):
            found["pixels"] = fit.load.pixels
        if fit.arch.task == "asr":
            found["beams"] = fit.load.beams
        return found | {
            "memory_fraction": fit.setup.memory_fraction,
            "asked": self.asked,
            "ways": [way.to_dict() for way in self.ways],
            "measured": [case.to_row() for case in self.measured],
        }

    def blocks(self) -> list[Block]:
        """Return the verdict, the stack of memory, the terms, and what would help."""
        blocks: list[Block] = [Text(self.title, (self.asked, *self._reach())), self.stack(), self.terms()]
        if self.ways:
            blocks.append(self._ways())
        elif self.verdict != "fits":
            blocks.append(Text("What would make it fit", ("nothing that Rackrate knows, up to 64 GPUs",)))
        if self.fit.assumptions:
            blocks.append(Text("Assumed", self.fit.assumptions))
        if self.measured:
            blocks.append(self._measured())
        return blocks

    def stack(self) -> Stack:
        """Return the terms on top of each other, the largest first."""
        limit, total = self.fit.estimate.limit_gib, float(self.fit.total.gib)
        left = limit - total
        says = f"{left:.2f} GiB free" if left >= 0 else f"{-left:.2f} GiB too much"
        return Stack(
            f"Memory of {'the fullest' if self.fit.setup.layout.n_gpus > 1 else 'the'} GPU: "
            f"{total:.2f} of {limit:.2f} GiB, {says}",
            tuple((term.name, float(term.gib)) for term in self._by_size()),
            limit,
            self.fit.card.gib,
            "GiB",
        )

    def terms(self) -> Table:
        """Return each term with its range, share, formula and source; then the total, limit and card."""
        columns = (
            Column("name", "what"),
            Column("low_gib", "low GiB", 2),
            Column("gib", "GiB", 2),
            Column("high_gib", "high GiB", 2),
            Column("share_frac", "share", 2, absent=""),
            Column("formula", "how"),
            Column("source", "source"),
        )
        total, card, fraction = self.fit.total, self.fit.card, self.fit.setup.memory_fraction
        limit, sigma = self.fit.estimate.limit_gib, self.fit.estimate.limit_sigma_gib
        rows: list[tuple[Any, ...]] = [
            (
                term.name,
                term.low_gib,
                float(term.gib),
                term.high_gib,
                _share(float(term.gib) / float(total.gib)),
                term.formula,
                term.source,
            )
            for term in self._by_size()
        ]
        how = f"{fraction:.0%} of the card, as {self.fit.setup.engine.name} takes it"
        rows += [
            ("total", total.low_gib, float(total.gib), total.high_gib, _share(1.0), "sum", "the rows above"),
            *(
                (name, gib - Z90 * of, gib, gib + Z90 * of, None, words, source)
                for name, gib, of, words, source in (
                    ("limit", limit, sigma, how, "the engine's setting"),
                    ("card", card.gib, card.sigma_gib, card.formula, _titled(card.source)),
                )
            ),
        ]
        notes = ("low to high holds the truth in 9 cases of 10; share is of the total",)
        return Table("Where it goes", columns, rows, notes)

    def _by_size(self) -> list[Any]:
        return sorted(self.fit.estimate.terms, key=lambda term: -float(term.gib))

    def _reach(self) -> Iterator[str]:
        """Yield how far it would still fit, in the words of the task."""
        fit = self.fit
        most, longest = fit.most_concurrent, fit.longest_context
        if _has_context(fit):
            here = "longest sequence" if fit.setup.is_training else "longest context"
            of_model = ", all that the model was made for" if longest == fit.arch.max_context else ""
            yield f"{here} at this load: {f'{longest:,} tokens{of_model}' if longest else 'none'}"
        what = f"most {_SEQUENCES.get(fit.arch.task, 'sequences')} at once"
        if fit.setup.is_training:
            what = "largest batch of a GPU"
        same = " at this context" if _has_context(fit) else ""
        more = " or more" if most == MOST_CONCURRENT else ""
        yield f"{what}{same}: {f'{most:,}{more}' if most else 'none'}"
        beside = fit.estimate.beside
        if beside and probability_beside(fit.estimate) < SURE:
            yield (
                f"beside its {fit.setup.memory_fraction:.0%} of the card {fit.setup.engine.name} takes about "
                f"{beside.gib:.2f} GiB ({beside.formula}); {fit.estimate.left_gib:.2f} GiB are left for it"
            )
        largest = self._by_size()[0]
        share = float(largest.gib) / float(fit.total.gib)
        yield f"largest term: {largest.name}, {float(largest.gib):.2f} GiB, {share:.0%} of the total"

    def _ways(self) -> Table:
        columns = (
            Column("change", "change"),
            Column("total_gib", "GiB then", 2),
            Column("limit_gib", "of GiB", 2),
            Column("probability", "fits"),
            Column("price", "at the price of"),
        )
        rows = []
        for way in self.ways:
            sure = Cell(way.probability, chance(way.probability))
            rows.append((way.change, float(way.total.gib), way.limit_gib, sure, way.price))
        return Table("What would make it fit", columns, rows)

    def _measured(self) -> Table:
        columns = (
            Column("quantity", "measured"),
            Column("value", "value", 2),
            Column("per", "of"),
            Column("engine", "engine"),
            Column("precision", "precision"),
            Column("gpu", "GPU"),
            Column("gpu_count", "n", 0),
            Column("context", "context", 0),
            Column("note", "set to", absent=""),
        )
        rows = [
            tuple(
                _measured_value(case) if column.key == "value" else getattr(case, column.key)
                for column in columns
            )
            for case in self.measured
        ]
        title = "The nearest run in your calibration file"
        return Table(title, columns, rows, (f"from {self.measured[0].source}",))

    def __repr__(self) -> str:
        """Say the verdict and the figures in one line."""
        total, limit = float(self.fit.total.gib), self.fit.estimate.limit_gib
        return f"<FitAnswer: {self.title}, {total:.2f} of {limit:.2f} GiB>"


def chance(probability: float) -> str:
    """Write a probability so that what is nearly sure does not look certain."""
    if probability > 0.99:  # noqa: PLR2004 - what would round to 100 %
        return "over 99%"
    return "under 1%" if probability < 0.01 else f"{probability:.0%}"  # noqa: PLR2004


def _measured_value(case: Case) -> float | Cell:
    """Return what was measured; of a verdict, which has no unit in its name, as yes or no."""
    if case.quantity in ("fits", "oom"):
        return Cell(case.value, "yes" if case.value else "no")
    return case.value


def _titled(source: str) -> str:
    """Return the title of a source of the catalog; another text as it is."""
    found = sources().get(source)
    return found.title if found else source


def _gpus(fit: Fit) -> str:
    n = fit.setup.layout.n_gpus
    return fit.card.gpu if n == 1 else f"{n} x {fit.card.gpu}"


def _has_context(fit: Fit) -> bool:
    return fit.arch.task not in ("image", "asr")


def _is_image(fit: Fit) -> bool:
    return fit.arch.task == "image"


def _load(fit: Fit) -> str:
    n, load = fit.load.concurrency, fit.load
    if fit.setup.is_training:
        what, size = (
            ("image", _size(load.pixels)) if _is_image(fit) else ("sequence", f"{load.context:,} tokens")
        )
        return f"{_method(fit)}, {_count(n, what)} of {size} a GPU"
    if _is_image(fit):
        return f"{_count(n, 'image')} of {_size(load.pixels)}"
    if fit.arch.task == "asr":
        return f"{_count(n, 'window')} of 30 s, {_count(load.beams, 'beam')}"
    return f"{_count(n, 'sequence')} of {load.context:,} tokens"


def _method(fit: Fit) -> str:
    how = fit.setup.training
    if how is None or how.method == "full":
        return "full fine-tuning"
    targets = ", ".join(how.targets) or "all linear layers"
    return f"{'QLoRA' if how.method == 'qlora' else 'LoRA'} of rank {how.rank} on {targets}"


def _engine(fit: Fit) -> Iterator[str]:
    setup = fit.setup
    yield setup.named() + (
        f" with {setup.memory_fraction:.0%} of the card" if setup.memory_fraction < 1 else ""
    )
    if setup.training:
        how = setup.training
        yield how.optimiser
        yield "checkpointing" if how.has_checkpointing else "no checkpointing"
        yield f"{how.loss} loss"
        if how.attention != "flash":
            yield f"{how.attention} attention"
    elif setup.engine.name in ("vllm", "sglang"):
        seats = setup.seats(fit.card, fit.load.context)
        chunk = setup.chunk_tokens(fit.card, fit.load.context)
        said = f"{seats:,} sequences" if seats else "as many sequences as fit"
        yield f"{said} and {chunk:,} tokens a step" if chunk else said
        yield "no CUDA graphs" if setup.is_eager else "CUDA graphs"
    elif _is_image(fit):
        yield f"offload {setup.offload}"
    elif fit.arch.task != "asr":
        yield "flash attention" if setup.has_flash_attention else "no flash attention"


def _layout(fit: Fit) -> str:
    layout = fit.setup.layout
    return "1 GPU" if layout.n_gpus == 1 else f"{layout.n_gpus} GPUs ({layout})"


def _size(pixels: int) -> str:
    side = isqrt(pixels)
    return f"{side}x{side}" if side * side == pixels else f"{pixels:,} pixels"


def _share(frac: float) -> Cell:
    return Cell(frac, f"{frac:.0%}")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + "s" * (n != 1)
