"""Looking after the market data: import, check, describe, and the state of the installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import clock
from rackrate.api import Instant, open_market, to_instant
from rackrate.catalog.check import check_catalog
from rackrate.errors import DataError, UsageError
from rackrate.market.home import home_of
from rackrate.report import state
from rackrate.report.block import Column
from rackrate.report.cards import Listing
from rackrate.report.state import Checked, Imported, MarketStats, Shared

if TYPE_CHECKING:
    from rackrate.market.store import Store


def import_prices(
    path: Path | str | None,
    *,
    form: str = "",
    mapping: Path | str | None = None,
    at: Instant = None,
    data: Path | str | None = None,
    is_dry_run: bool = False,
    on_row: Callable[[], None] | None = None,
) -> Imported:
    """Import a price list into a market store.

    Args:
        path: a file or a folder of files; None for the format `sample`.
        form: a format that we know (`import_formats`), or `sample`: the lists that ship with the package.
        mapping: a mapping file instead, for any other CSV or JSON.
        at: when the prices were true, for a list that does not say.
        data: the store, a folder or an address; None for the user's own. Made when it does not exist.
        is_dry_run: read and judge, write nothing.
        on_row: called once a row, for progress.

    Raises:
        ImportRejected: the input cannot be read as such a list; nothing was stored.
        UsageError: no such format, or a mapping that is not valid.
        DataError: the disk is full or fails; the store is as it was.
    """
    from rackrate.market.ingest import copy_sample, import_list  # noqa: PLC0415 - start-up
    from rackrate.market.store import manifest  # noqa: PLC0415 - start-up

    home = home_of(data)
    home.look()
    folder = home.folder
    was_empty = not manifest.load(folder).files
    if form == "sample":
        receipts = copy_sample(folder, is_dry_run=is_dry_run)
    else:
        receipts = import_list(
            folder,
            Path(path or ""),
            form=form,
            mapping=Path(mapping) if mapping else None,
            at=to_instant(at),
            is_dry_run=is_dry_run,
            on_row=on_row,
        )
    unshared = "" if is_dry_run else home.share()
    return Imported(tuple(receipts), is_dry_run, str(home), was_empty, unshared)


def publish_market(origin: Path | str | None = None, *, data: Path | str | None = None) -> Shared:
    """Put into a shared market what a store has and it lacks.

    Args:
        origin: folder of the store; None for what was collected or imported here and is not shared yet.
        data: address of the shared market; None for the configured one.

    Raises:
        UsageError: no address, or the package for it is not installed.
        DataError: it cannot be written, or the store has no data.
    """
    from rackrate.market.store import manifest  # noqa: PLC0415 - start-up

    home = home_of(data)
    if not home.mirror:
        hint = "rackrate market publish --store s3://bucket/prefix"
        raise UsageError(f"{home} is a folder, which is not shared", hint=hint)
    folder = Path(origin) if origin else None
    if folder and not manifest.load(folder).files:
        raise DataError(f"{folder} holds no market data", code="no-market-data")
    n_new = home.mirror.share(folder)
    return Shared(home.address, n_new, manifest.load(home.folder))


def import_formats() -> Listing:
    """Return the price lists that can be imported by name."""
    from rackrate.market.importers import FORMATS  # noqa: PLC0415 - start-up

    columns = (Column("format", "format"), Column("reads", "reads"))
    rows = (*FORMATS.items(), ("sample", "the lists that ship with Rackrate"))
    return Listing("Formats", columns, rows, ("any other CSV or JSON: --mapping FILE.toml",))


def check_market(*, data: Path | str | Store | None = None, limit: int = 20) -> Checked:
    """Check catalog and store; count what the quality rules found.

    Args:
        data: the market; None for the default.
        limit: quarantined records to return.
    """
    store = open_market(data)
    rules: dict[tuple[str, str], int] = {}
    names: dict[tuple[str, str], int] = {}
    for file in store.files:
        for code, n in file.rules.items():
            rules[file.source, code] = rules.get((file.source, code), 0) + n
        for name, n in file.unknown_gpus.items():
            names[file.source, name] = names.get((file.source, name), 0) + n
    return Checked(
        problems=tuple(check_catalog()),
        damaged=tuple(store.damaged()),
        rules=tuple((source, code, n) for (source, code), n in sorted(rules.items())),
        unknown_gpus=tuple((source, name, n) for (source, name), n in sorted(names.items())),
        quarantine=tuple(store.quarantine(limit)),
        n_rows=sum(file.rows for file in store.files if file.table != "quarantine"),
        n_rejected=sum(file.rows for file in store.files if file.table == "quarantine"),
    )


def compact_market(*, data: Path | str | None = None) -> Listing:
    """Merge the many small files that collecting makes, those of days and months that are over.

    Args:
        data: the store; None for the user's own.

    Raises:
        UsageError: the market is shared.
        Refused: the folder cannot be written.
        DataError: the disk is full or fails; the store is as it was.
    """
    from rackrate.market.store.compact import compact  # noqa: PLC0415 - start-up

    home = home_of(data)
    if home.address:
        hint = "name a folder: --data DIR"
        raise UsageError(f"{home} is shared: its parts lie with others too and are not merged", hint=hint)
    folder = home.folder
    if not folder.is_dir():
        raise DataError(f"{folder} holds no market data", code="no-market-data")
    merges = compact(folder, clock.now())
    columns = (
        Column("source", "source"), Column("table", "table"), Column("period", "period"),
        Column("n_files", "files", 0), Column("rows", "rows", 0),
    )  # fmt: skip
    rows = tuple((each.source, each.table, each.period, each.n_files, each.rows) for each in merges)
    n = sum(each.n_files for each in merges)
    return Listing(f"{n} files merged into {len(rows)}", columns, rows)


def market_stats(*, data: Path | str | Store | None = None) -> MarketStats:
    """Return what is in the store: lists, ages, licences, GPUs by kind, price changes."""
    return state.market_stats(open_market(data))


def doctor() -> Listing:
    """Check Python, packages, catalog and market data; each line is `ok`, `absent` or `fault`."""
    columns = (Column("what", "what"), Column("state", "state"), Column("says", "says"))
    return Listing("Doctor", columns, tuple(_symptoms()))


def _symptoms() -> Iterator[tuple[str, str, str]]:
    import platform  # noqa: PLC0415 - start-up
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - start-up

    yield "python", "ok", platform.python_version()
    for package in ("rackrate", "click", "duckdb", "numpy", "rich", "altair", "vl-convert-python"):
        try:
            yield package, "ok", version(package)
        except PackageNotFoundError:
            yield package, "absent", "only charts as SVG need it: pip install 'rackrate[notebook]'"
    problems = check_catalog()
    yield "catalog", "fault" if problems else "ok", "; ".join(p.says for p in problems) or "no contradictions"
    try:
        store = open_market()
        faults = store.damaged()
        where = "the bundled sample" if store.is_sample else store.address or str(store.folder)
        newest = f"newest prices {store.newest:%Y-%m-%d}" if store.newest else "no dated prices"
        yield (
            "market",
            "fault" if faults else "ok",
            "; ".join(faults) or f"{where}, {newest}{store.behind and '; '}{store.behind}",
        )
    except DataError as error:
        yield "market", "fault", error.message
