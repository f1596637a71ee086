"""Rackrate: from a workload to running GPUs at the right price.

    import rackrate
    rackrate.gpu("l40s")                                  # everything on one GPU
    rackrate.offers("l40s", count="2..", country="EU")    # what is for rent
    rackrate.price("l40s", history="90d")                 # what it costs, and did
    rackrate.plan("llama-3.1-70b", rps=2)                 # which one to rent

Names are loaded when they are first used: `import rackrate` itself reads no data and no database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.api import (
        compare,
        gpu,
        gpus,
        model,
        models,
        offers,
        open_market,
        price,
        provider,
        providers,
    )
    from rackrate.errors import NoAnswer, RackrateError, UnknownName, UsageError
    from rackrate.fleet.fleet import Fleet
    from rackrate.memory import fits, models_on
    from rackrate.owning import own
    from rackrate.planning import plan
    from rackrate.speeds import speed

_WHERE = {
    "Fleet": "rackrate.fleet.fleet",
    "NoAnswer": "rackrate.errors",
    "RackrateError": "rackrate.errors",
    "UnknownName": "rackrate.errors",
    "UsageError": "rackrate.errors",
    "compare": "rackrate.api",
    "fits": "rackrate.memory",
    "gpu": "rackrate.api",
    "gpus": "rackrate.api",
    "model": "rackrate.api",
    "models": "rackrate.api",
    "models_on": "rackrate.memory",
    "offers": "rackrate.api",
    "open_market": "rackrate.api",
    "own": "rackrate.owning",
    "plan": "rackrate.planning",
    "price": "rackrate.api",
    "provider": "rackrate.api",
    "providers": "rackrate.api",
    "speed": "rackrate.speeds",
}

__all__ = [
    "Fleet",
    "NoAnswer",
    "RackrateError",
    "UnknownName",
    "UsageError",
    "compare",
    "fits",
    "gpu",
    "gpus",
    "model",
    "models",
    "models_on",
    "offers",
    "open_market",
    "own",
    "plan",
    "price",
    "provider",
    "providers",
    "speed",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'rackrate' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
