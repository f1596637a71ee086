"""What a notebook shows of each public value: whole, escaped, with its numbers, and in one line."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

import rackrate
from rackrate import upkeep

VALUES = {
    "compare": lambda: rackrate.compare("l40s", "a10"),
    "formats": upkeep.import_formats,
    "gpu": lambda: rackrate.gpu("l40s"),
    "gpus": rackrate.gpus,
    "model": lambda: rackrate.model("llama-3.1-70b"),
    "models": rackrate.models,
    "offers": lambda: rackrate.offers("l40s", limit=20),
    "price": lambda: rackrate.price("l40s", history="30d", by_provider=True),
    "provider": lambda: rackrate.provider("runpod"),
    "providers": rackrate.providers,
}
EMPTY = {"br", "hr", "img"}


class Strict(HTMLParser):
    """Refuses a tag that closes nothing, and anything that could run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "style", "iframe", "object")
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_it_is_valid_and_holds_every_cell_of_its_tables(name: str) -> None:
    value: Any = VALUES[name]()
    parser = Strict()
    parser.feed(value._repr_html_())
    assert parser.open == []
    shown = set(parser.text)
    for block in value.blocks():
        assert block.title in shown
        for cells in block.cells() if hasattr(block, "cells") else ():
            assert {cell for cell in cells if cell} <= shown


@pytest.mark.parametrize("name", ["compare", "gpu", "offers", "price"])
def test_its_repr_is_one_line_with_a_unit_or_the_names(name: str) -> None:
    said = repr(VALUES[name]())
    assert "\n" not in said
    assert said.startswith("<")
    assert len(said) < 200
    assert "USD/GPU-h" in said or "l40s / a10" in said


@pytest.mark.parametrize("name", sorted(VALUES))
def test_its_plain_data_are_json(name: str) -> None:
    text = json.dumps(VALUES[name]().to_dict(), allow_nan=False)
    assert json.dumps(json.loads(text)) == text
