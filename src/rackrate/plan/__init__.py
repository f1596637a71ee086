"""Which one, and rent or own: what follows from facts, prices, memory and speed, without reading any of them.

The package is a question too: `rackrate.plan("llama-3.1-70b", rps=2)` is `rackrate.planning.plan`. Python
puts a package that was imported in the place of a function of its name, so this one can be called.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Question(ModuleType):
    def __call__(self, what: str = "", **fields: Any) -> Any:
        return import_module("rackrate.planning").plan(what, **fields)


sys.modules[__name__].__class__ = _Question
