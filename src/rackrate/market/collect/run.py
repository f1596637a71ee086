"""Collect: ask all sources side by side, archive what they say, publish what can be trusted.

No source waits for another or falls with it. A source that cannot be had, says nothing, changes its
layout or its units, or shrinks by more than half has *failed*: its last good listing stays the current
one, with its true age. What is wrong with single records is the quality gate's business, as everywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from rackrate import clock
from rackrate.errors import DataError, RackrateError
from rackrate.looping import is_in_loop
from rackrate.market.collect.archive import Archive, Kept, Run, State
from rackrate.market.collect.base import Answer, Asking, Collector, LayoutChanged, SourceFailed
from rackrate.market.collect.fetch import Fetcher, Limits
from rackrate.market.collect.rates import RateCollector
from rackrate.market.collect.settings import Settings
from rackrate.market.currency import Rates
from rackrate.market.ingest import usual_prices
from rackrate.market.normalise import Batch, normalise
from rackrate.market.rates import keep_rates, known_rates
from rackrate.market.store import manifest
from rackrate.market.store.write import Arrival, Receipt, publish

SMALL_FOR = timedelta(hours=24)
"""How long a listing of less than half its size is a failure; after that it is the truth."""

_SIDE_BY_SIDE = 8
_LEAST_TO_SHRINK = 4  # of three offers, two may well be gone
_UNREAD = ("malformed", "no_price", "price", "no_provider")
_MOVED = ("unit", "jump", "total_as_per_gpu", "per_gpu_as_total")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one source.

    Attributes:
        source: its name.
        outcome: `ok`, `failed`, `off`, `skipped`, or `busy` when another collector is at it.
        code: why it failed.
        says: the same for people.
        rows: offers published.
        rejects: quality rule to records that it rejected.
        seconds: that it took.
    """

    source: str
    outcome: str
    code: str = ""
    says: str = ""
    rows: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def collect(
    folder: Path,
    wanted: Sequence[Collector],
    settings: Settings,
    limits: Limits | None = None,
    on_done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Collect from these sources into the store in `folder`.

    Args:
        folder: the store; made when it does not exist.
        wanted: the sources.
        settings: which are on, where they are asked, keys.
        limits: of time, size and number.
        on_done: called with each outcome as it comes.

    Raises:
        Refused: the folder cannot be written.
        DataError: the disk is full or fails; the store is as it was.
    """
    collection = _Collection(folder, settings, limits or Limits(), on_done)
    if not is_in_loop():
        return asyncio.run(collection.all_of(wanted))
    with ThreadPoolExecutor(1, thread_name_prefix="collect") as thread:  # a notebook has a loop of its own
        return thread.submit(lambda: asyncio.run(collection.all_of(wanted))).result()


class _Collection:
    """One collection under way."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        limits: Limits,
        on_done: Callable[[Outcome], None] | None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.limits = limits
        self.on_done = on_done
        self.publishing = asyncio.Lock()
        self.slots = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def all_of(self, wanted: Sequence[Collector]) -> list[Outcome]:
        """Collect exchange rates first, because prices are converted with them; then the rest at once."""
        async with Fetcher(self.settings, self.limits) as fetcher:
            rates = [await self.one(fetcher, c) for c in wanted if isinstance(c, RateCollector)]
            others = [c for c in wanted if not isinstance(c, RateCollector)]
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self.one(fetcher, collector)) for collector in others]
            except BaseExceptionGroup as errors:  # a full disk, say: the first tells it all
                raise errors.exceptions[0] from None
        return sorted([*rates, *(task.result() for task in tasks)], key=lambda done: done.source)

    async def one(self, fetcher: Fetcher, collector: Collector) -> Outcome:
        """Collect from one source, whatever happens to it."""
        outcome, says = self.settings.why_not(collector)
        if outcome:
            done = Outcome(collector.name, outcome, says=says)
        else:
            archive = Archive(self.folder, collector.name)
            with archive.collecting() as is_ours:
                if is_ours:
                    async with self.slots:
                        done = await self._attempt(fetcher, collector, archive)
                else:
                    done = Outcome(collector.name, "busy", says="another collector is at it")
        if self.on_done:
            self.on_done(done)
        return done

    async def _attempt(self, fetcher: Fetcher, collector: Collector, archive: Archive) -> Outcome:
        """Ask, keep, judge, publish; write down how it went."""
        at, began, state = clock.now(), monotonic(), archive.state()
        state = replace(state, attempted_at=at.isoformat(), code="", says="", rejects={})
        try:
            run = await self._ask(fetcher, collector, archive, at)
            async with self.publishing:
                state = await asyncio.to_thread(take, self.folder, collector, archive, run, state)
        except SourceFailed as error:
            state = replace(state, outcome="failed", code=error.code, says=error.says)
            if isinstance(error, Untrusted):
                state = replace(state, rejects=error.rejects, small_since=error.small_since)
        state = replace(state, seconds=round(monotonic() - began, 1))
        archive.save_state(state)
        archive.prune(at)
        rows = state.rows if state.outcome == "ok" else 0
        return Outcome(
            collector.name, state.outcome, state.code, state.says, rows, state.rejects, state.seconds
        )

    async def _ask(self, fetcher: Fetcher, collector: Collector, archive: Archive, at: datetime) -> Run:
        """Ask all that the collector wants to know, and write the run down."""
        last = archive.last_run()
        before = {kept.name: kept for kept in last.kept} if last else {}
        most_s = self.limits.max_s or collector.max_s
        asking = collector.requests(self.settings.keys(collector))
        try:
            async with asyncio.timeout(most_s):
                kept = await _answers(fetcher, collector, archive, asking, before)
        except TimeoutError:
            trouble = fetcher.trouble(collector)
            says = f"not done within {most_s:g} s" + (f"; before that: {trouble}" if trouble else "")
            raise SourceFailed("timeout", says) from None
        finally:
            asking.close()
        if not kept:
            raise SourceFailed("empty", "the source has none of the parts that were asked for")
        run = Run(at.isoformat(), collector.parser_version, tuple(kept))
        archive.add(run)
        return run


