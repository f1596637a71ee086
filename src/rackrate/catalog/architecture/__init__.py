"""What a model is made of: its weight tensors, the stacks of layers, what each layer remembers.

anatomy.py   the words: Tensor, Cache, Stack, Architecture
"""

from __future__ import annotations

from rackrate.catalog.architecture.anatomy import Architecture, Cache, Stack, Tensor

__all__ = ["Architecture", "Cache", "Stack", "Tensor"]
