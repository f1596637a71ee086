"""Every page answers in every form, and has what the rental page has, better."""

from __future__ import annotations

import ast
import csv
import html
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rackrate
from rackrate.error_codes import all_codes

PAGES = (
    "/", "/gpus/l40s", "/gpus/l40s/instances", "/gpus/l40s/models", "/gpus/l40s/history", "/compare",
    "/models", "/models/llama-3.1-8b", "/models/llama-3.1-70b/on/l40s?precision=int4", "/providers",
    "/providers/runpod", "/offers?gpu=l40s", "/plan?model=llama-3.1-8b&rps=1", "/rent-or-own", "/methodology",
    "/errors", "/status", "/changes", "/about", "/api",
)  # fmt: skip
OPTIONS_OF_ENGINES = {"--gpu-memory-utilization", "--max-num-seqs"}
"""Of vLLM, which one types there."""

OVERVIEW = {
    "O1 segment": '<span class="badge">datacenter</span>',
    "O2 title and slug": "<h1>NVIDIA L40S</h1>",
    "O2 aliases": "Price lists write it: ",
    "O3 specification": "<li>Ada Lovelace</li><li>48 GB</li><li>350 W</li><li>864 GB/s</li>",
    "O3 rates, link, rendering": "<li>no NVLink</li><li>renders</li>",
    "O4 low with kind and provider": "an hour on demand (runpod, 2026-08-22)",
    "O5 per month": "<dt>Per month</dt>",
    "O5 hours of a month are said": "a day 24 h, a week 168 h",
    "O6 providers": "Spread: 12 providers on demand",
    "O7 like for like": "% less than coreweave, like for like",
    "O8 cheapest": "<dt>Cheapest</dt>",
    "O8 dearest": "<dt>Most expensive</dt>",
    "O9 history": '<svg role="img" aria-label="NVIDIA L40S: on demand daily median',
    "O9 ranges": ">90 days</a>",
    "O9 kinds": "kind=spot#history",
    "O10 where to rent": "<h2>Where to rent it</h2>",
    "O11 usage": 'name="hours_per_day" type="range" min="1" max="24"',
    "O12 rent": "<strong>$9.21</strong> a day",
    "O13 electricity": "of electricity a day",
    "O14 breakeven": "Breakeven on $9,749.95",
    "O15 workloads": "Suitable workloads",
    "O16 models that fit": "<h2>AI models that fit</h2>",
    "O17 instances": "shapes of",
    "O18 questions": "What AI models can I run on an NVIDIA L40S?",
    "why it matters": "<h2>Why it matters</h2>",
    "beside the A10": '<a href="/gpus/a10">a10</a><td class="n">1.145<td class="n">24',
}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_without_javascript(site: Any, path: str) -> None:
    page = site.get(path)
    assert page.status == 200
    assert len(page.body) < 60_000
    assert page.text.count("<h1") == 1
    assert "Loading" not in page.text
    assert not re.search(r">\s*(?:—|None|nan|inf)\s*<", page.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|woff2?)"', page.text)
    assert not re.search(r"<[^>]+ (?:style|on[a-z]+)=", page.text)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_json_and_markdown_and_its_table_csv(site: Any, path: str) -> None:
    stem, _, query = path.partition("?")
    stem = "/index" if stem == "/" else stem
    tail = f"?{query}" if query else ""
    assert isinstance(site.get(f"{stem}.json{tail}").json, dict)
    markdown = site.get(f"{stem}.md{tail}")
    assert markdown.text.startswith("# ")
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    rows = list(csv.reader(io.StringIO(site.get(f"{stem}.csv{tail}").text)))
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 1


