"""Live prices as questions: collect, how do the sources stand, read the archive again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import clock
from rackrate.errors import UsageError
from rackrate.market.home import home_of
from rackrate.report.collected import Collected, SourceStatus, Standings

if TYPE_CHECKING:
    from rackrate.market.collect.base import Collector
    from rackrate.market.collect.run import Outcome
    from rackrate.market.collect.settings import Settings
    from rackrate.market.store import Store

NEEDS = ("httpx2", "stamina")


def collect_prices(
    sources: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    enable: Sequence[str] = (),
    max_s: float | None = None,
    on_done: Callable[[Outcome], None] | None = None,
) -> Collected:
    """Ask sources for their prices and publish what can be trusted.

    Args:
        sources: names; all that are on for none.
        data: the store, a folder or an address; None for the user's own. Made when it does not exist.
        enable: sources to switch on that are off by themselves.
        max_s: for each source at most, seconds; None for what its collector declares.
        on_done: called with each outcome as it comes.

    Raises:
        UnknownName: no such source.
        UsageError: a setting that cannot be read, or the packages for it are not installed.
        DataError: the disk is full or fails; the store is as it was.
    """
    need_packages()
    from rackrate.market.collect import pick  # noqa: PLC0415 - start-up
    from rackrate.market.collect.fetch import Limits  # noqa: PLC0415 - start-up
    from rackrate.market.collect.run import collect  # noqa: PLC0415 - start-up
    from rackrate.market.store import manifest  # noqa: PLC0415 - start-up

    pick(tuple(enable))
    home = home_of(data)
    home.look()
    folder = home.folder
    was_empty = not manifest.load(folder).files
    done = collect(folder, pick(tuple(sources)), _settings(enable), Limits(max_s=max_s), on_done)
    return Collected(tuple(done), str(home), was_empty, unshared=home.share())


def replay_prices(
    sources: Sequence[str] = (), *, data: Path | str | None = None, is_all: bool = False
) -> Collected:
    """Read archived answers again, after a parser was mended.

    Args:
        sources: names; all for none.
        data: the store; None for the user's own.
        is_all: also answers that the present parser read.

    Raises:
        UnknownName: no such source.
        UsageError: the packages for it are not installed.
        DataError: the disk is full or fails, or the archive is damaged.
    """
    need_packages()
    from rackrate.market.collect import pick  # noqa: PLC0415 - start-up
    from rackrate.market.collect.run import replay  # noqa: PLC0415 - start-up

    home = home_of(data)
    done = replay(home.folder, pick(tuple(sources)), is_all=is_all)
    return Collected(tuple(done), str(home), title="Read again", unshared=home.share())


def market_status(sources: Sequence[str] = (), *, data: Path | str | Store | None = None) -> Standings:
    """Return how the sources stand, and for those named what changed since a day before.

    Args:
        sources: names; all for none.
        data: the store, its folder, or None for the user's own.

    Raises:
        UnknownName: no such source.
        StoreBroken: the store cannot be read.
    """
    from rackrate.market.collect import pick  # noqa: PLC0415 - start-up
    from rackrate.market.store import Store  # noqa: PLC0415 - start-up
    from rackrate.market.store.compare import changes  # noqa: PLC0415 - start-up

    store = data if isinstance(data, Store) else _store(data)
    settings = _settings(())
    found = tuple(_status(store, settings, collector) for collector in pick(tuple(sources)))
    told = [(name, change) for name in sources for change in changes(store, name)[1]]
    return Standings(found, tuple(told), store.address or str(store.folder), store.behind)


def _status(store: Store, settings: Settings, collector: Collector) -> SourceStatus:
    from rackrate.market.collect.archive import Archive  # noqa: PLC0415 - start-up
    from rackrate.market.store.compare import changes, standing, tally  # noqa: PLC0415 - start-up

    state = Archive(store.folder, collector.name).state()
    newest = standing(store, collector.name)
    outcome, says = settings.why_not(collector)
    compared_with, changed = changes(store, collector.name)
    if not outcome:
        outcome = state.outcome or ("ok" if newest else "never")  # it may have been asked from elsewhere
        says = f"{state.code}: {state.says}" if state.code else state.says
    good_at = newest.at if newest else (datetime.fromisoformat(state.good_at) if state.good_at else None)
    return SourceStatus(
        collector.name,
        outcome,
        says,
        good_at,
        round((clock.now() - good_at).total_seconds() / 3600, 2) if good_at else None,
        newest.rows if newest else state.rows,
        newest.l40s_rows if newest else 0,
        state.rejects,
        compared_with,
        tally(changed),
    )


def _store(data: Path | str | None) -> Store:
    """Open a store that may be empty still: its sources have a standing all the same."""
    from rackrate.market.store import Store, manifest  # noqa: PLC0415 - start-up

    home = home_of(data)
    behind = home.look()
    store = Store(home.folder, manifest.load(home.folder), address=home.address)
    store.behind = behind
    return store


def _settings(enable: Sequence[str]) -> Settings:
    from rackrate.market.collect.settings import load  # noqa: PLC0415 - start-up

    return load(enable)


def need_packages() -> None:
    """Check that the packages which only live prices need are there.

    Raises:
        UsageError: one is not.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - start-up

    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise UsageError(f"live prices need {' and '.join(missing)}", hint="pip install 'rackrate[collect]'")