async def _answers(
    fetcher: Fetcher, collector: Collector, archive: Archive, asking: Asking, before: Mapping[str, Kept]
) -> list[Kept]:
    """Drive the generator of requests to its end."""
    kept: list[Kept] = []
    request = next(asking, None)
    while request is not None:
        found = await fetcher.ask(collector, request, archive, before)
        if isinstance(found, Kept):
            kept.append(found)
        answer = archive.answer(found) if isinstance(found, Kept) else found
        request = _next(asking, answer)
    return kept


def _next(asking: Asking, answer: Answer | None) -> Any:
    try:
        return asking.send(answer)
    except StopIteration:
        return None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise LayoutChanged(f"an answer is of another shape: {type(error).__name__} {error}"[:200]) from None


class Untrusted(SourceFailed):
    """A listing that was read and is not believed.

    Attributes:
        rejects: quality rule to records.
        small_since: since when the source has been small; empty when it is not.
    """

    def __init__(self, code: str, says: str, rejects: Mapping[str, int], small_since: str = "") -> None:
        super().__init__(code, says)
        self.rejects = dict(rejects)
        self.small_since = small_since


def take(
    folder: Path, collector: Collector, archive: Archive, run: Run, state: State, *, is_replay: bool = False
) -> State:
    """Read a run, judge it, and publish it when it can be trusted.

    Args:
        folder: the store.
        collector: whose run it is.
        archive: where it lies.
        run: what came.
        state: of the source before.
        is_replay: the run is an old one read anew: whether its source shrank was judged in its day.

    Returns:
        The state of the source after.

    Raises:
        SourceFailed: it cannot be trusted.
    """
    answers = [archive.answer(kept) for kept in run.kept]
    at = datetime.fromisoformat(run.at)
    if isinstance(collector, RateCollector):
        n = _take_rates(folder, collector, answers)
        return replace(state, outcome="ok", good_at=run.at, rows=n)
    batch = read(collector, answers, at, known_rates(folder))
    rejects = _counts(batch)
    if not batch.rows:
        raise Untrusted("empty" if not rejects else "layout", _nothing(rejects), rejects)
    if 2 * sum(rejects.get(rule, 0) for rule in _UNREAD) > len(batch.rows) + len(batch.rejects):
        raise Untrusted("layout", f"{_nothing(rejects)}, only {len(batch.rows)} could be read", rejects)
    if not is_replay:
        _check_size(batch, state, at)
    receipt = _publish(folder, collector, batch, run)
    says = "" if is_replay else _ahead(folder, collector, at)
    if run.at < state.good_at and is_replay:  # an old run read anew says nothing of today
        return state
    return replace(
        state,
        outcome="ok",
        says=says,
        good_at=run.at,
        rows=receipt.n_read - sum(receipt.rejected.values()),
        rejects=receipt.rejected,
        small_since="",
    )


def read(collector: Collector, answers: Sequence[Answer], at: datetime, rates: Rates) -> Batch:
    """Parse and normalise; a parser that stumbles over an answer means that its layout changed.

    Raises:
        LayoutChanged: an answer is of another shape.
    """
    try:
        return normalise(collector.name, collector.parse(answers, at), rates)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise LayoutChanged(f"an answer is of another shape: {type(error).__name__} {error}"[:200]) from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceFailed("archive", f"a body in the archive cannot be read: {error}"[:200]) from None


