"""Measure the market part: the cheapest offers beside gpuhunt, imports, growth, start-up.

    python bench/market.py            # two minutes on an idle machine; writes docs/benchmarks.md
    python bench/market.py --rows 7000 --dry-run

Every figure stands beside its peer's from the same run on the same rows. When the two do not name the
same cheapest prices there is nothing to compare, and the script ends with an error.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import isclose
from pathlib import Path

import catalogue
from catalogue import Row
from gpuhunt import Catalog, CatalogItem
from measure import BLOCK, Timing, commands, machine, ms, side_by_side, table, write_section

import rackrate
from rackrate.catalog.aliases import family_members
from rackrate.market import currency
from rackrate.market.filter import OfferFilter, Wanted, order_by
from rackrate.market.importers import mapped
from rackrate.market.importers.files import When
from rackrate.market.importers.mapping import load_mapping
from rackrate.market.ingest import import_list, usual_prices
from rackrate.market.normalise import normalise
from rackrate.market.offer import Kind
from rackrate.market.store import Store
from rackrate.market.store.write import Arrival, publish

GPU = "l40s"
LIMIT = 20
N_ROWS = 70_000
N_RUNS = 32
N_IMPORTS = 8  # the first is told apart
N_STARTS = 10
GOAL_QUERY_S = 0.010
GOAL_AHEAD = 10
GOAL_IMPORT_S = 2.0
GOAL_GROWTH = 3
GOAL_HELP_S = 0.25
GOAL_ANSWER_S = 0.6


@dataclass(frozen=True, slots=True)
class Market:
    """One synthetic market in every form that is measured.

    Attributes:
        store: as Rackrate reads it.
        csv: as gpuhunt reads it at each query.
        loaded: as gpuhunt holds it in memory.
    """

    store: Store
    csv: Path
    loaded: Catalog


def build(folder: Path, rows: Sequence[Row]) -> Market:
    """Write `rows` for both tools and open them."""
    csv, site = catalogue.write_gpuhunt(folder / "gpuhunt", rows)
    with variable("GPUHUNT_CATALOG_URL", site.as_uri()):
        loaded = Catalog(auto_reload=False)
        loaded.load()
    return Market(store(folder, rows), csv, loaded)


def store(folder: Path, rows: Sequence[Row]) -> Store:
    """Import `rows` into a store of their own and open it.

    Raises:
        SystemExit: the gate did not take every row, so the tools would see different markets.
    """
    path, mapping = catalogue.write_price_list(folder, rows)
    (receipt,) = import_list(folder / "store", path, mapping=mapping)
    if receipt.n_published != len(rows):
        raise SystemExit(f"{len(rows) - receipt.n_published} rows were not imported: {receipt.rejects}")
    return rackrate.open_market(folder / "store")


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def ours(market: Market, sort: str = "usd") -> rackrate.report.offers.Offers:
    """Ask Rackrate for the cheapest on-demand offers."""
    return rackrate.offers(GPU, sort=sort, limit=LIMIT, data=market.store)


def found(market: Market) -> object:
    """Ask the store itself, without the Python API around it."""
    wanted = OfferFilter(gpus=(Wanted(family_members(GPU)),), kinds=(Kind.ON_DEMAND,))
    return market.store.find(wanted, order_by("usd"), limit=LIMIT)


def theirs(market: Market) -> list[CatalogItem]:
    """Ask gpuhunt, its catalogue in memory; it returns every match, merged by price."""
    return list(market.loaded.query(gpu_name=GPU, spot=False))


def theirs_from_files(market: Market) -> list[CatalogItem]:
    """Ask gpuhunt with a folder of CSV files, which it parses at every query."""
    with variable("GPUHUNT_CATALOG_DIR", str(market.csv)):
        return theirs(market)


def check_same(market: Market) -> None:
    """Compare the cheapest prices of both tools, per GPU and for the whole offer.

    Raises:
        SystemExit: they differ, so that a comparison of speed is void.
    """
    items = theirs(market)
    pairs = {
        "per GPU": (
            [offer.usd_per_gpu_hour for offer in ours(market)],
            sorted(item.price / item.gpu_count for item in items)[:LIMIT],
        ),
        "whole": (
            [offer.usd_per_hour for offer in ours(market, "usd_per_hour")],
            [item.price for item in items[:LIMIT]],
        ),
        "files": ([item.price for item in items], [item.price for item in theirs_from_files(market)]),
    }
    for name, (mine, peer) in pairs.items():
        if len(mine) != len(peer) or not all(isclose(a, b) for a, b in zip(mine, peer, strict=True)):
            raise SystemExit(f"void: the cheapest prices differ ({name}): {mine[:5]} and {peer[:5]}")


def queries(market: Market, n_runs: int) -> dict[str, Timing]:
    """Time the cheapest offers, both tools in turn."""
    asked: dict[str, Callable[[], object]] = {
        "rackrate.offers": lambda: ours(market),
        "Store.find": lambda: found(market),
        "gpuhunt in memory": lambda: theirs(market),
        "gpuhunt, CSV folder": lambda: theirs_from_files(market),
    }
    return side_by_side(asked, n_runs)


def imports(folder: Path, rows: Sequence[Row], n_runs: int) -> list[float]:
    """Return the wall time, seconds, of whole imports, each into a new store."""
    path, mapping = catalogue.write_price_list(folder, rows)
    return [
        _seconds(lambda into=folder / f"import-{n}": import_list(into, path, mapping=mapping))  # type: ignore[misc]
        for n in range(n_runs)
    ]


def stages(folder: Path, rows: Sequence[Row]) -> dict[str, float]:
    """Return the wall time, seconds, of the steps of one import, done one after the other."""
    path, mapping = catalogue.write_price_list(folder, rows)
    plan = load_mapping(mapping)
    started = [time.perf_counter()]

    def lap() -> None:
        started.append(time.perf_counter())

    (listing,) = mapped.read(path, When(None, datetime.now(UTC)), plan)
    raw = list(listing.rows)
    lap()
    batch = normalise(listing.source, raw, currency.bundled_rates())  # type: ignore[arg-type]
    lap()
    del raw
    usual = usual_prices()
    lap()
    publish(folder / "dry", [Arrival(batch, {})], "", usual, is_dry_run=True)
    lap()
    publish(folder / "wet", [Arrival(batch, {})], "", usual)
    lap()
    read, normal, usual_s, gate, whole = (b - a for a, b in pairwise(started))
    return {"read": read, "normalise": normal, "gate": gate + usual_s, "write": max(whole - gate, 0.0)}


def growth(folder: Path, sizes: Sequence[int], n_runs: int) -> dict[int, Timing]:
    """Time the same question in stores of several sizes, in turn."""
    stores = {}
    for n in sizes:
        into = folder / str(n)
        into.mkdir()
        stores[n] = store(into, catalogue.rows(n))
    asked = {
        str(n): lambda data=data: rackrate.offers(GPU, limit=LIMIT, data=data) for n, data in stores.items()
    }
    return {int(name): timing for name, timing in side_by_side(asked, n_runs).items()}


def starts(home: Path, n_runs: int) -> dict[str, Timing]:
    """Time the command line from the shell, with the bundled sample, beside an empty Python."""
    tool = str(Path(sys.executable).with_name("rackrate"))
    lines = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "rackrate --help": [tool, "--help"],
        "rackrate gpu l40s": [tool, "gpu", GPU],
        "rackrate offers --gpu l40s": [tool, "offers", "--gpu", GPU],
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RACKRATE_")}
    own = {name: str(home) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return commands(lines, n_runs, {**kept, **own})


def _seconds(thing: Callable[[], object]) -> float:
    start = time.perf_counter()
    thing()
    return time.perf_counter() - start


def report_queries(n_rows: int, n_matching: int, timings: dict[str, Timing]) -> str:
    """Write the comparison with gpuhunt."""
    base = timings["rackrate.offers"]
    rows = [
        [
            name,
            ms(min(timing.wall_s)),
            ms(timing.wall_median_s),
            ms(timing.cpu_median_s),
            f"{timing.wall_median_s / base.wall_median_s:,.1f}x",
            f"{timing.cpu_median_s / base.cpu_median_s:,.1f}x",
        ]
        for name, timing in timings.items()
    ]
    peer = timings["gpuhunt in memory"]
    goals = [
        _goal("rackrate.offers", base.wall_median_s, GOAL_QUERY_S, ms),
        _goal_ahead(peer.wall_median_s / base.wall_median_s),
    ]
    return _section(
        f"Cheapest {LIMIT} on-demand {GPU} of {n_rows:,} rows",
        table(["", "wall, best", "wall, median", "CPU, median", "wall, relative", "CPU, relative"], rows),
        f"{' '.join(goals)} {n_matching:,} rows match. gpuhunt returns all of them, Rackrate the first "
        f"{LIMIT} and how many there are; the cheapest {LIMIT} prices were checked to be the same, per "
        f"GPU and for the whole offer. {len(base.wall_s)} runs each, in turn in blocks of {BLOCK}, "
        "after one unmeasured; DuckDB with its default number of threads; CPU is that of all threads.",
    )


def report_imports(n_rows: int, walls: Sequence[float], split: dict[str, float]) -> str:
    """Write what an import takes."""
    first, *warm = walls
    median = statistics.median(warm)
    steps = [[name, f"{seconds:.2f} s"] for name, seconds in split.items()]
    whole = [
        [f"whole import, median of {len(warm)}", f"{median:.2f} s"],
        ["the first of the process", f"{first:.2f} s"],
    ]
    return _section(
        f"Import of {n_rows:,} rows, CSV through a mapping file",
        table(["", "wall"], [*steps, *whole]),
        f"{_goal('import', median, GOAL_IMPORT_S, lambda s: f'{s:.2f} s')} Best {min(warm):.2f} s. The "
        "steps are timed once, one after the other; the whole imports go into new stores.",
    )


def report_growth(timings: dict[int, Timing]) -> str:
    """Write how the time of one question grows with the market."""
    rows = [
        [f"{n:,}", ms(min(t.wall_s)), ms(t.wall_median_s), ms(t.cpu_median_s)] for n, t in timings.items()
    ]
    small, large = min(timings), max(timings)
    ratio = timings[large].wall_median_s / timings[small].wall_median_s
    met = "met" if ratio <= GOAL_GROWTH else "missed"
    return _section(
        f"The same question as the market grows: `rackrate.offers({GPU!r}, limit={LIMIT})`",
        table(["rows", "wall, best", "wall, median", "CPU, median"], rows),
        f"{large / small:,.0f} times the rows take {ratio:.1f} times the time (goal: at most "
        f"{GOAL_GROWTH}; {met}). {len(timings[small].wall_s)} runs each, in turn in blocks of {BLOCK}.",
    )


def report_starts(timings: dict[str, Timing]) -> str:
    """Write what the command line takes from the shell."""
    rows = [
        [
            f"`{name}`",
            ms(min(t.wall_s)),
            ms(t.wall_median_s),
            ms(min(t.cpu_s)),
            ms(t.cpu_median_s),
        ]
        for name, t in timings.items()
    ]
    goals = [
        _goal(name, t.wall_median_s, GOAL_HELP_S if name.endswith("--help") else GOAL_ANSWER_S, ms)
        for name, t in timings.items()
        if name.startswith("rackrate")
    ]
    return _section(
        "From the shell, bundled sample",
        table(["", "wall, best", "wall, median", "CPU, best", "CPU, median"], rows),
        f"{' '.join(goals)} Whole processes, start to exit, {len(next(iter(timings.values())).wall_s)} "
        "runs each, in turn, after one unmeasured.",
    )


def _section(title: str, figures: str, says: str) -> str:
    return f"### {title}\n\n{figures}\n\n{says}"


def _goal(what: str, value: float, limit: float, write: Callable[[float], str]) -> str:
    return f"{what}: {write(value)}, goal {write(limit)}: {'met' if value <= limit else 'missed'}."


def _goal_ahead(ratio: float) -> str:
    met = "met" if ratio >= GOAL_AHEAD else "missed"
    return f"{ratio:.1f} times ahead of gpuhunt in memory by wall, goal {GOAL_AHEAD}: {met}."


def measure(folder: Path, n_rows: int) -> Iterator[str]:
    """Yield the parts of the section, each as soon as it is measured."""
    for name in ("query", "import", "stages", "growth"):
        (folder / name).mkdir()
    yield report_starts(starts(folder, N_STARTS))
    rows = catalogue.rows(n_rows)
    yield report_imports(n_rows, imports(folder / "import", rows, N_IMPORTS), stages(folder / "stages", rows))
    market = build(folder / "query", rows)
    check_same(market)
    yield report_queries(n_rows, len(theirs(market)), queries(market, N_RUNS))
    del market
    yield report_growth(growth(folder / "growth", (n_rows // 10, n_rows, n_rows * 10), N_RUNS))


def main() -> None:
    """Measure everything, print it and write it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description="Measure the market part beside gpuhunt.")
    parser.add_argument("--rows", type=int, default=N_ROWS, help="size of the market")
    parser.add_argument("--dry-run", action="store_true", help="print only, leave docs/benchmarks.md alone")
    options = parser.parse_args()
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for part in measure(Path(folder), options.rows):
            print(f"{part}\n", flush=True)
            parts.append(part)
    shapes = catalogue.shapes()
    made_of = (
        f"The market is synthetic: {len(shapes)} real shapes of the bundled sample "
        f"({len({each.gpu for each in shapes})} GPUs, {len({each.provider for each in shapes})} providers), "
        f"each in many regions, {catalogue.SPOT_SHARE:.0%} of them as spot too, prices times a seeded jitter."
    )
    on = machine("rackrate", "duckdb", "numpy", "gpuhunt")
    print(on)
    if not options.dry_run:
        write_section("market", "\n\n".join(("## Market", on, made_of, *parts)))


if __name__ == "__main__":
    main()
