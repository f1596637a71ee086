"""Which fleets are there, and which of them has nobody to end it?"""

from __future__ import annotations

from rackrate.errors import DataError
from rackrate.fleet import opening
from rackrate.fleet.folder import Folder, all_folders
from rackrate.fleet.state import Phase
from rackrate.fleet.status import Status
from rackrate.report.block import Column
from rackrate.report.cards import Listing

_COLUMNS = (
    Column("fleet", "fleet"),
    Column("phase", "phase"),
    Column("n_ready", "ready", 0),
    Column("n_wanted", "wanted", 0),
    Column("age_s", "age s", 0),
    Column("spent_usd", "USD", 4),
    Column("why", "why", absent=""),
)


def listing() -> Listing:
    """Return all fleets of this user, the oldest first."""
    found = [_found(folder) for folder in all_folders()]
    rows = tuple(
        (one.fleet, one.phase, one.n_ready, one.wanted, one.age_s, one.spent_usd, one.why or None)
        for one in found
        if one
    )
    n_lost = sum(row[1] == Phase.CLOSING for row in rows)
    note = "closing because its keeper died: `rackrate fleet reap` ends what is left"
    return Listing("Fleets", _COLUMNS, rows, (note,) if n_lost else ())


def _found(folder: Folder) -> Status | None:
    """Return how a fleet stands; None where it broke off before its first entry."""
    try:
        return opening.status(folder)
    except DataError:
        return None


def reap_all() -> Listing:
    """End what is left of every fleet whose keeper is dead; return which, and how many processes it was."""
    rows = []
    for folder in all_folders():
        found = _found(folder)
        if found and found.phase == Phase.CLOSING and folder.ask("status") is None:
            rows.append((folder.fleet, opening.reap(folder)))
    columns = (Column("fleet", "fleet"), Column("n_processes", "processes", 0))
    return Listing("Reaped", columns, tuple(rows), () if rows else ("no fleet without a keeper",))
