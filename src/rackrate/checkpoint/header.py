"""What the weights of a model are, as its files say: every tensor's name, type, shape and bytes.

This is the exact input of a memory figure: nothing is assumed, and not one weight is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

FORMATS = ("safetensors", "gguf")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it lies in a file.

    Attributes:
        name: as the file has it.
        dtype: type as stored: `BF16`, `F8_E4M3`, `I32`, `Q4_K`, ... (safetensors and ggml words).
        shape: elements along each dimension, the outermost first, so that the last is the length of
            a row. GGUF writes it the other way round; here both read alike.
        n_bytes: bytes of its data, block scales of GGUF types included, padding not.
        component: sub-folder of a pipeline that it lies in; empty for a model that is one folder.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int
    component: str = ""

    @property
    def n_elements(self) -> int:
        """Stored elements; of packed weights (eight 4-bit values in an I32) the packs."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """All tensors of a model's files, and what stands beside them.

    Attributes:
        name: of the file, folder or hub repository.
        tensors: every tensor, in the order of the files; none twice within a component.
        config: the config.json beside the files (of a diffusion pipeline its model_index.json); of
            GGUF the metadata, where arrays of text or of tokens are but counted (`LongArray`). Empty
            when there is none.
        files: the weight files read, relative to the folder, in order.
        format: `safetensors` or `gguf`.
        component_configs: the config.json of each component of a pipeline; empty for one folder.
    """

    name: str
    tensors: tuple[StoredTensor, ...]
    config: Mapping[str, Any]
    files: tuple[str, ...]
    format: str
    component_configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of all tensors; what the files hold beside them (headers, padding) is not counted."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @cached_property
    def n_elements(self) -> int:
        """Stored elements of all tensors; the parameters only where no weight is packed."""
        return sum(tensor.n_elements for tensor in self.tensors)

    def bytes_by_dtype(self) -> dict[str, int]:
        """Return the bytes of each stored type, the largest first; they add up to `n_bytes`."""
        return _tally((tensor.dtype, tensor.n_bytes) for tensor in self.tensors)

    def bytes_by_component(self) -> dict[str, int]:
        """Return the bytes of each component, the largest first; they add up to `n_bytes`."""
        return _tally((tensor.component, tensor.n_bytes) for tensor in self.tensors)


def _tally(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, n_bytes in pairs:
        found[key] = found.get(key, 0) + n_bytes
    return dict(sorted(found.items(), key=lambda item: -item[1]))
