"""How much work is in a model's layers, whatever the GPU?

Two numbers say it: the arithmetic of the matrices, and how many numbers these write. Norms, activations
and copies do next to no arithmetic, but they read and write every one of those numbers again: their time
follows the bandwidth of the memory, and an engine that fuses kernels saves that part and not the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from rackrate.catalog.architecture import Architecture, Stack, Tensor
from rackrate.errors import NoAnswer

_WEIGHTLESS = ("embedding", "norm")  # looked up, or a vector: no product


@dataclass(frozen=True, slots=True)
class Work:
    """What one pass does.

    Attributes:
        flop: multiplications and additions of its matrices and of its attention.
        numbers: results that the matrices write.
    """

    flop: float = 0.0
    numbers: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.numbers + other.numbers)

    def times(self, n: float) -> Work:
        """Return the work of `n` such passes."""
        return Work(self.flop * n, self.numbers * n)


def product(tensor: Tensor, tokens: float) -> Work:
    """Return the work of a tensor that `tokens` tokens, or points of an image, pass through.

    >>> product(Tensor("up", "mlp", rows=4, cols=3), tokens=2)
    Work(flop=48.0, numbers=8.0)
    """
    if tensor.role in _WEIGHTLESS or tensor.is_extra or tensor.rows <= 1:
        return Work()
    return Work(2.0 * tensor.n_params * tokens, float(tensor.rows * tensor.count * tokens))


def products(tensors: Iterable[Tensor], tokens: float) -> Work:
    """Return the work of tensors that the same tokens pass through."""
    found = Work()
    for tensor in tensors:
        found += product(tensor, tokens)
    return found


def attention(n_layers: int, n_queries: float, n_keys: float, width: int) -> Work:
    """Return the work of attention: scores of all queries with all keys, and the sum of the values.

    The scores are not counted as written: fused kernels keep them in the chip.
    """
    return Work(4.0 * n_layers * n_queries * n_keys * width)


@cache
def encoder_pass(arch: Architecture, part: str, stack: str, tokens: float) -> Work:
    """Return the work of an encoder over one sequence: all tokens see all others.

    Args:
        arch: the model.
        part: whose tensors are meant.
        stack: name of the encoder's stack.
        tokens: of the sequence.

    Raises:
        NoAnswer: the model has no such stack.
    """
    of = stack_named(arch, stack)
    tensors = [tensor for tensor in arch.tensors if tensor.part == part and tensor.role != "head"]
    return products(tensors, tokens) + attention(of.n_layers, tokens, tokens, of.q_size)


def stack_named(arch: Architecture, name: str) -> Stack:
    """Return a stack of a model.

    Raises:
        NoAnswer: it has none of that name.
    """
    for stack in arch.stacks:
        if stack.name == name:
            return stack
    hint = f"it has {', '.join(stack.name for stack in arch.stacks) or 'no layers that are known'}"
    raise NoAnswer(f"{arch.name} has no {name}", hint=hint)
