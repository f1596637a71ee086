"""How a model is spread over GPUs, and what of a tensor the fullest of them holds."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture, Cache, Tensor
from rackrate.errors import UsageError


@dataclass(frozen=True, slots=True)
class Layout:
    """How many GPUs share what.

    Attributes:
        tensor: GPUs that share every layer.
        pipeline: groups of GPUs that hold a run of layers each.
        expert: GPUs that share the experts out whole; they are among the tensor and data GPUs.
        data: groups that each serve or train on their own part of the data.
        shard: what data-parallel training shares out: 0 nothing (DDP), 1 optimiser states, 2 gradients
            too, 3 weights too (ZeRO stages; FSDP is 3).
    """

    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    data: int = 1
    shard: int = 0

    def __post_init__(self) -> None:
        for name in ("tensor", "pipeline", "expert", "data"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} parallel {getattr(self, name)} is below 1", hint="give 1 or more")
        if self.shard not in (0, 1, 2, 3):
            raise UsageError(f"ZeRO stage {self.shard} is none of 0, 1, 2, 3", hint="FSDP is stage 3")

    @property
    def n_gpus(self) -> int:
        """GPUs in all."""
        return max(self.tensor * self.pipeline * self.data, self.expert)

    @property
    def shared(self) -> int:
        """GPUs that hold one copy of the model together; copies of a model never speak to each other."""
        return max(self.tensor, self.pipeline, self.expert)

    def __str__(self) -> str:
        """Write it as people do: `TP2 PP2`."""
        parts = {"TP": self.tensor, "PP": self.pipeline, "EP": self.expert, "DP": self.data}
        words = [f"{name}{n}" for name, n in parts.items() if n > 1]
        if self.data > 1 and self.shard:
            words.append(f"ZeRO-{self.shard}")
        return " ".join(words) or "1 GPU"


ONE_GPU = Layout()


def share(tensor: Tensor, arch: Architecture, layout: Layout) -> float:
    """Return the part of `tensor` that the fullest GPU holds, 0 to 1.

    Column and row matrices are cut evenly; key heads that are fewer than the GPUs are copied; experts go
    whole to a GPU under expert parallelism and are cut otherwise; a pipeline stage holds a run of layers
    and the first and last stage the embedding and the output matrix.
    """
    part = 1.0
    if tensor.split in ("column", "row", "vocab"):
        part /= layout.tensor
    elif tensor.split == "kv":
        heads = max(arch.main.n_kv_heads, 1)
        part *= -(-heads // layout.tensor) / heads if layout.tensor < heads else 1 / heads
    elif tensor.split == "expert":
        part /= max(layout.tensor, layout.expert)
    if tensor.part == "language" and tensor.role not in ("embedding", "head"):
        n_layers = max(arch.main.n_layers, 1)
        part *= -(-n_layers // layout.pipeline) / n_layers
    return part


def kv_heads_on_gpu(cache: Cache, layout: Layout) -> int:
    """Return the key heads of a layer whose cache one GPU holds: at least one, latent ones whole."""
    if cache.kind == "latent":
        return 1
    return -(-cache.n_kv_heads // layout.tensor)


def layers_on_gpu(n_layers: int, layout: Layout) -> int:
    """Return the layers of a kind that the fullest pipeline stage holds."""
    return -(-n_layers // layout.pipeline)
