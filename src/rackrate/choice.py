"""The best way to run each model on a card: the fewest cards, and on them the widest precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.errors import NoAnswer, UsageError
from rackrate.fit.setup import choose_engine
from rackrate.fit.solve import SURE, Fit
from rackrate.sizing import Weights, Wish, fits, model_of


@dataclass(frozen=True)
class Choice:
    """The best way to run a model on a card, or why there is none.

    Attributes:
        model: slug.
        name: of the model.
        fit: the smallest count with the widest precision that fits; None when none does.
        nearest: what came nearest, where none fits.
        why_not: in words, where the model cannot be judged at all.
    """

    model: str
    name: str
    fit: Fit | None
    nearest: Fit | None = None
    why_not: str = ""

    def sketch(self) -> Sketch:
        """Return what is kept of it where there are many."""
        fit = self.fit
        if fit is None:
            return Sketch(self.model, self.name)
        return Sketch(
            self.model, self.name, fit.setup.layout.n_gpus, fit.setup.precision.name, float(fit.arch.n_params)
        )


@dataclass(frozen=True, slots=True)
class Sketch:
    """A choice without its sums, a hundredth of its size: enough to count, to sort and to filter by.

    Attributes:
        model: slug.
        name: of the model.
        n_gpus: cards of the set-up; 0 where none fits.
        precision: of its weights; empty where none fits.
        n_params: parameters of what fits.
    """

    model: str
    name: str
    n_gpus: int = 0
    precision: str = ""
    n_params: float = 0.0


COUNTS = (1, 2, 4, 8)
WIDEST_FIRST = ("bf16", "fp8", "int8", "int4")


def best_choice(
    model: str,
    gpu: str,
    *,
    task: str = "inference",
    context: int | None = None,
    concurrency: int = 1,
    most_gpus: int = COUNTS[-1],
) -> Choice:
    """Return the smallest number of cards and the widest precision at which a model fits.

    Args:
        model: of the catalog.
        gpu: name of a card, without a count.
        task: `inference`, `full`, `lora` or `qlora`.
        context: tokens of a sequence, cut to what a model was made for; None for the usual.
        concurrency: sequences at once.
        most_gpus: cards at most.

    Raises:
        UnknownName: a model, GPU or task that is not there.
    """
    found = model_of(model)
    try:
        weights = Weights(best_architecture(found))
        choose_engine(weights.arch, task)
    except (NoAnswer, UsageError) as error:
        return Choice(found.slug, found.name, None, why_not=error.message)
    longest = weights.arch.max_context
    asked = min(context, longest) if context and longest else context
    miss = None
    for count in (count for count in COUNTS if count <= most_gpus):
        for precision in _precisions(weights.arch, task):
            wish = Wish(task=task, precision=precision)
            fit = fits(weights, f"{gpu}:{count}", context=asked, concurrency=concurrency, wish=wish)
            if fit.probability >= SURE:
                return Choice(found.slug, found.name, fit)
            miss = fit
    return Choice(found.slug, found.name, None, miss)


def _precisions(arch: Architecture, task: str) -> Iterable[str]:
    if task == "qlora":
        return ("nf4-dq",)
    if task != "inference" or arch.task in ("encoder", "asr"):
        return ("bf16",)
    return ("bf16", "int8", "nf4") if arch.task == "image" else WIDEST_FIRST