@pytest.mark.parametrize(
    "path", ["/gpus/l40s/history", "/gpus/l40s/history?kind=spot&range=30d", "/offers?gpu=l40s"]
)
def test_a_table_is_parquet_with_types(site: Any, tmp_path: Path, path: str) -> None:
    stem, _, query = path.partition("?")
    found = site.get(f"{stem}.parquet?{query}")
    assert found.headers["content-type"] == "application/vnd.apache.parquet"
    file = tmp_path / "history.parquet"
    file.write_bytes(found.body)
    table = pq.read_table(file)
    rows = list(csv.DictReader(io.StringIO(site.get(f"{stem}.csv?{query}").text)))
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows) > 5
    for column in table.column_names:
        for value, text in zip(table[column].to_pylist(), [row[column] for row in rows], strict=True):
            if isinstance(value, float):
                assert value == pytest.approx(float(text), rel=1e-9)
            elif value is not None and not isinstance(value, (bool, datetime)):
                assert str(value) == text
    if "history" in path:
        assert pa.types.is_date(table.schema.field("day").type)
        assert pa.types.is_floating(table.schema.field("median_usd_per_gpu_hour").type)


@pytest.mark.parametrize("day", ["2026-07-15", "2026-08-22"])
def test_the_market_of_a_day_is_a_file(site: Any, tmp_path: Path, day: str) -> None:
    found = site.get(f"/snapshots/{day}.parquet")
    assert found.headers["content-type"] == "application/vnd.apache.parquet"
    file = tmp_path / "snapshot.parquet"
    file.write_bytes(found.body)
    rows = pq.read_table(file).to_pylist()
    expected = rackrate.offers(kind="any", as_of=day)
    assert [(row["provider"], row["gpu"], row["usd_per_hour"]) for row in rows] == [
        (offer.provider, offer.gpu, offer.usd_per_hour) for offer in expected
    ]
    assert len({row["gpu"] for row in rows}) > 20


@pytest.mark.parametrize(
    ("day", "near"), [("1999-01-01", "2026-0"), ("2999-01-01", "2026-08-22"), ("today", "2026-08-22")]
)
def test_a_day_without_prices_is_no_file_and_the_nearest_is_told(site: Any, day: str, near: str) -> None:
    found = site.get(f"/snapshots/{day}.parquet")
    assert found.status == 404
    assert found.json["hint"].startswith(f"did you mean `{near}")


def test_a_page_without_a_table_has_no_parquet(site: Any) -> None:
    found = site.get("/methodology/month.parquet")
    assert (found.status, found.json["code"]) == (400, "no-table")


@pytest.mark.parametrize("what", OVERVIEW)
def test_the_overview_has_every_element_of_the_rental_page(site: Any, what: str) -> None:
    assert OVERVIEW[what] in site.get("/gpus/l40s").text


def test_instances_have_text_in_every_cell(site: Any) -> None:
    page = site.get("/gpus/l40s/instances?kind=any").text
    for title in ("Cheapest instance", "Lowest per GPU", "Providers", "Instance shapes"):
        assert f"<dt>{title}</dt>" in page
    cells = re.findall(r"<td[^>]*>(.*?)(?=<t[dr]|\n|</t)", page)
    assert len(cells) > 500
    assert all(re.sub(r"<[^>]+>", "", cell).strip() for cell in cells)
    assert "no link is paid for" in page
    assert "Looking for the cheapest rate?" in page


def test_what_larger_machines_cost_is_counted_as_the_tiles_are(site: Any) -> None:
    for gpu in ("l40s", "a10", "h100-sxm"):
        found = site.get(f"/api/v1/gpus/{gpu}/instances").json["data"]
        lowest = min(each["usd_per_gpu_hour"] for each in found["by_count"])
        assert lowest == found["tiles"]["cheapest_usd_per_gpu_hour"]


def test_a_model_card_says_set_up_memory_speed_and_price(site: Any) -> None:
    page = site.get("/gpus/l40s/models?q=gemma-3-27b").text
    assert '<span class="badge good">fp8</span>' in page, "FP16 weights alone are 51 GiB"
    for title in ("GPUs", "Parameters", "Memory, GiB", "Longest context", "At once", "Speed", "Price"):
        assert f"<dt>{title}</dt>" in page
    missing = site.get("/gpus/l40s/models?precision=none").text
    assert re.search(r'does not fit</span>.*?<p class="small">[^<]+</p>', missing, re.DOTALL)


