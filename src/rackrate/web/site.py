"""What the pages share: the market, kept while its files are broken; templates; the clock; the queue.

A DuckDB connection answers one question at a time, so pages are made one after the other under a lock;
what was made is kept and sent without it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rackrate import api, clock, config
from rackrate.errors import DataError

if TYPE_CHECKING:
    from rackrate.market.store import Store

T = TypeVar("T")

HERE = Path(__file__).parent
MOST_WAITING = 32
"""Questions that may wait for their turn; more are turned away at once, which is kinder than late."""


@dataclass
class Site:
    """One running site.

    Attributes:
        data: folder of the market; None for the default.
        address: where it is reached from outside, without a slash at the end: for feeds and the site map.
        is_behind: whether the newest data could not be read, so that older ones answer.
    """

    data: Path | None = None
    address: str = ""
    is_behind: str = ""
    _kept: Store | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turns: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Settle where the data are, so that no request reads configuration."""
        settings = config.load()
        self.hours_per_month = settings.hours_per_month
        self.data = self.data or settings.data
        self._manifest = (self.data or config.default_store()) / "manifest.json"
        self._seen: tuple[int, str, str] = (-1, "", "")

    @property
    def version(self) -> str:
        """What every page is made from: data, templates, and the day, of which ages speak.

        Cheap: one look at the manifest's time, unless it changed.
        """
        try:
            changed = self._manifest.stat().st_mtime_ns
        except OSError:
            changed = 0
        day = clock.now().date().isoformat()
        if (changed, day) != self._seen[:2]:
            self._seen = changed, day, self._state(day)
        return self._seen[2]

    def _state(self, day: str) -> str:
        try:
            data = self.market().version
        except DataError:
            data = "none"
        whole = f"{data} {self.is_behind} {day} {self.hours_per_month} {TEMPLATES}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def market(self) -> Store:
        """Return the prices; those read before while the newest cannot be.

        Raises:
            DataError: there are none, or none that can be read.
        """
        with self._turns:
            try:
                self._kept, self.is_behind = api.open_market(self.data), ""
            except DataError as error:
                if self._kept is None:
                    raise
                self.is_behind = error.message
            return self._kept

    def answer(self, question: Callable[[], T]) -> T:
        """Ask one question when its turn comes."""
        with self._lock:
            return question()


def _templates() -> str:
    """Name the state of all that pages are made with: our own code, templates and styles."""
    found = hashlib.sha256()
    for path in sorted((*HERE.parent.rglob("*.py"), *(HERE / "templates").iterdir(), *static_files())):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def static_files() -> list[Path]:
    """Return the files that are sent as they are."""
    return sorted((HERE / "static").iterdir())


TEMPLATES = _templates()
