"""How does a fleet look in a notebook while it works? `rackrate.notebook.live(fleet)` (extra `notebook`).

Of a sweep, `live(sweep)` or `sweep.show()`: the fleet that it runs on, how it stands, and in the saved
notebook its results.

For Jupyter, VS Code, Colab and marimo. What the page shows comes in messages from a thread, so a cell that
computes holds up neither curves nor clock, and nothing of it is saved with the notebook, least of all the
token of the stop button; what is saved is a picture, made when the fleet has ended. The button speaks
to the keeper over the loopback address of the machine that the kernel runs on. Where the browser is elsewhere
that fails, and the kernel is asked instead, which hears it when it is free.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate import chart
from rackrate.errors import UsageError
from rackrate.fleet.fleet import Fleet
from rackrate.fleet.folder import Folder
from rackrate.fleet.status import Status
from rackrate.fleet.view import View, short
from rackrate.report.block import to_html

try:
    import anywidget
except ImportError as error:
    raise UsageError(
        "a live view needs the package anywidget", hint="pip install 'rackrate[notebook]'", code="extra"
    ) from error

if TYPE_CHECKING:
    from rackrate.fleet.sweep import Sweep

_FRAME_S = 0.25
_SAYS_S = 1.0
"""Between two looks at how a sweep stands: its whole journal is read for that."""
_WHOLE_S = 5.0
"""Between two frames that bring all points: for a page that was opened while the kernel is busy."""
_MOST = 500
"""Points of a curve on a page: it is 700 pixels wide."""
_UP_S = 20.0
"""For the keeper of a fleet that has just been opened to answer."""


class Live(anywidget.AnyWidget):
    """The live view of a fleet; it looks until the fleet has ended or `close` is called.

    Args:
        fleet: one that was opened or attached.
        sweep: one that runs on it; None where only the fleet is shown.
    """

    _esm = Path(__file__).with_name("live.js")

    def __init__(self, fleet: Fleet, sweep: Sweep | None = None) -> None:
        super().__init__()
        self._sweep = sweep
        self._folder = fleet.folder
        self._stop = _button_of(fleet.folder)
        self._view = View(fleet.folder, _MOST)
        self._looking = threading.Lock()
        self._is_wanted_whole = True
        self._is_closed = threading.Event()
        self._shown: Any = None
        self.on_msg(self._hear)
        self._thread = threading.Thread(target=self._run, name="rackrate-live", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._is_closed.set()
        super().close()

    def wait(self) -> None:
        """Return when there is nothing more to show: the fleet has ended, or `close` was called."""
        self._thread.join()

    def picture(self) -> dict[str, str]:
        """Return how the fleet or the sweep stands and its curves, as what a notebook keeps: HTML and SVG."""
        with self._looking:
            status = self._view.look()
            rows = self._view.rows()
        html, what = to_html(status.blocks()), f"fleet {self._folder.fleet}"
        with suppress(UsageError):  # without the chart packages there are the tables
            if self._sweep is not None:
                table, what = self._sweep.table(), f"sweep {self._sweep.name}"
                html += to_html(table.blocks())
                html += table.to_svg()
            elif rows:
                html += chart.reported_svg(rows, what)
        return {"text/html": html, "text/plain": f"<live view of {what}>"}

    def _ipython_display_(self) -> None:
        from IPython.display import display  # noqa: PLC0415 - whoever calls this has it

        bundle = self._repr_mimebundle_() or ({}, {})
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        self._shown = display(  # type: ignore[no-untyped-call]
            {**self.picture(), **data}, metadata=metadata, raw=True, display_id=True
        )

    def _hear(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Take what a page says: it is there, or its button found no other way."""
        match content.get("do"):
            case "hello":
                self._is_wanted_whole = True
            case "stop":
                self._folder.ask("close", why="its stop button was pressed")

    def _run(self) -> None:
        whole_at_s, said_at_s, says = 0.0, 0.0, ""
        while not self._is_closed.is_set():
            is_whole = self._is_wanted_whole or time.monotonic() - whole_at_s >= _WHOLE_S
            if is_whole:
                whole_at_s, self._is_wanted_whole = time.monotonic(), False
            with self._looking:
                status = self._view.look()
                frame = _frame(status, self._view, is_whole=is_whole)
            is_old = self._view.is_over or time.monotonic() - said_at_s >= _SAYS_S
            if self._sweep is not None and is_old:
                said_at_s, says = time.monotonic(), f"sweep {self._sweep.name}: {self._sweep.table().line()}"
            self.send({**frame, "says": says, "stop": self._stop})
            if self._view.is_over:
                if self._shown is not None:
                    self._shown.update(self.picture(), raw=True)
                return
            self._is_closed.wait(_FRAME_S)


def _button_of(folder: Folder) -> dict[str, Any] | None:
    """Return where a fleet is stopped, as soon as its keeper answers; None of one that has ended."""
    until_s = time.monotonic() + _UP_S
    while (found := folder.ask("button")) is None and folder.key.exists() and time.monotonic() < until_s:
        time.sleep(0.02)
    return found


def _frame(status: Status, view: View, *, is_whole: bool) -> dict[str, Any]:
    """Return what a page needs to draw what is new, or everything."""
    data = status.data
    news = view.curves.news()
    if is_whole:
        news = [(key, 0, curve.points()) for key, curve in view.curves.curves.items()]
    leases = [node["lease_s"] for node in data["nodes"] if node["lease_s"] is not None]
    shown = ("fleet", "phase", "why", "wanted", "left_s", "spent_usd", "usd_per_hour", "budget_usd")
    of_node = ("node", "state", "heard_s", "usd_per_hour")
    return {
        "kind": "frame",
        "status": {
            **{name: data[name] for name in shown},
            "n_ready": status.n_ready,
            "lease_s": min(leases, default=None),
            "nodes": [
                {**{name: node[name] for name in of_node}, "name": short(node["node"])}
                for node in data["nodes"]
            ],
        },
        "curves": [
            {
                "metric": key.metric,
                "node": short(key.node),
                "task": key.task,
                "start": start,
                "steps": [point.step for point in points],
                "values": [point.value for point in points],
            }
            for key, start, points in news
        ],
    }


def live(what: Fleet | Sweep) -> Live:
    """Return the live view of a fleet, or of a sweep: nodes, curves, money, time left, and a stop button.

    Raises:
        UsageError: the notebook packages are not installed.
    """
    return Live(what) if isinstance(what, Fleet) else Live(what.fleet, what)


def show(sweep: Sweep) -> None:
    """Display the live view of a sweep below the cell that runs."""
    from IPython.display import display  # noqa: PLC0415 - a kernel has it

    display(live(sweep))  # type: ignore[no-untyped-call]
