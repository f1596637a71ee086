"""The history as a picture: valid, titled, with the numbers beside it, and clear words when it cannot be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import rackrate
from rackrate import chart

WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ImportError(f"no module named {name!r}")
sys.meta_path.insert(0, Blocked())
from rackrate.cli import status
sys.exit(status(sys.argv[2:]))
"""


def test_the_history_is_written_as_svg_with_its_finding(tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "l40s.svg"
    ran = cli("price", "l40s", "--history", "90d", "--svg", str(file))
    assert (ran.code, ran.err) == (0, f"wrote {file}\n")
    root = ET.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - we wrote it
    said = "".join(root.itertext())
    title = rackrate.price("l40s", history="90d").line().title
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert title in said
    assert "USD per GPU-hour" in said
    assert title in ran.out
    assert re.search(r"2026-08-22 +1\.535", ran.out)


def test_the_picture_comes_beside_any_form(tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "h100.svg"
    ran = cli("price", "h100-sxm", "--svg", str(file), "--json")
    assert ran.json["history"]
    assert file.stat().st_size > 1000


def test_the_index_is_drawn_in_dollars_from_the_first_median() -> None:
    price = rackrate.price("l40s", history="90d")
    rows = chart.history(price).to_dict()["data"]["values"]
    first = price.history[0].median_usd_per_gpu_hour
    assert rows[0]["index"] == pytest.approx(first)
    assert rows[-1]["index"] == pytest.approx(first * price.history[-1].index / 100)
    assert [row["median"] for row in rows] == [day.median_usd_per_gpu_hour for day in price.history]


@pytest.mark.parametrize("more", [["--as-of", "2026-07-05", "--history", "30d"], ["--history", "1h"]])
def test_less_than_two_days_are_no_history_to_draw(more: list[str], tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "f.svg"
    ran = cli("price", "l40s", *more, "--svg", str(file), "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "no-answer")
    assert "--history" in ran.json["error"]["hint"]
    assert not file.exists()


@pytest.mark.parametrize(("blocked", "named"), [("altair", "altair"), ("vl_convert", "vl-convert-python")])
def test_without_the_extra_the_message_says_what_to_install(
    blocked: str, named: str, tmp_path: Path, process: Any
) -> None:
    file = tmp_path / "f.svg"
    ran = process("-c", WITHOUT, blocked, "price", "l40s", "--history", "90d", "--svg", str(file))
    assert ran.code == 2
    assert ran.err == f"error: charts need the package {named}\n  pip install 'rackrate[notebook]'\n"
    assert not file.exists()


def test_without_the_extra_everything_else_works(process: Any) -> None:
    ran = process("-c", WITHOUT, "altair", "price", "l40s", "--history", "90d", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.json["history"]) == 49
