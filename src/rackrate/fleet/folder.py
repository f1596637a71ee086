"""Where does a fleet keep what must outlive its processes, and which fleets are there?

    fleets/<id>/spec       what was asked for
                journal    what was decided (`journal`)
                bill       what the provider said that it bills (`billing`)
                machines   which of its machines were nodes (`backends.roll`)
                events     what tasks reported, a JSON object a line
                keeper     socket, while the keeper lives
                key        certificate and key, while the fleet lives
                sync/      what every node is to have (`sync`)
                nodes/     a folder a node: log, scratch, lock

Only its user may enter it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rackrate import config
from rackrate.errors import BadQuantity, UnknownName, UsageError, nearest
from rackrate.fleet.lines import Line, Message

_LONGEST_PATH = 100
"""Bytes of the path of a socket that every system takes."""
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one fleet."""

    path: Path

    @property
    def fleet(self) -> str:
        """Id of the fleet."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """What was asked for."""
        return self.path / "spec"

    @property
    def journal(self) -> Path:
        """What was decided."""
        return self.path / "journal"

    @property
    def bill(self) -> Path:
        """What the provider said that it bills."""
        return self.path / "bill"

    @property
    def machines(self) -> Path:
        """Which of a provider's machines were nodes."""
        return self.path / "machines"

    @property
    def events(self) -> Path:
        """What tasks reported."""
        return self.path / "events"

    @property
    def keeper(self) -> Path:
        """Socket of the keeper."""
        return self.path / "keeper"

    @property
    def key(self) -> Path:
        """Certificate and key."""
        return self.path / "key"

    @property
    def sync(self) -> Path:
        """What every node is to have."""
        return self.path / "sync"

    @property
    def nodes(self) -> Path:
        """A folder for each node."""
        return self.path / "nodes"

    @property
    def log(self) -> Path:
        """What the keeper wrote."""
        return self.path / "keeper.log"

    def ask(self, do: str, **message: object) -> Message | None:
        """Ask the keeper; None where it is dead.

        Raises:
            TimeoutError: it lives and does not answer.
            FleetError: it says no.
        """
        with Line(self.keeper) as line:
            try:
                return line.ask(do, _PATIENCE_S, **message)
            except (FileNotFoundError, ConnectionError):
                return None

    def sweep(self) -> None:
        """Remove what is of no use when the fleet is over: key, socket, scratch; logs and history stay."""
        for path in (self.key, self.keeper):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.sync, ignore_errors=True)
        for node in self.nodes.glob("*/"):
            shutil.rmtree(node / "scratch", ignore_errors=True)
            (node / "alive").unlink(missing_ok=True)


def home() -> Path:
    """Return the folder of all fleets."""
    return config.data_folder() / "fleets"


def new_folder() -> Folder:
    """Make the folder of a new fleet.

    Raises:
        BadQuantity: its path is too long for a socket.
    """
    fleet = os.urandom(4).hex()
    path = home() / fleet
    if len(str(path / "keeper").encode()) > _LONGEST_PATH:
        hint = f"a socket's path may have {_LONGEST_PATH} bytes: set XDG_DATA_HOME to a shorter folder"
        raise BadQuantity(f"the path {path} is too long", hint=hint)
    path.mkdir(mode=0o700, parents=True)
    return Folder(path)


def find_folder(fleet: str) -> Folder:
    """Return the folder of a fleet by its id or the beginning of it.

    Raises:
        UnknownName: no such fleet, or several.
    """
    ids = [folder.fleet for folder in all_folders()]
    hits = [known for known in ids if known.startswith(fleet)]
    if len(hits) != 1 or not fleet:
        why = f"it fits {len(hits)}" if len(hits) > 1 else ""
        near = hits[:3] or nearest(fleet, ids)
        raise UnknownName("fleet", fleet, near, why=why, hint="`rackrate fleet ls` lists them")
    return Folder(home() / hits[0])


def running_folder() -> Folder:
    """Return the folder of the fleet that `rackrate fleet run` made for this process, or of the only one.

    Raises:
        UsageError: several run, or none.
    """
    if "RACKRATE_FLEET" in os.environ:
        return find_folder(os.environ["RACKRATE_FLEET"])
    running = [folder for folder in all_folders() if folder.keeper.exists()]
    if len(running) != 1:
        which = ", ".join(folder.fleet for folder in running)
        hint = f"name one of {which}" if running else "`rackrate fleet ls` lists those that have ended"
        raise UsageError(f"{len(running) or 'no'} fleets run", hint=hint)
    return running[0]


def all_folders() -> list[Folder]:
    """Return the folders of all fleets, the oldest first."""
    found = []
    with suppress(FileNotFoundError):
        found = [Folder(path) for path in home().iterdir() if (path / "spec").is_file()]
    return sorted(found, key=lambda folder: (folder.spec.stat().st_mtime, folder.fleet))
