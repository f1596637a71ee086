"""The demo: 64 BERT variants, each on a node of its own, trained on the same patent claims.

    rackrate sweep examples/bert_sweep/sweep.py --nodes 64 --metric loss --prune asha --preload bert
    python examples/bert_sweep/sweep.py --device cuda --workers-per-gpu 6

`train` is what a node runs; of Rackrate it knows `report` and `checkpoint`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
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


def main() -> int:
    """Sweep over the variants on nodes of this machine; several share a GPU."""
    import torch  # noqa: PLC0415 - nodes have it from `bert`

    import rackrate  # noqa: PLC0415 - only the script opens a fleet

    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asks.add_argument("--workers-per-gpu", type=int, default=6, help="nodes that share a GPU")
    asks.add_argument("--nodes", type=int, default=64, help="on the CPU")
    asks.add_argument("--variants", type=int, default=N_VARIANTS)
    asks.add_argument("--steps", type=int, default=480, help="of each variant")
    asks.add_argument("--prune", default="asha:first=64,eta=3", help="`none` lets all finish")
    asked = asks.parse_args()
    n_gpus = torch.cuda.device_count()  # makes no context: the nodes are forked after it
    if asked.device == "cuda" and not n_gpus:
        print("this machine has no GPU that PyTorch can use: --device cpu", file=sys.stderr)
        return 2
    n_nodes = n_gpus * asked.workers_per_gpu if asked.device == "cuda" else asked.nodes
    prune = None if asked.prune == "none" else asked.prune
    space = variants(asked.variants, device=asked.device, steps=asked.steps)
    with rackrate.Fleet(nodes=n_nodes, preload=["bert"], boot_timeout_s=120, lease_s=30) as fleet:
        sweep = fleet.sweep(train, space, metric="loss", prune=prune)
        sweep.show()
        print(sweep.best().params, sweep.table().line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
