"""`rackrate fleet watch` and `rackrate sweep`: nodes, curves, money and time of a fleet, as they change."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rackrate.fleet.folder import Folder
    from rackrate.fleet.status import Status
    from rackrate.fleet.sweep import Sweep
    from rackrate.fleet.view import View

_FRAME_S = 0.25
_SWEEP_S = 0.5
"""Between two frames of a sweep, whose whole journal is read for each."""
_LINE_S = 1.0
_POINTS = 200
"""Of a curve: a terminal is not wider."""
_MOST_CURVES = 16
_STYLES = {"ready": "green", "booted": "yellow", "draining": "blue", "ending": "red", "gone": "dim"}


def watch_folder(folder: Folder) -> None:
    """Show a fleet until it has ended or the user has seen enough; it is left alone."""
    from rackrate.fleet.view import View  # noqa: PLC0415 - start-up

    view = View(folder, _POINTS)
    try:
        if sys.stdout.isatty():
            _draw(view)
        else:
            for line in _lines(view):
                click.echo(line)
    except KeyboardInterrupt:
        click.echo(f"fleet {folder.fleet} goes on", err=True)


def _lines(view: View) -> Iterator[str]:
    """Yield a line whenever there is something new, at most one a second, and one at the end."""
    from rackrate.fleet.view import summary  # noqa: PLC0415 - start-up

    told: tuple[Any, ...] = ()
    while not view.is_over:
        status = view.look()
        news = (
            view.n_events,
            view.is_over,
            *((node["node"], node["state"]) for node in status.data["nodes"]),
        )
        if news != told:
            yield summary(status, view)
            told = news
        if not view.is_over:
            time.sleep(_LINE_S)


def _draw(view: View) -> None:
    from rich.live import Live  # noqa: PLC0415 - start-up

    status = view.look()
    with Live(screen(status, view), auto_refresh=False) as shown:
        while not view.is_over:
            time.sleep(_FRAME_S)
            status = view.look()
            shown.update(screen(status, view), refresh=True)


def show(sweep: Sweep) -> None:
    """Wait for the end of a sweep; where the errors go to a terminal, show there how it stands until then.

    Raises:
        RackrateError: it ends with that.
    """
    from rich.console import Console, Group  # noqa: PLC0415 - start-up
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from rackrate.fleet.view import View  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        sweep.wait()
        return
    view = View(sweep.fleet.folder, _POINTS)

    def frame() -> Group:
        title = Text(f"sweep {sweep.name}: {sweep.table().line()}", style="bold")
        return Group(title, screen(view.look(), view))

    with Live(frame(), console=console, auto_refresh=False, transient=True) as shown:
        while sweep.is_running:
            sweep.wait(_SWEEP_S)
            shown.update(frame(), refresh=True)


def screen(status: Status, view: View) -> RenderableType:
    """Return what a terminal shows: a line, the grid of nodes, the curves reported last."""
    from rich.columns import Columns  # noqa: PLC0415 - start-up
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from rackrate.fleet.view import short, summary  # noqa: PLC0415

    data = status.data
    cells = []
    for node in data["nodes"]:
        heard = "" if node["heard_s"] is None else f" {node['heard_s']:.1f}s"
        text = f"{short(node['node'])} {node['state']}{heard}"
        cells.append(Text(text, style=_STYLES.get(node["state"], "")))
    ends = f"ends in {data['left_s'] / 3600:.2f} h at the latest, {data['usd_per_hour']:.4f} USD an hour"
    title = Text(f"fleet {data['fleet']}: {summary(status, view)}", style="bold")
    return Group(title, Text(ends), Columns(cells, equal=True), _curves(view))


def _curves(view: View) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415 - start-up

    from rackrate.fleet.view import short, sparkline  # noqa: PLC0415

    table = Table(box=None, show_header=False, padding=(0, 1))
    latest = list(view.curves.curves.items())[-_MOST_CURVES:]
    for key, curve in sorted(latest, key=lambda item: (item[0].metric, item[0].node, item[0].task)):
        values = [point.value for point in curve.points()]
        table.add_row(key.metric, short(key.node), sparkline(values, 48), f"{values[-1]:.4g}")
    if len(view.curves.curves) > _MOST_CURVES:
        table.add_row("", "", f"and {len(view.curves.curves) - _MOST_CURVES} more", "")
    return table
