"""Factors: products by hand, keys that nobody measured, tables that are none."""

from __future__ import annotations

import re

import pytest

from rackrate.catalog.load import slugs
from rackrate.errors import CatalogInvalid
from rackrate.perf.chip import CLASSES
from rackrate.perf.factors import BASE, Factors, load_factors

SMALL = Factors({"memory": {"all": 0.8, "ada": 1.1, "l40s": 0.9}, "wait": {"all": 2.0}}, "2026-01-01")


def test_a_factor_is_its_base_times_the_keys_that_are_known() -> None:
    assert SMALL.value("memory") == 0.8
    assert SMALL.value("memory", "ada", "l40s") == pytest.approx(0.792)
    assert SMALL.value("memory", "hopper", "h100-sxm") == 0.8
    assert SMALL.value("wait", "ada") == 2.0


def test_what_is_measured_is_told_apart() -> None:
    assert SMALL.is_measured("memory", "l40s")
    assert not SMALL.is_measured("memory", "l4")
    assert not SMALL.is_measured("nothing", "l40s")


@pytest.mark.parametrize("name", ["compute", ""])
def test_a_factor_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(CatalogInvalid, match="has no"):
        SMALL.value(name)


def test_a_row_without_a_base_is_an_error() -> None:
    with pytest.raises(CatalogInvalid, match="has no memory"):
        Factors({"memory": {"ada": 1.1}}).value("memory", "ada")


def test_a_table_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CatalogInvalid, match="no table of factors nowhere"):
        load_factors("nowhere")


@pytest.mark.parametrize("name", ["llm", "kernels", "media"])
def test_the_bundled_tables_are_positive_and_dated(name: str) -> None:
    table = load_factors(name)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", table.date)
    for row in table.values.values():
        assert all(value > 0 for value in row.values())
        assert BASE in row


def test_every_gpu_in_the_tables_is_one_of_the_catalog() -> None:
    """A key that looks like a slug of a card and is none would never be used."""
    known = {*slugs("gpus"), *CLASSES}
    looks_like_a_gpu = re.compile(r"(?:[abhltv]\d{1,3}|rtx|gb\d{3}|mi\d{3})[\w-]*")
    for factor, row in load_factors("llm").values.items():
        for key in row:
            bare = key.partition(":")[0]
            if looks_like_a_gpu.fullmatch(bare):
                assert bare in known, f"{factor}: {key}"
