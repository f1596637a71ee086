"""Run it there: nodes that live while their owner wants them, and not a moment longer than promised.

    with rackrate.Fleet(nodes=4) as fleet:       # `fleet.fleet`
        fleet.map(train, variants)
        fleet.sweep(train, variants, metric="loss", prune="asha").best()
    rackrate.fleet.report(step=1, loss=0.5)      # inside `train`
    @rackrate.fleet.task(nodes=(0, 4))           # one function, on a pool of its own

Needs the extra `fleet`; nothing outside of this part does.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rackrate.errors import UsageError

if TYPE_CHECKING:
    from rackrate.fleet.events import Pruned, report
    from rackrate.fleet.rules import Asha, Median
    from rackrate.fleet.study import Range
    from rackrate.fleet.tasks import task
    from rackrate.fleet.trial import checkpoint

_WHERE = {
    "Asha": "rackrate.fleet.rules",
    "Median": "rackrate.fleet.rules",
    "Pruned": "rackrate.fleet.events",
    "Range": "rackrate.fleet.study",
    "checkpoint": "rackrate.fleet.trial",
    "report": "rackrate.fleet.events",
    "task": "rackrate.fleet.tasks",
}
"""Loaded when first used: the processes of a fleet come up in turn, and one waits for another's imports."""

__all__ = ["Asha", "Median", "Pruned", "Range", "checkpoint", "report", "task"]

for _package in ("cloudpickle", "cryptography", "distributed", "psutil"):
    if find_spec(_package) is None:
        raise UsageError(
            f"a fleet needs the package {_package}", hint="pip install 'rackrate[fleet]'", code="extra"
        )


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, and keep it: tasks report from inside of loops."""
    if name not in _WHERE:
        raise AttributeError(f"module 'rackrate.fleet' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
