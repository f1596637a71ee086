"""Draw cases whose verdict can be wrong: near what a card holds, by lot, before they are measured.

    python bench/gpu/draw_limits.py --seed 7 --n 44 > bench/gpu/results/limits-7.jsonl  # --least, --most
    python bench/gpu/measure_memory.py --cases bench/gpu/results/limits-7.jsonl --out ...

A lot decides on workload, model, batch, optimiser and on how much of the card the case is to take, as a rule
0.85 to 1.15 of it; the length that the memory model thinks takes as much is the case's. So about half of
them should run, and what the model says of each was fixed before anybody knew.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from cases import FULL, INFERENCE, LORA, Case
from shapes import MODELS, written

from rackrate.fit.training import Training
from rackrate.sizing import Wish, fits

GPU = "h100-sxm"
STEP, SHORTEST, LONGEST = 256, 256, 65536  # tokens
_OPTIMISERS = {"adamw-fused": "adamw", "adamw": "adamw", "sgd": "sgd"}
_DECODERS = tuple(
    name for name in MODELS if name.startswith(("llama", "qwen", "mistral", "gemma", "smollm", "falcon"))
)


def drawn(lot: random.Random, least: float, most: float) -> Case | None:
    """Return a case by lot that takes `least` to `most` of the card; None where no length does."""
    workload = lot.choice((INFERENCE, FULL, LORA))
    case = Case(
        workload,
        lot.choice(_DECODERS),
        batch=lot.choice((1, 2, 4, 8)),
        optimiser=lot.choice(tuple(_OPTIMISERS)) if workload == FULL else "adamw-fused",
        checkpointing=workload != INFERENCE and lot.random() < 0.5,  # noqa: PLR2004 - one of two
    )
    share = lot.uniform(least, most)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(written(MODELS[case.model])), encoding="utf-8")
        low, high = SHORTEST // STEP, LONGEST // STEP
        while low < high:  # the shortest that takes so much
            middle = (low + high) // 2
            if _share(case, config, middle * STEP) < share:
                low = middle + 1
            else:
                high = middle
        if not least <= _share(case, config, low * STEP) <= most * 1.05:
            return None
    return _with_tokens(case, low * STEP)


def _with_tokens(case: Case, tokens: int) -> Case:
    values = {field.name: getattr(case, field.name) for field in fields(case)}
    return Case(**{**values, "tokens": tokens})


def _share(case: Case, config: Path, tokens: int) -> float:
    """Return what a case takes of the card, as the memory model has it."""
    training = Training(
        method={FULL: "full", LORA: "lora"}.get(case.workload, "full"),
        optimiser=_OPTIMISERS[case.optimiser],
        has_checkpointing=case.checkpointing,
        has_dropout=False,
    )
    is_training = case.workload != INFERENCE
    wish = Wish(
        task=training.method if is_training else "inference",
        precision="bf16",
        engine="transformers",
        training=training if is_training else None,
    )
    found = fits(str(config), GPU, context=tokens, concurrency=case.batch, wish=wish)
    return float(found.total.gib) / found.estimate.limit_gib


def cases(seed: int, n: int, least: float, most: float) -> Iterator[Case]:
    """Yield `n` cases that take `least` to `most` of the card, each once."""
    lot = random.Random(seed)  # noqa: S311 - repeatable on purpose
    seen: set[Case] = set()
    while len(seen) < n:
        case = drawn(lot, least, most)
        if case and case not in seen:
            seen.add(case)
            yield case


def main() -> None:
    """Print the cases, a JSON object of what is not the default a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--n", type=int, default=44)
    parser.add_argument("--least", type=float, default=0.85, help="share of the card")
    parser.add_argument("--most", type=float, default=1.15)
    options = parser.parse_args()
    for case in cases(options.seed, options.n, options.least, options.most):
        said = {f.name: getattr(case, f.name) for f in fields(case) if getattr(case, f.name) != f.default}
        sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