def _counts(batch: Batch) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reject in batch.rejects:
        counts[reject.rule] = counts.get(reject.rule, 0) + 1
    return dict(sorted(counts.items()))


def _nothing(rejects: Mapping[str, int]) -> str:
    told = ", ".join(f"{rule} {n}" for rule, n in rejects.items())
    return f"no offer could be read ({told})" if told else "the answer lists no GPU offer at all"


def _check_size(batch: Batch, state: State, at: datetime) -> None:
    """Check that the listing is not less than half of the last good one, or has been for a day.

    Raises:
        Untrusted: it is.
    """
    n, before = len(batch.rows), state.rows
    if before < _LEAST_TO_SHRINK or 2 * n >= before:
        return
    since = state.small_since or at.isoformat()
    if at - datetime.fromisoformat(since) < SMALL_FOR:
        says = f"{n} offers where the last good listing has {before}"
        raise Untrusted("shrunk", says, _counts(batch), small_since=since)


def _publish(folder: Path, collector: Collector, batch: Batch, run: Run) -> Receipt:
    """Pass the gate, unless more than half of the rows say that units changed.

    Raises:
        Untrusted: units changed.
    """
    about = {
        "title": collector.title,
        "url": collector.page,
        "licence": collector.licence,
        "credit": collector.credit,
        "cadence": collector.cadence,
    }
    arrivals = [Arrival(batch, about)]
    key = _key(collector, run)
    tried = publish(folder, arrivals, key, usual_prices(), is_dry_run=True)[0]
    moved = {rule: n for rule in _MOVED if (n := max(tried.rules.get(rule, 0), tried.rejected.get(rule, 0)))}
    if 2 * sum(moved.values()) > tried.n_read:
        told = ", ".join(f"{rule} {n}" for rule, n in moved.items())
        says = f"most of {tried.n_read} prices are in another unit than before ({told})"
        raise Untrusted("units", says, tried.rejected)
    return publish(folder, arrivals, key, usual_prices())[0]


def _ahead(folder: Path, collector: Collector, at: datetime) -> str:
    """Say so where a listing of a later time stays the current one: a clock is wrong, or was."""
    listed = [when for source, when in manifest.load(folder).live() if source == collector.name]
    newest = datetime.fromisoformat(max(listed)).replace(tzinfo=UTC) if listed else at
    if newest <= at:
        return ""
    return f"kept, and not current: a listing is dated {newest:%Y-%m-%d %H:%M} UTC; is this clock right?"


def _key(collector: Collector, run: Run) -> str:
    """Return what makes two collections the same: instant, parser and bodies."""
    said = f"{run.at} {collector.parser_version} " + " ".join(kept.sha256 for kept in run.kept)
    return hashlib.sha256(said.encode()).hexdigest()


def _take_rates(folder: Path, collector: RateCollector, answers: Sequence[Answer]) -> int:
    """Add the rates of these answers to those that the store has."""
    try:
        found = collector.rates(answers)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LayoutChanged(f"the rates are of another shape: {type(error).__name__} {error}"[:200]) from None
    keep_rates(folder, found)
    return len(found)


def replay(folder: Path, wanted: Sequence[Collector], *, is_all: bool = False) -> list[Outcome]:
    """Read archived answers again: those that an older parser read, or all of them.

    Args:
        folder: the store.
        wanted: the sources.
        is_all: also runs that this parser read.
    """
    done = []
    for collector in wanted:
        archive = Archive(folder, collector.name)
        if not archive.folder.is_dir():
            continue
        with archive.collecting() as is_ours:
            if not is_ours:
                done.append(Outcome(collector.name, "busy", says="another collector is at it"))
                continue
            runs = [r for r in archive.runs() if is_all or r.parser_version != collector.parser_version]
            done += [_replayed(folder, collector, archive, run) for run in runs]
    return done


def _replayed(folder: Path, collector: Collector, archive: Archive, run: Run) -> Outcome:
    began = monotonic()
    try:
        state = take(folder, collector, archive, run, archive.state(), is_replay=True)
    except SourceFailed as error:
        return Outcome(collector.name, "failed", error.code, f"run of {run.at}: {error.says}")
    except RackrateError as error:
        raise DataError(f"{collector.name}, run of {run.at}: {error.message}", hint=error.hint) from error
    archive.save_state(state)
    archive.add(replace(run, parser_version=collector.parser_version))
    return Outcome(
        collector.name, "ok", says=f"run of {run.at}", rows=state.rows, seconds=round(monotonic() - began, 1)
    )