def test_no_model_fits_whose_weights_are_more_than_the_card(site: Any) -> None:
    first, n_checked = 0, 0
    while True:
        found = site.get(f"/api/v1/gpus/l40s/models?first={first}").json["data"]
        for row in found["data"]:
            if row["gpu_count"]:
                parts = row["weights_gib"] + (row["kv_gib"] or 0) + row["overhead_gib"]
                assert parts <= row["usable_gib"], row["model"]
                n_checked += 1
        first += 24
        if first >= found["meta"]["n_matching"]:
            break
    assert n_checked > 300


@pytest.mark.parametrize(
    ("usd", "rent", "breakeven"),
    [("0.28", "6.72 USD a day", "1,576 days"), ("0.92", "22.08 USD a day", "427 days")],
)
def test_the_simple_breakeven_is_that_of_the_rental_page(
    site: Any, usd: str, rent: str, breakeven: str
) -> None:
    query = f"gpu=l40s&rent_usd={usd}&hours_per_day=24&kwh_usd=0.12&price_usd=9000"
    page = site.get(f"/rent-or-own?{query}").text
    assert rent in page
    assert breakeven in page


def test_a_month_is_what_the_address_says(site: Any) -> None:
    assert "$1,121" in site.get("/gpus/l40s").text
    assert "$1,105" in site.get("/gpus/l40s?hours_per_month=720").text


def test_feeds_site_map_and_structured_data_are_valid(site: Any) -> None:
    atom = "{http://www.w3.org/2005/Atom}"
    for path in ("/feeds/market.atom", "/feeds/gpus/l40s.atom"):
        feed = ET.fromstring(site.get(path).body)  # noqa: S314 - our own
        ids = [entry.findtext(f"{atom}id") for entry in feed.iter(f"{atom}entry")]
        assert ids
        assert len(set(ids)) == len(ids)
        assert all(entry.findtext(f"{atom}updated") for entry in feed.iter(f"{atom}entry"))
    urls = [each.text or "" for each in ET.fromstring(site.get("/sitemap.xml").body).iter() if each.text]  # noqa: S314
    places = [url for url in urls if url.startswith("http")]
    assert len(places) > 700
    data = re.findall(r'<script type="application/ld\+json">(.*?)</script>', site.get("/gpus/l40s").text)
    kinds = {json.loads(text)["@type"] for text in data}
    assert kinds == {"Product", "BreadcrumbList"}
    assert json.loads(data[0])["offers"]["offerCount"] == 12


def test_every_code_that_an_error_may_have_is_explained(site: Any) -> None:
    known = set(all_codes())
    given = {code: where for where, code in _codes_in_the_source()}
    assert {code: where for code, where in given.items() if code not in known} == {}
    assert known - set(given) == set(), "explained, but nothing raises it"
    listed = {row["code"] for row in site.get("/errors.json").json["data"]}
    assert listed == known
    assert [code for code in sorted(known) if site.get(f"/errors/{code}").status != 200] == []


