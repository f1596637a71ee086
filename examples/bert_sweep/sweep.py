"""The demo: 64 BERT variants, each on a node of its own, trained on the same patent claims.

    rackrate sweep examples/bert_sweep/sweep.py --nodes 64 --metric loss --prune asha --preload bert

`train` is what a node runs; of Rackrate it knows `report` and `checkpoint`.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

N_VARIANTS = 64
SHAPES = {
    "layers": (1, 2, 3),
    "width": (32, 48, 64),
    "heads": (2, 4),
    "seq": (32, 48),
    "batch": (8, 16),
    "lr": (5e-4, 2e-3, 4e-3, 8e-3),
}


def variants(n: int = N_VARIANTS, **fixed: Any) -> list[dict[str, Any]]:
    """Return so many different variants, drawn from all there are; the same each time."""
    every = [dict(zip(SHAPES, values, strict=True)) for values in itertools.product(*SHAPES.values())]
    return [{**variant, **fixed} for variant in random.Random(0).sample(every, n)]  # noqa: S311 - no secret


VARIANTS = variants()


def train(params: dict[str, Any]) -> None:
    """Train one variant; go on where an earlier attempt of it was."""
    import torch  # noqa: PLC0415 - on the node, where it is loaded already
    from bert import Training, Variant  # noqa: PLC0415
    from corpus import prepared  # noqa: PLC0415

    from rackrate import fleet  # noqa: PLC0415

    torch.set_num_threads(1)
    training = Training(
        Variant.of(params),
        prepared(params.get("corpus", ""), params.get("n_texts", 2000), params.get("n_words", 1024)),
        params.get("device", "cpu"),
        is_compiled=params.get("is_compiled", False),
        saved=fleet.checkpoint(),
    )
    training.run(
        lambda step, held_out, loss: fleet.report(step, loss=held_out, train_loss=loss), fleet.checkpoint
    )
