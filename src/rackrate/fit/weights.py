"""What the weights take: the sum over tensors of elements x bits, and what engines add to it.

The sum is exact for a checkpoint whose rules are known (see `precision`). Engines change it: vLLM
pads the vocabulary and the experts of MXFP4 checkpoints, llama.cpp leaves the embedding on the host.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.fit.formats import FORMATS
from rackrate.fit.parallel import ONE_GPU, Layout, share
from rackrate.fit.precision import Precision
from rackrate.fit.term import GIB, Term

VOCABULARY_PAD = 64  # vLLM's VocabParallelEmbedding
VISION_SIGMA_GIB = 0.25  # what vLLM adds to a model with eyes: 0 to 0.55 GiB (Gemma 3), of unknown origin
MXFP4_PAD = 256  # vLLM rounds the inner width of MXFP4 experts up to what its kernels take


@lru_cache(maxsize=4096)
def weight_bytes(
    arch: Architecture, precision: Precision, layout: Layout = ONE_GPU, engine: str = ""
) -> float:
    """Return the bytes of the weights on the fullest GPU.

    Args:
        arch: the model.
        precision: how it is stored.
        layout: how it is spread.
        engine: whose habits to follow; none by default, which gives the files' own size.
    """
    total = 0.0
    for tensor in arch.tensors:
        if tensor.is_extra or _is_elsewhere(tensor, arch, engine):
            continue
        stored = _as_engine_stores(tensor, precision, layout, engine)
        size = precision.bytes_of(stored, arch)
        if engine in ("transformers", "torch"):
            size += _rounding(size / stored.count) * stored.count
        total += size * share(tensor, arch, layout)
    if engine == "vllm" and arch.caches:  # a table of sines, 14.99 GiB seen of Llama 3.1 8B and 14.96 without
        total += 2.0 * arch.max_context * arch.main.head_dim
    return total


def _rounding(size: float) -> float:
    """Return what torch's allocator adds to a tensor: blocks of 2 MiB from 10 MiB on, cut if 1 MiB is left.

    0.145 GiB of Qwen2.5 14B's 27.65, 0.053 of Qwen3 4B's 7.55, nothing of Llama's (measured, H100).
    """
    left = -size % (2 << 20)
    return left if size >= 10 << 20 and left <= 1 << 20 else 0.0


def _is_elsewhere(tensor: Tensor, arch: Architecture, engine: str) -> bool:
    """Tell whether the GPU never sees a tensor: llama.cpp looks tokens up on the host."""
    if engine != "llama.cpp":
        return False
    is_read_back = arch.task != "encoder" and not any(t.role == "head" for t in arch.tensors)
    return tensor.role == "embedding" and not is_read_back


def _as_engine_stores(tensor: Tensor, precision: Precision, layout: Layout, engine: str) -> Tensor:
    if engine != "vllm":
        return tensor
    if tensor.split == "vocab":
        return replace(tensor, rows=_padded(tensor.rows, VOCABULARY_PAD * layout.tensor))
    if tensor.role == "experts" and precision.matrix == "mxfp4":
        if tensor.name.startswith("ffn_down"):
            return replace(tensor, cols=_padded(tensor.cols, MXFP4_PAD))
        return replace(tensor, rows=_padded(tensor.rows, MXFP4_PAD))
    return tensor


def _padded(n: int, step: int) -> int:
    return -(-n // step) * step


@lru_cache(maxsize=4096)
def weights_term(
    arch: Architecture, precision: Precision, layout: Layout, engine: str, stored_bytes: int = 0
) -> Term:
    """Return the weights of one GPU with their error.

    Args:
        arch: the model.
        precision: how it is stored.
        layout: how it is spread.
        engine: whose habits to follow.
        stored_bytes: of the tensors in the files, where these were read: then the rules only tell how
            they are shared out.
    """
    gib = weight_bytes(arch, precision, layout, engine) / GIB
    if stored_bytes:
        gib *= stored_bytes / weight_bytes(arch, precision)
        return Term("weights", gib, 0.003 * gib, "as the files hold them", "the files' headers")
    guessed = 0.04 if arch.assumptions else 0.0
    how = f"{arch.n_params / 1e9:.2f}B parameters, linear layers at {precision.bits:.3g} bits"
    if layout.tensor * layout.pipeline * layout.expert > 1:
        how += f", one GPU's share of {layout}"
    several = 0.03 if layout.n_gpus > 1 else 0.0  # what engines copy to each GPU beside its share
    eyes = VISION_SIGMA_GIB if engine == "vllm" and arch.vision_tokens else 0.0
    sigma = (gib**2 * (precision.error_frac**2 + guessed**2) + 0.01**2 + several**2 + eyes**2) ** 0.5
    return Term("weights", gib, sigma, how, "sum over tensors of elements x bits")


@lru_cache(maxsize=4096)
def largest_matrix_bytes(arch: Architecture, layout: Layout = ONE_GPU) -> float:
    """Return the bytes of the largest linear matrix in 16 bit: what a dequantisation buffer holds."""
    sizes = [
        t.rows * t.cols * share(t, arch, layout) * (t.count if t.role == "experts" else 1)
        for t in arch.tensors
        if t.role in ("attention", "mlp")
    ]
    return max(sizes, default=0.0) * FORMATS["bf16"].bits / 8