def _codes_in_the_source() -> Iterator[tuple[str, str]]:
    """Yield each code that a class of errors has, or that is given where an error is raised."""
    root = Path(rackrate.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_given = isinstance(node, ast.keyword) and node.arg == "code"
            is_own = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code"
            value = node.value if is_given or is_own else None  # type: ignore[attr-defined]
            if isinstance(value, ast.Constant) and value.value:
                yield f"{path.relative_to(root)}:{value.lineno}", value.value


SPOKEN = (
    *PAGES, "/gpus/t4", "/rent-or-own?gpu=mi300x", "/plan?model=llama-3.1-8b", "/plan?rps=2", "/gpus/gh200",
    "/plan?model=llama-3.1-8b&finetune=lora", "/offers?gpu=l40s&country=JP&nvlink=yes",
    "/gpus/t4/history?kind=reserved", "/models/llama-3.1-405b/on/t4",
)  # fmt: skip
"""Pages that give advice."""


@pytest.mark.parametrize("path", SPOKEN)
def test_a_page_speaks_of_fields_and_never_of_our_options(site: Any, path: str) -> None:
    page = site.get(path).text
    shown = html.unescape(re.sub(r"(?s)<script.*?</script>|<[^>]+>", " ", page))
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", shown))
    assert options <= OPTIONS_OF_ENGINES
    assert "`" not in shown
    commands = set(re.findall(r"rackrate (?:gpus?|offers|plan|own|models|fit|perf)\b", shown))
    assert commands <= ({"rackrate gpu"} if path == "/about" else set())


@pytest.mark.parametrize("path", [*SPOKEN, "/offers?kind=sport", "/compare?gpu=l40s", "/gpus/l40s?range=1"])
def test_programs_are_told_of_fields_and_never_of_our_options(site: Any, path: str) -> None:
    stem, _, query = path.partition("?")
    stem = "/index" if stem == "/" else stem
    places = [f"{stem}.{form}?{query}" for form in ("json", "md", "csv")]
    for place in places:
        text = site.get(place).text
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) <= OPTIONS_OF_ENGINES, place
        commands = set(re.findall(r"rackrate (?:gpus?|offers|plan|own|models|fit|perf)\b", text))
        assert commands <= ({"rackrate gpu"} if path == "/about" else set()), place


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/gpus/l40s/spread?kind=reserved", "/api/v1/offers?gpu=l40s&kind=reserved"),
        ("/plan?rps=2", "/api/v1/plan?model=llama-3.1-70b&rps=2, or workload"),
        ("/plan?model=llama-3.1-8b", "rps or tokens_per_day or users"),
        ("/compare?gpu=l40s", "/api/v1/compare?gpu=l40s&gpu=a10"),
        ("/rent-or-own?gpu=mi300x", "price_usd"),
        ("/provider", "/api/v1/providers"),
    ],
)
def test_a_hint_of_the_api_is_in_its_own_words(site: Any, path: str, hint: str) -> None:
    assert hint in site.get(f"/api/v1{path}").json["hint"]


def test_links_inside_the_site_lead_somewhere(site: Any) -> None:
    seen = {link for path in PAGES for link in re.findall(r'href="(/[^"#]*)', site.get(path).text)}
    picked = sorted(link.replace("&amp;", "&") for link in seen)[::29]
    assert len(picked) >= 15
    assert [link for link in picked if site.get(link).status not in (200, 301)] == []


def test_a_link_is_previewed_with_a_picture(site: Any) -> None:
    page = site.get("/gpus/l40s").text
    found = re.search(r'<meta property="og:image" content="([^"]+)">', page)
    assert found
    picture = site.get(unescape(found[1]).removeprefix(site.address))
    assert picture.headers["content-type"] == "image/png"
    assert picture.body.startswith(b"\x89PNG")
    assert int.from_bytes(picture.body[16:20]) >= 1200, "pixels wide"
    assert "og:image" not in site.get("/about").text


def test_no_model_is_of_unknown_size(site: Any) -> None:
    for number in range(1, 5):
        assert "not known" not in site.get(f"/models?page={number}").text
    assert "not known" not in site.get("/gpus/l40s/models?page=3").text


def test_a_page_is_seen_only_where_it_names_the_gpu(site: Any) -> None:
    assert "Seen in" in site.get("/gpus/l40s").text
    assert "Seen in" not in site.get("/gpus/rtx-3090").text


def test_a_column_of_which_nobody_says_anything_is_a_sentence(site: Any) -> None:
    where = site.get("/gpus/l40s").text.partition('id="where"')[2].partition("<details>")[0]
    assert ">vCPU</th>" not in where
    assert "no list says here: vCPU" in where


def test_a_table_without_rows_is_a_sentence(site: Any) -> None:
    page = site.get("/gpus/a2").text
    assert "nothing to weigh others against</h3>" in page
    assert not re.search(r"<tbody>\s*</tbody>", page)
    assert "1 video encoder and 2 decoders" in page


def test_what_is_not_there_is_said_in_words(site: Any) -> None:
    alone = site.get("/gpus/t4").text
    assert "nobody else offers it so" in alone
    assert "of 1 providers" not in alone
    nobody = site.get("/gpus/tpu-v5e").text
    assert "No list has it" in nobody
    assert "All 0 offers" not in nobody
    assert '<output for="calculator-hours_per_day"></output>' not in nobody
