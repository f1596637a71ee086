"""Run it there: nodes that live while their owner wants them, and not a moment longer than promised.

    with rackrate.Fleet(nodes=4) as fleet:       # `fleet.fleet`
        fleet.map(train, variants)
        fleet.sweep(train, variants, metric="loss", prune="asha").best()
    rackrate.fleet.report(step=1, loss=0.5)      # inside `train`
    @rackrate.fleet.task(nodes=(0, 4))           # one function, on a pool of its own

Needs the extra `fleet`; nothing outside of this part does.
"""

from importlib.util import find_spec

from rackrate.errors import UsageError
from rackrate.fleet.events import Pruned, report
from rackrate.fleet.rules import Asha, Median
from rackrate.fleet.study import Range
from rackrate.fleet.tasks import task
from rackrate.fleet.trial import checkpoint

__all__ = ["Asha", "Median", "Pruned", "Range", "checkpoint", "report", "task"]

for _package in ("cloudpickle", "cryptography", "distributed", "psutil"):
    if find_spec(_package) is None:
        raise UsageError(
            f"a fleet needs the package {_package}", hint="pip install 'rackrate[fleet]'", code="extra"
        )
