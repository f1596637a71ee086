"""Which machines of a provider were nodes of a fleet? A bill names machines, and some only by number.

Every number is written down when it is first heard of, beside the fleet's journal and like it: a machine
that is gone is listed nowhere any more, and the bill for it comes later. It is heard of when the provider
answers an order, lists its machines, or the machine itself calls home, whichever is first.
"""

from __future__ import annotations

import threading
from pathlib import Path

from rackrate.fleet.journal import Journal, read


class Roll:
    """The machines that a fleet ever had, as far as it heard of them.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._known: set[str] = set()

    def note(self, node: str, machine_id: str) -> None:
        """Write down that a machine is a node, once."""
        with self._lock:
            if machine_id in self._known:
                return
            self._journal = self._journal or Journal(self._path)
            self._journal.write([{"node": node, "machine": machine_id}])
            self._known.add(machine_id)

    def names(self) -> dict[str, str]:
        """Return the node of each machine, by the provider's id of it."""
        if not self._path.exists():
            return {}
        return {entry["machine"]: entry["node"] for entry in read(self._path)}

    def close(self) -> None:
        """Close the file."""
        if self._journal:
            self._journal.close()
