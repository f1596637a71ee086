"""How tensors are written down: matrices with their biases, norms and vectors, so many times each."""

from __future__ import annotations

from dataclasses import replace

from rackrate.catalog.architecture.anatomy import Tensor

NORM_VECTORS = {"rms": 1, "layer": 2, "layer-no-bias": 1, "none": 0}
"""Vectors of each kind of norm: an RMSNorm scales, a LayerNorm also shifts."""


class Sheet:
    """A growing list of tensors that stand `count` times in one part of a model.

    Attributes:
        tensors: what was written; views made by `times` write to the same list.
        part: part of the model that the tensors belong to.
        count: how often each stands.
        is_extra: whether engines leave them out.
    """

    __slots__ = ("count", "is_extra", "part", "tensors")

    def __init__(
        self,
        part: str = "language",
        tensors: list[Tensor] | None = None,
        count: int = 1,
        *,
        is_extra: bool = False,
    ) -> None:
        self.tensors: list[Tensor] = [] if tensors is None else tensors
        self.part, self.count, self.is_extra = part, count, is_extra

    def times(self, count: int) -> Sheet:
        """Return a view that writes everything `count` times as often."""
        return Sheet(self.part, self.tensors, self.count * count, is_extra=self.is_extra)

    def matrix(
        self, name: str, role: str, n_in: int, n_out: int, split: str = "whole", *, bias: bool = False
    ) -> None:
        """Write a dense layer from `n_in` to `n_out` features, and its bias where it has one."""
        self._write(name, role, n_out, n_in, split)
        if bias:
            self.vector(f"{name}_bias", n_out)

    def table(self, name: str, n_entries: int, width: int, split: str = "whole") -> None:
        """Write an embedding: a row of `width` numbers for each of `n_entries`."""
        self._write(name, "embedding", n_entries, width, split)

    def conv(
        self, name: str, n_in: int, n_out: int, taps: int, split: str = "whole", *, bias: bool = True
    ) -> None:
        """Write a convolution whose kernel has `taps` points; `n_in` is 1 for a depthwise one."""
        self._write(name, "conv", n_out, n_in * taps, split)
        if bias:
            self.vector(f"{name}_bias", n_out)

    def vector(self, name: str, n: int) -> None:
        """Write a vector of `n` numbers: a bias, a scale, a gate."""
        self._write(name, "norm", 1, n, "whole")

    def small(self, name: str, rows: int, cols: int) -> None:
        """Write a table that no one multiplies by and that stays as precise as a norm."""
        self._write(name, "norm", rows, cols, "whole")

    def norm(self, name: str, width: int, kind: str = "rms") -> None:
        """Write a norm over `width` features, of a kind in `NORM_VECTORS`."""
        vectors = NORM_VECTORS[kind]
        if vectors:
            self.vector(name, width)
        if vectors > 1:
            self.vector(f"{name}_bias", width)

    def extend(self, tensors: list[Tensor] | tuple[Tensor, ...]) -> None:
        """Take over tensors written elsewhere, as often as this sheet writes."""
        self.tensors.extend(replace(t, count=t.count * self.count) for t in tensors)

    def _write(self, name: str, role: str, rows: int, cols: int, split: str) -> None:
        if rows and cols and self.count:
            tensor = Tensor(name, role, rows, cols, self.count, split, self.part, self.is_extra)
            self.tensors.append(tensor)
