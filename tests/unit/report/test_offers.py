"""A list of offers is a sequence, an Arrow stream and a table, each of the same rows."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Sequence

import duckdb
import pytest

import rackrate
from rackrate.market.offer import COLUMNS, Kind, Offer
from rackrate.report.offers import Offers, age_of


@pytest.fixture(scope="module")
def found() -> Offers:
    return rackrate.offers("l40s", limit=7)


def test_it_is_a_sequence_of_offers(found: Offers) -> None:
    assert isinstance(found, Sequence)
    assert (len(found), found.n_matching > 7) == (7, True)
    assert all(isinstance(offer, Offer) for offer in found)
    assert found[0] == next(iter(found))
    assert found[-1] == next(reversed(found))
    assert list(found[2:4]) == [found[2], found[3]]
    assert found[3] in found
    assert found.index(found[3]) == 3
    with pytest.raises(IndexError):
        _ = found[7]


def test_duckdb_asks_it_by_its_name(found: Offers) -> None:
    rows = duckdb.sql("SELECT provider, usd_per_gpu_hour FROM found").fetchall()
    assert rows == [(offer.provider, offer.usd_per_gpu_hour) for offer in found]
    described = duckdb.sql("DESCRIBE FROM found").fetchall()
    assert [row[0] for row in described] == list(COLUMNS)


def test_the_stream_outlives_what_made_it() -> None:
    stream = rackrate.offers("l40s", limit=3).__arrow_c_stream__()
    gc.collect()
    assert type(stream).__name__ == "PyCapsule"
    assert "arrow_array_stream" in repr(stream)


@pytest.mark.parametrize("asked", [{"max_age": "24h"}, {"kind": "any"}, {"limit": 1}, {"sort": "-usd"}])
def test_the_stream_holds_the_rows_that_are_shown(asked: dict[str, str]) -> None:
    offers = rackrate.offers("l40s", **asked)
    flags = list(COLUMNS).index("flags")
    assert duckdb.sql("FROM offers").fetchall() == [
        (*row[:flags], list(row[flags]), *row[flags + 1 :]) for row in offers.rows
    ]


def test_parts_of_a_dossier_stream_their_own_rows() -> None:
    bundles = rackrate.gpu("l40s").bundles
    assert duckdb.sql("SELECT count(*) FROM bundles").fetchall() == [(len(bundles),)]
    nothing = rackrate.gpu("p4").bundles
    assert (len(nothing), nothing.n_matching) == (0, 0)
    assert duckdb.sql("SELECT count(*), count(provider) FROM nothing").fetchall() == [(0, 0)]


def test_it_can_be_copied_and_sent(found: Offers) -> None:
    for other in (copy.copy(found), pickle.loads(pickle.dumps(found))):  # noqa: S301 - our own
        assert other == found
        assert list(other) == list(found)


def test_one_line_says_what_it_holds(found: Offers) -> None:
    assert repr(found) == "<Offers: 7 of 123 offers on 2026-08-22, from 0.600 USD/GPU-h>"


def test_a_row_becomes_an_offer_with_kinds_and_times_of_its_own(found: Offers) -> None:
    offer = found[0]
    assert offer.kind is Kind.ON_DEMAND
    assert offer.snapshot_at.tzinfo is not None
    assert offer.vram_total_gib == offer.vram_gib * offer.gpu_count if offer.vram_gib else True
    assert offer.to_dict().keys() == COLUMNS.keys()


def test_the_age_of_an_offer_without_a_date_is_said_so(found: Offers) -> None:
    dated = next(offer for offer in found if offer.observed_at)
    undated = next(offer for offer in found if not offer.observed_at)
    assert age_of(dated, found.as_of) == "under 1 h"
    assert age_of(undated, found.as_of) == age_of(dated, None) == "date not stated"


def test_the_table_says_what_was_left_out(found: Offers) -> None:
    (table,) = found.blocks()
    assert table.title == "7 of 123 offers on 2026-08-22"
    left, more, month = table.notes
    assert left.startswith("left out by default: 64 reserved, 4 serverless, 3 spot")
    assert more == "116 more match (--limit 0 shows all)"
    assert month == "a month is 730 hours"
