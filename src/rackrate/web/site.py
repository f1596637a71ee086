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
from rackrate.errors import DataError, RackrateError
from rackrate.market.home import home_of

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
        data: where the market is; None for the default.
        address: where it is reached from outside, without a slash at the end: for feeds and the site map.
        is_behind: whether the newest data could not be read, so that older ones answer.
    """

    data: str | None = None
    address: str = ""
    is_behind: str = ""
    _kept: Store | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turns: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Settle where the data are, so that no request reads configuration."""
        self.hours_per_month = config.load().hours_per_month
        self.home = home_of(self.data)
        self._manifest = self.home.folder / "manifest.json"
        self._late = ""
        self._seen: tuple[int, str, str, str] = (-1, "", "", "")

    @property
    def version(self) -> str:
        """What every page is made from: data, templates, and the day, of which ages speak.

        Cheap: one look at the manifest's time, unless it changed.
        """
        try:
            changed = self._manifest.stat().st_mtime_ns
        except OSError:
            changed = 0
        day, late = clock.now().date().isoformat(), self._late
        if (changed, day, late) != self._seen[:3]:
            self._seen = changed, day, late, self._state(day)
        return self._seen[3]

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
                self._kept, self.is_behind = api.open_market(self._folder()), self._late
            except DataError as error:
                if self._kept is None:
                    says = self._late or error.message
                    raise DataError(says, hint=error.hint, code=error.code) from error
                self.is_behind = error.message
            return self._kept

    def _folder(self) -> Path | None:
        """Return where questions look: of a shared market its mirror, which `look` keeps up to date."""
        return self.home.folder if self.home.address else self.home.named

    def look(self) -> None:
        """Bring the mirror of a shared market up to date; what cannot be had leaves the older data."""
        try:
            self._late = self.home.look(is_due=True)
        except RackrateError as error:
            self._late = error.message

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
