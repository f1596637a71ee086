"""Ask the store: current offers, prices by day, purchase prices, and what state the data are in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rackrate.errors import DataError, StoreBroken
from rackrate.market.filter import OfferFilter
from rackrate.market.offer import COLUMNS, SINCE, facts_html
from rackrate.market.stats import FRESH, SHOWN
from rackrate.market.store import manifest
from rackrate.market.store.found import Count, Found, counted
from rackrate.market.store.gate import literal, text
from rackrate.market.store.manifest import File, Manifest

if TYPE_CHECKING:
    from rackrate.market.store.days import Days

_PART = 8192
"""Rows read at a time, where they are many."""

_SMALL = {"threads": 1, "async_threads": 1}
"""Settings of a server, which has other work for its cores: each thread keeps memory of its own."""


class Store:
    """A market store, read-only.

    Attributes:
        folder: where its files are.
        address: of the shared market that it mirrors; empty for any other.
        is_sample: whether it is the one that ships with the package.
        behind: why it may lack what the shared market has by now; empty when it does not.
    """

    def __init__(
        self, folder: Path, current: Manifest, *, address: str = "", is_sample: bool = False
    ) -> None:
        self.folder = folder
        self.address = address
        self.is_sample = is_sample
        self.behind = ""
        self._manifest = current
        self._prepared: Days | None = None
        self._newest_offers = ""

    @classmethod
    def open(cls, folder: Path | None, default: Path, address: str = "") -> Store:
        """Open the store in `folder`; without one that in `default`, else the bundled sample.

        Args:
            folder: that was named, or the mirror of a shared market.
            default: where the user's own is.
            address: of the shared market.

        Raises:
            DataError: `folder` was named and holds no market data.
            StoreBroken: the manifest cannot be read.
        """
        current = manifest.load(folder or default)
        if current.files:
            return cls(folder or default, current, address=address)
        if folder:
            hint = "import a list into it: rackrate market import, or leave --data out"
            raise DataError(f"{address or folder} holds no market data", hint=hint, code="no-market-data")
        return cls.sample()

    @classmethod
    def sample(cls) -> Store:
        """Open the sample that ships with the package."""
        folder = Path(str(files("rackrate.market") / "data" / "sample"))
        return cls(folder, manifest.load(folder), is_sample=True)

    def _repr_html_(self) -> str:
        sources = sorted({file.source for file in self.files})
        facts = {"newest": self.newest, "dataset": self.version, "sources": ", ".join(sources)}
        where = self.address or self.folder
        return facts_html("The bundled market sample" if self.is_sample else f"Market in {where}", facts)

    @property
    def version(self) -> str:
        """Name the state of the data: 12 hex digits."""
        return self._manifest.version

    @property
    def files(self) -> tuple[File, ...]:
        """Return the files that make up the store, oldest first."""
        return self._manifest.files

    def live(self) -> Mapping[tuple[str, str], tuple[File, manifest.Snapshot]]:
        """Return, by source and instant of a listing, the file that speaks for it."""
        return self._manifest.live()

    @cached_property
    def newest(self) -> datetime | None:
        """Return the instant of the newest dated listing: what "now" means for these data."""
        dated = [at for (_, at), (_, snapshot) in self._manifest.live().items() if snapshot.is_dated]
        return datetime.fromisoformat(max(dated)).replace(tzinfo=UTC) if dated else None

    @cached_property
    def _con(self) -> duckdb.DuckDBPyConnection:
        return self._connected({})

    def _connected(self, settings: dict[str, int]) -> duckdb.DuckDBPyConnection:
        """Return an in-memory database that may read this folder and nothing else."""
        extensions = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        con = duckdb.connect(config={**extensions, **settings})
        con.execute("SET parquet_metadata_cache = true")  # a file never changes
        con.execute("SET disabled_optimizers = 'late_materialization'")  # it reads the rows twice
        names = ", ".join(map(text, {str(self.folder), literal(self.folder)}))
        con.execute(f"SET allowed_directories = [{names}]")
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        return con

    def find(
        self,
        wanted: OfferFilter,
        order: str,
        *,
        limit: int | None = None,
        as_of: datetime | None = None,
        max_age: timedelta | None = None,
    ) -> Found:
        """Return the current offers that match.

        Args:
            wanted: what they must be.
            order: SQL order, from `filter.order_by`.
            limit: how many at most.
            as_of: look at the market of that instant; None for the newest.
            max_age: how old they may be; `timedelta.max` for any age or none stated; None for 7 days,
                and any age for undated offers and lists made once.
        """
        base, params = self._current(as_of)
        conditions = wanted.conditions()
        if not base:
            return Found.counted((), 0, {})
        asked = {name: sql for name, sql in conditions.items() if name != "kind"}
        where, values = _all_of(asked.values())
        kind, kind_values = conditions.get("kind", ("true", []))
        old, old_values = self._is_old(as_of, max_age)
        rows = self._rows(
            f"SELECT {', '.join(COLUMNS)} FROM {base} AND {where} AND {kind} AND NOT {old} "  # noqa: S608
            f"ORDER BY {order}" + (f" LIMIT {limit}" if limit is not None else ""),
            [*params, *values, *kind_values, *old_values],
        )

        @cache
        def count() -> Count:
            counts = self._rows(
                f"SELECT {kind} AS is_kind, kind, {old} AS is_old, count(*) "  # noqa: S608
                f"FROM {base} AND {where} GROUP BY ALL",
                [*kind_values, *old_values, *params, *values],
            )
            return counted(counts, max_age)

        return Found(tuple(rows), count)

    def columns(
        self, names: Sequence[str], *, as_of: datetime | None = None, max_age: timedelta | None = None
    ) -> dict[str, list[Any]]:
        """Return all current offers column by column in a fixed order, with `doubt` beside them.

        `doubt` says why an offer should not be counted on: it is too old, undated, or held back by a rule;
        it is empty where nothing is wrong.

        Args:
            names: of columns.
            as_of: look at the market of that instant; None for the newest.
            max_age: as in `find`.
        """
        base, params = self._current(as_of)
        if not base:
            return {name: [] for name in (*names, "doubt")}
        old, old_values = self._is_old(as_of, max_age)
        doubt = (
            f"CASE WHEN {old} THEN 'too old' WHEN is_counted THEN '' "
            "WHEN observed_at IS NULL THEN 'undated' ELSE 'held back by a quality rule' END AS doubt"
        )
        order = "provider, source, origin, line, series"
        sql = f"SELECT {', '.join(names)}, {doubt} FROM {base} ORDER BY {order}"  # noqa: S608
        with self._reading():
            found = self._con.execute(sql, [*old_values, *params]).fetchnumpy()
        return {name: found[name].tolist() for name in (*names, "doubt")}

    def removing(
        self, wanted: OfferFilter, as_of: datetime | None, max_age: timedelta | None = None
    ) -> dict[str, int]:
        """Return, for each condition, how many offers would match without it alone."""
        base, params = self._current(as_of)
        if not base:
            return {}
        conditions = wanted.conditions()
        old, old_values = self._is_old(as_of, max_age)
        young = f"NOT {old}", old_values
        found = {}
        for name in conditions:
            others = [sql for other, sql in conditions.items() if other != name]
            where, values = _all_of([*others, young])
            rows = self._rows(f"SELECT count(*) FROM {base} AND {where}", [*params, *values])  # noqa: S608
            found[name] = int(rows[0][0])
        return found

    def prices_by_day(
        self, gpu: str, kind: str, since: date, until: date
    ) -> Iterator[tuple[date, str, str, float, float]]:
        """Yield day, provider, series, its cheapest USD per GPU-hour that day, and the rate used.

        Counted rows only; the rate is USD for one unit of the currency that the price is set in. They are
        read part by part: all at once they would take more memory than everything else together.
        """
        if self._prepared:
            return self._prepared.of_gpu(gpu, kind, since, until)
        columns = "day, provider, priced"
        return self._days(columns, since, until, "AND gpu = ? AND kind = ?", [gpu, kind])

    def market_by_day(
        self, kind: str, since: date, until: date
    ) -> Iterator[tuple[str, date, str, str, float, float]]:
        """Yield the same of every GPU, which stands first: one question for an overview."""
        if self._prepared:
            return self._prepared.of_kind(kind, since, until)
        return self._days("gpu, day, provider, priced", since, until, "AND kind = ?", [kind])

    def prepare(self) -> None:
        """Read the newest offers and all days (14 bytes a price) into memory: questions then open no files.

        For a server, which is asked many: a year of daily lists is hundreds of files. It may run beside
        questions, which read the files until it is done.
        """
        if self._prepared:
            return
        from rackrate.market.store.days import sorted_days  # noqa: PLC0415 - only a server asks

        days = sorted({date.fromisoformat(at[:10]) for _, at in self._manifest.live()})
        columns = "kind, gpu, day, provider, priced"
        with self._connected(_SMALL) as con:  # one keeps what it took until it is closed
            self._prepared = sorted_days(self._days(columns, day, day, con=con) for day in days)
        con = self._connected(_SMALL)
        base, params = self._current(None)
        if base:
            con.execute(f"CREATE TABLE newest AS SELECT * FROM {base}", params)  # noqa: S608 - our own text
        self._con = con  # a question that is under way keeps the one before
        self._newest_offers = base and "newest WHERE true"

    def _days(
        self,
        columns: str,
        since: date,
        until: date,
        wanted: str = "",
        values: Sequence[Any] = (),
        con: duckdb.DuckDBPyConnection | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the counted prices of these days, sorted by columns, of which it is the cheapest.

        A list made once is no history: it takes part only in a store that has no other.
        """
        renewed = {f.source for f in self._manifest.files if f.about.get("cadence") != "once"}
        base, params = self._everything(since, until, renewed)
        if not base:
            return
        every = """snapshot_at::DATE AS day, gpu, provider, kind, usd_per_gpu_hour AS usd,
            usd_per_unit AS rate, concat_ws('|', source, currency, series) AS priced"""
        counted = f"(SELECT {every} FROM {base} AND gpu IS NOT NULL AND is_counted)"  # noqa: S608 - the text is ours
        yield from self._parts(
            f"""SELECT {columns}, min(usd), arg_min(rate, usd)
            FROM {counted} WHERE true {wanted} GROUP BY ALL ORDER BY ALL""",  # noqa: S608 - likewise
            [*params, *values],
            con,
        )

    def purchases(self, gpu: str) -> list[tuple[datetime, float, str]]:
        """Return instant, USD and source of what one card cost to buy, oldest first."""
        found = self._manifest.tables("purchases")
        if not found:
            return []
        paths = [literal(self.folder / file.name) for file in found]
        rows = self._rows(
            "SELECT bought_at, usd, source FROM read_parquet(?) WHERE gpu = ? ORDER BY bought_at",
            [paths, gpu],
        )
        return [(at.replace(tzinfo=UTC), usd, source) for at, usd, source in rows]

    def quarantine(self, limit: int = 20) -> list[tuple[Any, ...]]:
        """Return source, file, record number, rule, reason and record of rows not published."""
        found = self._manifest.tables("quarantine")
        if not found:
            return []
        paths = [literal(self.folder / file.name) for file in found]
        return self._rows(
            "SELECT source, origin, line, rule, reason, record FROM read_parquet(?) "
            "ORDER BY source, origin, line LIMIT ?",
            [paths, limit],
        )

    def tally(self, as_of: datetime | None = None) -> list[tuple[Any, ...]]:
        """Return, by GPU and kind, the counted offers, providers and lowest price of the market now."""
        return self._newest_tally if as_of is None else self._tally(as_of)

    @cached_property
    def _newest_tally(self) -> list[tuple[Any, ...]]:
        """The tally of the newest listings, for which most answers ask; a store never changes."""
        return self._tally(None)

    def _tally(self, as_of: datetime | None) -> list[tuple[Any, ...]]:
        base, params = self._current(as_of)
        if not base:
            return []
        old, values = self._is_old(as_of, FRESH)
        return self._rows(
            f"""SELECT gpu, kind, provider, min(usd_per_gpu_hour), count(*) FROM {base}
            AND gpu IS NOT NULL AND is_counted AND NOT {old} GROUP BY ALL ORDER BY ALL""",  # noqa: S608
            [*params, *values],
        )

    def changes(self, since: date, until: date) -> list[tuple[Any, ...]]:
        """Return each step of each series: source, provider, tier, day, price before and after.

        Prices are in the currency of the list, so that a rate of exchange alone changes nothing.
        """
        base, params = self._everything(since, until)
        if not base:
            return []
        return self._rows(
            f"""SELECT source, provider, any_value(tier), day, currency,
            lag(min(price)) OVER past AS before, min(price) AS after
            FROM (SELECT *, snapshot_at::DATE AS day FROM {base} AND price > 0)
            GROUP BY source, provider, series, currency, day
            WINDOW past AS (PARTITION BY source, series, currency ORDER BY day)
            QUALIFY before IS NOT NULL ORDER BY ALL""",  # noqa: S608
            params,
        )

    def damaged(self) -> list[str]:
        """Return what is wrong with the files: missing, cut short or not the ones that were written."""
        import hashlib  # noqa: PLC0415 - only this check needs it

        wrong = []
        for file in self._manifest.files:
            path = self.folder / file.name
            if not path.exists():
                wrong.append(f"{file.name} is missing")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                wrong.append(f"{file.name} is not what was written")
        return wrong

    def _current(self, as_of: datetime | None) -> tuple[str, list[Any]]:
        """Return a FROM ... WHERE clause over the newest whole listing of each source."""
        if as_of is None and self._newest_offers:
            return self._newest_offers, []
        limit = manifest.stamp(as_of.astimezone(UTC)) if as_of else None
        newest: dict[str, tuple[str, File]] = {}
        for (source, at), (file, snapshot) in self._manifest.live().items():
            in_time = limit is None or at <= limit
            if in_time and snapshot.is_whole and at > newest.get(source, ("",))[0]:
                newest[source] = at, file
        clause, params = self._scan([(file, at) for at, file in newest.values()])
        if not clause or not limit:
            return clause and f"{clause} AND is_last", params
        # Of a listing that was then under way, the last of each series is another than at its end.
        clause = f"""(FROM {clause} AND coalesce(observed_at <= ?, true)
            QUALIFY observed_at IS NOT DISTINCT FROM max(observed_at) OVER (PARTITION BY source, series))
            WHERE true"""
        return clause, [*params, limit]

    def _everything(self, since: date, until: date, sources: Collection[str] = ()) -> tuple[str, list[Any]]:
        """Return a FROM ... WHERE clause over all whole listings of the days (and sources) asked for."""
        first, last = since.isoformat(), until.isoformat() + "T24"
        return self._scan(
            [
                (file, at)
                for (source, at), (file, snapshot) in self._manifest.live().items()
                if first <= at <= last
                and snapshot.is_whole
                and snapshot.is_dated
                and (source in sources or not sources)
            ]
        )

    def _scan(self, listings: Iterable[tuple[File, str]]) -> tuple[str, list[Any]]:
        """Return a FROM ... WHERE clause over these listings."""
        by_file: dict[str, list[str]] = {}
        schemas: set[int] = set()
        for file, at in listings:
            by_file.setdefault(str(self.folder / file.name), []).append(at)
            schemas.add(file.schema)
        if not by_file:
            return "", []
        times = sorted({at for ats in by_file.values() for at in ats})
        clause = f"{table_of(schemas)} WHERE snapshot_at IN ({', '.join('?' * len(times))})"
        params: list[Any] = [[literal(Path(path)) for path in by_file], *times]
        if len(by_file) > 1:
            clause += (
                " AND list_contains(map_extract_value(?::MAP(VARCHAR, TIMESTAMP[]), filename), snapshot_at)"
            )
            params.append(by_file)
        return clause, params

    def _is_old(self, as_of: datetime | None, max_age: timedelta | None) -> tuple[str, list[Any]]:
        """Return the condition that an offer is too old, measured from what "now" means here."""
        now = as_of or self.newest
        if now is None or max_age == timedelta.max:
            return "false", []
        edge = manifest.stamp((now - (max_age or SHOWN)).astimezone(UTC))
        if max_age:  # asked for: what gives no date does not prove that it is young enough
            return "coalesce(observed_at < ?, true)", [edge]
        lasting = [f.source for f in self._manifest.files if f.about.get("cadence") == "once"]
        return "(coalesce(observed_at < ?, false) AND NOT list_contains(?, source))", [edge, lasting]

    def _rows(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._reading():
            return self._con.execute(sql, list(params)).fetchall()

    def _parts(
        self, sql: str, params: Sequence[Any], con: duckdb.DuckDBPyConnection | None = None
    ) -> Iterator[tuple[Any, ...]]:
        with self._reading(), (con or self._con).cursor() as cursor:
            cursor.execute(sql, list(params))
            while rows := cursor.fetchmany(_PART):
                yield from rows

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:  # a damaged file breaks in as many ways as DuckDB has errors
            hint = "rackrate market check names the damaged files; import those lists again"
            first = str(error).splitlines()[0]
            raise StoreBroken(f"cannot read {self.folder}: {first}", hint=hint) from error


def table_of(schemas: Collection[int], files: str = "?") -> str:
    """Return what reads files of these schemas: a column that a file does not have yet is unknown in it."""
    together = ", union_by_name = true" if len(schemas) > 1 else ""
    table = f"read_parquet({files}, filename = true{together})"
    absent = [f"NULL::{sql} AS {name}" for name, sql in COLUMNS.items() if SINCE[name] > max(schemas)]
    return f"(SELECT *, {', '.join(absent)} FROM {table})" if absent else table  # noqa: S608 - our own text


def _all_of(conditions: Iterable[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    listed = list(conditions)
    sql = " AND ".join(sql for sql, _ in listed) or "true"
    return sql, [value for _, values in listed for value in values]
