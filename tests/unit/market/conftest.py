"""A market of the test's own: rows in, what the store then holds out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rackrate.market.ingest import import_list
from rackrate.market.store.write import Receipt

FIELDS = (
    "provider", "seller", "gpu", "gpu_count", "kind", "tier", "sku", "interconnect", "vcpu", "country",
    "region", "term_months", "available", "url", "notes", "vram", "ram", "disk", "at", "storage_per_gb_month",
    "included_disk_gb", "egress_per_gb", "included_egress_gb", "ingress_per_gb", "min_rental_s",
)  # fmt: skip

BASE: dict[str, Any] = dict.fromkeys(FIELDS) | {
    "provider": "acme",
    "gpu": "L40S",
    "gpu_count": 1,
    "kind": "on_demand",
    "url": "https://acme.example/prices",
    "at": "2026-08-22T06:00:00Z",
    "usd": 1.20,
    "currency": "USD",
}


def mapping_text(price: str = "", head: str = "") -> str:
    """Return a mapping in which every field has a column of its own name."""
    columns = "\n".join(f'{name} = "{name}"' for name in FIELDS)
    price = price or 'from = "usd"\nper = "gpu"\ncurrency = { from = "currency" }'
    return f'source = "acme"\n{head}\n[columns]\n{columns}\n[[price]]\n{price}\n'


class Market:
    """A store in a folder, and the lists that go into it.

    Attributes:
        folder: of the store.
        receipt: of the last import.
    """

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.folder = tmp / "store"
        self.receipt = Receipt("none")

    def take(self, rows: Iterable[dict[str, Any]], *, price: str = "", head: str = "") -> Receipt:
        """Import rows, each the base offer with some fields changed."""
        mapping, listed = self.tmp / "mapping.toml", self.tmp / "list.json"
        mapping.write_text(mapping_text(price, head))
        listed.write_text(json.dumps([BASE | row for row in rows]))
        (self.receipt,) = import_list(self.folder, listed, mapping=mapping)
        assert self.receipt.n_read == (
            self.receipt.n_published + self.receipt.n_rejected + self.receipt.n_known
        )
        return self.receipt

    def query(self, columns: str, table: str = "offers") -> list[tuple[Any, ...]]:
        """Return columns of all stored rows of a table, by record number."""
        files = sorted(map(str, self.folder.glob(f"{table}-*.parquet")))
        if not files:
            return []
        sql = f"SELECT {columns} FROM read_parquet(?) ORDER BY line, snapshot_at"  # noqa: S608
        with duckdb.connect() as con:
            return con.execute(sql, [files]).fetchall()

    def flags(self) -> dict[int, set[str]]:
        """Return the flags of each published record."""
        return {line: set(flags) for line, flags in self.query("line, flags")}

    def rejected(self) -> dict[int, str]:
        """Return the rule that each rejected record broke."""
        return dict(self.query("line, rule", "quarantine"))


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path)


@pytest.fixture
def write_mapping(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a mapping: columns, price, head and tail as TOML text."""

    def write(columns: str, price: str = 'from = "usd"', head: str = "", tail: str = "") -> Path:
        path = tmp_path / "mapping.toml"
        path.write_text(f'source = "acme"\n{head}\n[columns]\n{columns}\n[[price]]\n{price}\n{tail}\n')
        return path

    return write
