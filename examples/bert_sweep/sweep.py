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
from pathlib import Path
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


def variants(n: int = N_VARIANTS, draw: int = 0, **fixed: Any) -> list[dict[str, Any]]:
    """Return so many different variants, drawn from all there are; of each draw the same each time."""
    every = [dict(zip(SHAPES, values, strict=True)) for values in itertools.product(*SHAPES.values())]
    return [{**variant, **fixed} for variant in random.Random(draw).sample(every, n)]  # noqa: S311 - no secret


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


def write_curves(path: Path, events: list[dict[str, Any]]) -> None:
    """Write a row a report: of which trial, at which step, seconds after the first, loss on held-out text."""
    began = min((event["at"] for event in events), default=0.0)
    rows = [
        f"{event['trial']},{event['step']},{event['at'] - began:.2f},{event['loss']:.4f}\n"
        for event in sorted(events, key=lambda event: (event["trial"], event["step"]))
    ]
    path.write_text("trial,step,s,loss\n" + "".join(rows), "utf-8")


def main() -> int:
    """Sweep over the variants on nodes of this machine; several share a GPU."""
    import torch  # noqa: PLC0415 - nodes have it from `bert`

    import rackrate  # noqa: PLC0415 - only the script opens a fleet

    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asks.add_argument("--workers-per-gpu", type=int, default=6, help="nodes that share a GPU")
    asks.add_argument("--nodes", type=int, default=64, help="on the CPU")
    asks.add_argument("--variants", type=int, default=N_VARIANTS)
    asks.add_argument("--draw", type=int, default=0, help="other variants")
    asks.add_argument("--steps", type=int, default=480, help="of each variant")
    asks.add_argument("--prune", default="asha:first=64,eta=3,least=16", help="`none` lets all finish")
    asks.add_argument("--curves", type=Path, metavar="FILE", help="write every reported loss there (CSV)")
    asked = asks.parse_args()
    n_gpus = torch.cuda.device_count()  # makes no context: the nodes are forked after it
    if asked.device == "cuda" and not n_gpus:
        print("this machine has no GPU that PyTorch can use: --device cpu", file=sys.stderr)
        return 2
    n_nodes = n_gpus * asked.workers_per_gpu if asked.device == "cuda" else asked.nodes
    prune = None if asked.prune == "none" else asked.prune
    space = variants(asked.variants, asked.draw, device=asked.device, steps=asked.steps)
    with rackrate.Fleet(nodes=n_nodes, preload=["bert"], boot_timeout_s=120, lease_s=30) as fleet:
        sweep = fleet.sweep(train, space, metric="loss", prune=prune)
        sweep.show()
        print(sweep.best().params, sweep.table().line())
        if asked.curves:
            write_curves(asked.curves, fleet.events().arrived())
    return 0


if __name__ == "__main__":
    sys.exit(main())
