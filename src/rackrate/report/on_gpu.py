"""The answer to "which models run on this card": for each its smallest set-up, or why it does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rackrate.choice import Choice
from rackrate.fit.overhead import Card
from rackrate.fit.solve import Fit
from rackrate.report.block import Cell, Column, count_cell
from rackrate.report.cards import Listing
from rackrate.report.fit import chance

_COLUMNS = (
    Column("model", "model"),
    Column("task", "kind", absent="not known"),
    Column("params_total", "params", absent="not known"),
    Column("verdict", "verdict"),
    Column("gpu_count", "GPUs", 0, ""),
    Column("precision", "precision", absent=""),
    Column("engine", "engine", absent=""),
    Column("weights_gib", "weights GiB", 1, ""),
    Column("kv_gib", "KV GiB", 1, ""),
    Column("overhead_gib", "other GiB", 1, ""),
    Column("usable_gib", "of GiB", 1, ""),
    Column("context_tokens", "context", 0, ""),
    Column("longest_context_tokens", "longest", 0, ""),
    Column("most_concurrent_count", "at once", 0, ""),
    Column("probability_frac", "sure", 2, ""),
    Column("why_not", "why not", absent=""),
)


def on_gpu(
    choices: Sequence[Choice], card: Card, *, task: str, asked: str, most_gpus: int, fits_only: bool = False
) -> Listing:
    """Return one row a model, the most useful first: on one card before several, the larger first.

    Args:
        choices: what is best for each model, `rackrate.choice.best_choice`.
        card: one GPU.
        task: what is done with the models.
        asked: the load, in words.
        most_gpus: cards that were tried at most.
        fits_only: leave out what does not fit; how many is said.
    """
    ordered = sorted(choices, key=_usefulness)
    n_fitting = sum(choice.fit is not None for choice in choices)
    shown = [choice for choice in ordered if choice.fit or not fits_only]
    notes = [
        f"{asked}; up to {most_gpus} cards, 16 bit tried before 8 and 4; each fits with 95% and more",
        f"memory is of the fullest GPU; one {card.gpu} has {card.gib:.2f} GiB ({card.formula})",
        "longest context, tokens, at this load; sequences (images, windows, a GPU's batch) at once",
    ]
    if len(shown) < len(choices):
        notes.append(f"{len(choices) - len(shown)} that do not fit are left out")
    rough = [c.model for c in shown if (fit := c.fit or c.nearest) and fit.arch.assumptions]
    if rough:
        notes.append(f"roughly, their config being unknown: {', '.join(rough)}")
    title = f"{card.gpu}, {task}: {n_fitting} of {len(choices)} models fit"
    return Listing(title, _COLUMNS, tuple(map(_row, shown)), tuple(notes))


def _usefulness(choice: Choice) -> tuple[int, float, str]:
    fit = choice.fit or choice.nearest
    n_gpus = choice.fit.setup.layout.n_gpus if choice.fit else 1 << 20  # what does not fit comes last
    return n_gpus, -fit.arch.n_params if fit else 0.0, choice.model


def _row(choice: Choice) -> tuple[Any, ...]:
    fit = choice.fit or choice.nearest
    if fit is None:
        return (choice.model, None, None, "not known", *[None] * 11, choice.why_not)
    found, arch = fit.estimate, fit.arch
    weights, kv = float(found.gib("weights")), float(found.gib("KV cache"))
    has_context = arch.task not in ("image", "asr")
    reach = (
        (fit.longest_context if has_context else None, fit.most_concurrent) if choice.fit else (None, None)
    )
    return (
        choice.model,
        arch.task,
        count_cell(arch.n_params),
        fit.verdict,
        fit.setup.layout.n_gpus,
        fit.setup.precision.name,
        fit.setup.engine.name,
        weights,
        kv if arch.caches and not fit.setup.is_training else None,
        float(found.total.gib) - weights - kv,
        found.limit_gib,
        fit.load.context if has_context else None,
        *reach,
        Cell(fit.probability, chance(fit.probability)),
        None if choice.fit else why_not(fit),
    )


def why_not(fit: Fit) -> str:
    """Say by how much it misses, with what narrowest set-up, and what takes the most."""
    over = float(fit.total.gib) - fit.estimate.limit_gib
    largest = max(fit.estimate.terms, key=lambda term: float(term.gib))
    much = f"{over:.1f} GiB too much" if over > 0 else f"only {-over:.1f} GiB free, less than the doubt"
    return f"{much}: {largest.name} {float(largest.gib):.1f} GiB on each of {fit.setup.layout.n_gpus}"
