"""What does somebody who watches a fleet have: how it stands, and the curves of what it reports.

Looking never waits for events and holds up nobody: the history is a file, and the keeper answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rackrate.fleet import opening
from rackrate.fleet.curves import MOST, Curves
from rackrate.fleet.folder import Folder
from rackrate.fleet.history import Events
from rackrate.fleet.status import Status

_BARS = "▁▂▃▄▅▆▇█"


class View:
    """A fleet that is watched.

    Args:
        folder: of the fleet.
        most: points that a curve has.

    Attributes:
        curves: of what was reported until the last look.
        n_events: that were reported until then.
        is_over: whether nobody keeps the fleet any more, so that nothing will come.
    """

    def __init__(self, folder: Folder, most: int = MOST) -> None:
        self.curves = Curves(most)
        self.n_events = 0
        self.is_over = False
        self._folder = folder
        self._events = Events(folder.events, lambda: not folder.keeper.exists())

    def look(self) -> Status:
        """Take up what has been reported; return how the fleet stands."""
        found = opening.keeper_says(self._folder)
        self.is_over = found is None
        status = Status(found) if found else opening.settled(self._folder)
        arrived = self._events.arrived()
        self.n_events += len(arrived)
        self.curves.add(arrived)
        return status

    def rows(self, metric: str | None = None) -> list[dict[str, Any]]:
        """Return the points of the curves of a metric, or of the first that was reported, for a chart."""
        shown = metric or next((key.metric for key in self.curves.curves), "")
        return [
            {"metric": shown, "node": short(key.node), "task": key.task, "step": at.step, "value": at.value}
            for key, curve in self.curves.curves.items()
            if key.metric == shown
            for at in curve.points()
        ]


def short(node: str) -> str:
    """Return what tells a node from the others of its fleet: the number at the end of its name."""
    return node.rpartition("-")[2]


def summary(status: Status, view: View) -> str:
    """Say in one line how a fleet stands."""
    data = status.data
    limit = "" if data["budget_usd"] is None else f" of {data['budget_usd']:g}"
    why = f": {data['why']}" if data["why"] else ""
    last = [f"{key.metric} {curve.points()[-1].value:.4g}" for key, curve in view.curves.curves.items()]
    tells = f", {view.n_events} reports, last {last[-1]}" if last else ""
    return (
        f"{data['age_s']:.0f} s {data['phase']}{why}, {status.n_ready} of {data['wanted']} nodes ready, "
        f"{data['spent_usd']:.4f}{limit} USD{tells}"
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as a line of bars, the last of each stretch.

    Args:
        values: in their order.
        width: characters at most.

    Example:
        >>> sparkline([3, 2, 1, 0], 8)
        '█▆▃▁'
    """
    n = min(len(values), width)
    if not n:
        return ""
    shown = [values[(at + 1) * len(values) // n - 1] for at in range(n)]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in shown)
