"""What a person sees and does, in Debian's Chromium: without JavaScript too, dark, narrow, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

TABS = (("Cloud instances", "/instances"), ("AI models", "/models"), ("Price history", "/history"))
READ = (
    "/", "/gpus/l40s", "/gpus/l40s/instances", "/gpus/l40s/models", "/gpus/l40s/history", "/compare",
    "/models", "/models/llama-3.1-8b", "/models/llama-3.1-70b/on/l40s?precision=int4", "/providers/runpod",
    "/offers?gpu=l40s", "/plan?model=llama-3.1-8b&rps=1", "/rent-or-own", "/methodology/price", "/status",
    "/changes", "/nowhere",
)  # fmt: skip


@contextmanager
def opened(browser: Any, site: Any, path: str, **options: Any) -> Iterator[Any]:
    """Open a page; end with an error where the console, or a request elsewhere, had one."""
    context = browser.new_context(base_url=site.address, **options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if site.address not in request.url else None)
    page.goto(path)
    yield page
    context.close()
    assert [text for text in said if "404 (Not Found)" not in text] == []


@pytest.mark.parametrize("has_js", [True, False], ids=["with", "without"])
def test_the_tabs_are_links(browser: Any, site: Any, *, has_js: bool) -> None:
    with opened(browser, site, "/gpus/l40s", java_script_enabled=has_js) as page:
        for name, path in TABS:
            page.get_by_role("navigation", name="NVIDIA L40S").get_by_role("link", name=name).click()
            page.wait_for_url(f"**/gpus/l40s{path}")
            assert page.locator(".tabs [aria-current=page]").inner_text() == name
        page.go_back()
        assert page.locator(".tabs [aria-current=page]").inner_text() == "AI models"


def test_the_calculator_reckons_while_one_moves_it(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/l40s") as page:
        before = page.locator("#own-answer").inner_text()
        page.get_by_label("Hours of use a day").fill("24")
        page.wait_for_function(
            "before => document.getElementById('own-answer').innerText !== before", arg=before
        )
        assert "$36.84 a day" in page.locator("#own-answer").inner_text()
        assert "hours_per_day=24" in page.url, "the state is the address"
        page.reload()
        assert "$36.84 a day" in page.locator("#own-answer").inner_text()


def test_the_calculator_is_a_form_without_javascript(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/l40s", java_script_enabled=False) as page:
        page.get_by_label("Electricity, USD/kWh").fill("0.5")
        page.get_by_role("button", name="Reckon").click()
        page.wait_for_url("**kwh_usd=0.5**")
        assert page.get_by_label("Electricity, USD/kWh").input_value() == "0.5"
        assert "$1.05 of electricity a day" in page.locator("#own-answer").inner_text()


def test_a_calculator_sent_back_as_it_was_changes_no_figure(browser: Any, site: Any) -> None:
    """What a form was filled with is no more certain because it came back."""
    with opened(browser, site, "/gpus/l40s", java_script_enabled=False) as page:
        before = page.locator("#own-answer").inner_text()
        page.get_by_role("button", name="Reckon").click()
        page.wait_for_url("**kwh_usd=**")
        assert page.locator("#own-answer").inner_text() == before
        verdict = page.locator("#own .verdict").inner_text()
        page.get_by_role("link", name="Every input with its range").click()
        page.wait_for_url("**/rent-or-own**")
        assert f"a day: {verdict}." in page.locator("main").inner_text()


def test_a_calculator_without_a_street_price_is_filled_with_the_rest(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/a2?hours_per_month=700", java_script_enabled=False) as page:
        form = page.locator("#calculator")
        assert form.get_by_label("Hours of use a day").input_value() == "6"
        assert float(form.get_by_label("Electricity, USD/kWh").input_value()) > 0
        assert form.get_by_label("Price of the card, USD").input_value() == ""
        assert form.get_by_label("A month is").input_value() == "700"


def test_the_calculator_reckons_for_several_gpus(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/l40s?hours_per_day=24", java_script_enabled=False) as page:
        page.locator("#calculator").get_by_label("GPUs").fill("8")
        page.get_by_role("button", name="Reckon").click()
        page.wait_for_url("**gpus=8**")
        answer = page.locator("#own-answer").inner_text()
        assert "Rent 8 GPUs" in answer
        assert "$294.72 a day" in answer, "8 times 36.84"
    assert site.get("/gpus/l40s?gpus=0").status == 400


PRICED = ("/", "/gpus/l40s/instances", "/gpus/l40s", "/offers?gpu=a100", "/models/llama-3.1-8b")


@pytest.mark.parametrize("path", PRICED)
def test_a_telephone_shows_each_price_beside_its_name(browser: Any, site: Any, path: str) -> None:
    with opened(browser, site, path, viewport={"width": 360, "height": 740}) as page:
        table = page.locator("table").filter(has=page.locator("thead th", has_text="USD")).last
        assert "USD" in table.locator("thead th").nth(1).inner_text()
        box = table.locator("tbody tr").first.locator("td").nth(1).bounding_box()
        assert box["x"] + box["width"] <= 360, "without scrolling"


WHOLE = ("/gpus/l40s", "/gpus/l40s/instances", "/models", "/models/llama-3.1-8b", "/compare", "/rent-or-own")


@pytest.mark.parametrize("path", WHOLE)
def test_a_wide_screen_shows_whole_tables(browser: Any, site: Any, path: str) -> None:
    with opened(browser, site, path, viewport={"width": 1280, "height": 900}) as page:
        wide = page.evaluate("""() => [...document.querySelectorAll(".scroll")]
            .filter(it => it.scrollWidth > it.clientWidth).map(it => it.getAttribute("aria-label"))""")
        assert wide == []


def test_figures_stand_under_each_other_also_where_they_are_text(browser: Any, site: Any) -> None:
    with opened(browser, site, "/") as page:
        week = page.locator("thead th").all_inner_texts().index("7 days")
        cell = page.locator(f"tbody td:nth-child({week + 1})").first
        assert cell.evaluate("it => getComputedStyle(it).textAlign") == "right"


def test_offers_that_count_today_come_before_cheaper_old_ones(site: Any) -> None:
    text = site.get("/gpus/l40s").text
    today, _, older = text[text.index('id="where"') :].partition("<details>")
    assert "date not stated" not in today
    assert "date not stated" in older
    csv = site.get("/gpus/l40s/instances.csv?kind=any").text.splitlines()
    ages = [line.split(",")[5] for line in csv[1:]]
    assert ages == sorted(ages, key=lambda age: age == "date not stated" or "days" in age)


@pytest.mark.parametrize("has_js", [True, False], ids=["with", "without"])
def test_the_market_is_filtered_and_sorted(browser: Any, site: Any, *, has_js: bool) -> None:
    with opened(browser, site, "/", java_script_enabled=has_js) as page:
        page.get_by_label("Name").fill("a100")
        if not has_js:
            page.get_by_role("button", name="Filter").click()
        page.wait_for_url("**q=a100**")
        assert page.locator("tbody tr").count() == 4
        page.get_by_role("link", name="median").click()
        page.wait_for_url("**sort=median_usd_per_gpu_hour**")
        medians = [float(text) for text in page.locator("tbody td:nth-child(2)").all_inner_texts()]
        assert medians == sorted(medians)
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("median")


CHARTS = (
    ("/gpus/l40s", ".mark-rule line", "median", 1),
    ("/gpus/l40s/history?range=30d", ".mark-rule line", "providers", 1),
    ("/models/llama-3.1-8b/on/l40s", ".mark-rect path", "KV cache", 2),
    ("/plan?model=llama-3.1-8b&rps=1", ".mark-symbol path", "what", 1),
    ("/rent-or-own", ".mark-symbol path", "low_usd_per_hour", 1),
)


@pytest.mark.parametrize(("path", "mark", "says", "n_charts"), CHARTS)
def test_a_chart_becomes_interactive_when_somebody_asks(
    browser: Any, site: Any, path: str, mark: str, says: str, n_charts: int
) -> None:
    asked: list[str] = []
    with opened(browser, site, path, color_scheme="dark") as page:
        page.on("request", lambda request: asked.append(request.url))
        buttons = page.get_by_role("button", name="make it interactive")
        assert buttons.count() == n_charts
        assert page.locator(".live").count() == 0
        for _ in range(n_charts):
            buttons.first.click()
            page.locator("figure [aria-busy]").wait_for(state="detached")
        assert page.locator("figure .live svg").count() == n_charts
        assert len([url for url in asked if url.endswith("/vega.js")]) == 1, "it is loaded once"
        page.locator(f"figure .live {mark}").nth(1).hover(force=True)
        page.locator("#vg-tooltip-element.visible").wait_for()
        assert says in page.locator("#vg-tooltip-element").inner_text()
        title = page.locator("figure .live .role-title-text text").first
        assert title.evaluate("it => getComputedStyle(it).fill") == page.evaluate(
            "getComputedStyle(document.body).color"
        ), "it has the colours of the page"


def test_a_chart_that_cannot_be_loaded_stays_a_picture(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/l40s") as page:
        page.route("**/l40s.vl", lambda route: route.fulfill(status=200, body="{"))
        page.get_by_role("button", name="make it interactive").click()
        page.get_by_role("button", name="that failed: try again").wait_for()
        assert page.locator("figure svg[role=img]").count() == 1
        page.unroute("**/l40s.vl")
        page.get_by_role("button", name="that failed: try again").click()
        page.locator("figure .live svg").wait_for()


def test_without_javascript_a_chart_has_its_spec(browser: Any, site: Any) -> None:
    with opened(browser, site, "/models/llama-3.1-8b/on/l40s", java_script_enabled=False) as page:
        assert not page.get_by_role("button", name="make it interactive").first.is_visible()
        links = [link.get_attribute("href") for link in page.get_by_role("link", name="Vega-Lite").all()]
    specs = [site.get(link) for link in links]
    assert [spec.status for spec in specs] == [200, 200]
    assert all(spec.headers["content-type"] == "application/vnd.vegalite.v6+json" for spec in specs)
    assert "hconcat" in specs[1].json


@pytest.mark.parametrize("has_js", [True, False], ids=["with", "without"])
def test_rare_fields_wait_until_somebody_wants_them(browser: Any, site: Any, *, has_js: bool) -> None:
    with opened(browser, site, "/rent-or-own", java_script_enabled=has_js) as page:
        assert not page.get_by_label("PUE of the site").is_visible()
        page.get_by_text("more: Country").click()
        page.get_by_label("PUE of the site").fill("1.2")
        page.get_by_role("button", name="Reckon").click()
        page.wait_for_url("**pue=1.2**")
        assert "x 1.2 /" in page.locator("#found").inner_text()
        page.reload()
        assert page.get_by_label("PUE of the site").is_visible(), "what was said is seen"


def test_the_field_that_is_wrong_says_so(site: Any) -> None:
    wrong = site.get("/plan?model=llama-3.1-8b&rps=abc").text
    assert wrong.count("aria-invalid") == 1
    assert 'name="rps" type="text" value="abc"' in wrong.partition("aria-invalid")[0].splitlines()[-1]
    assert "aria-invalid" not in site.get("/plan?model=llama-3.1-8b&rps=1").text


def test_names_are_offered_while_one_types(browser: Any, site: Any) -> None:
    with opened(browser, site, "/plan") as page:
        names = page.get_by_label("Model", exact=True).evaluate(
            "it => [...it.list.options].map(o => o.value)"
        )
        assert "llama-3.1-70b" in names
        assert len(names) > 300


def test_paper_is_white_and_has_no_buttons(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/l40s", color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert sum(map(int, ink.removeprefix("rgb(").removesuffix(")").split(","))) < 150
        assert page.get_by_role("button").filter(visible=True).count() == 0
        assert page.locator("#where table").first.is_visible()


def test_a_bar_is_drawn_and_not_written(browser: Any, site: Any) -> None:
    with opened(browser, site, "/plan?model=llama-3.1-8b&rps=1") as page:
        assert "█" not in page.content()
        assert page.locator("td svg.bar").count() > 3


def test_dark_is_followed_switched_and_kept(browser: Any, site: Any) -> None:
    def paper(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    with opened(browser, site, "/", color_scheme="dark") as page:
        dark = paper(page)
        page.get_by_role("button", name="Light").click()
        light = paper(page)
        assert dark != light
        page.goto("/about")
        assert paper(page) == light
    with opened(browser, site, "/", color_scheme="light", java_script_enabled=False) as page:
        assert paper(page) == light


@pytest.mark.parametrize("path", READ)
def test_a_telephone_shows_it_without_scrolling_sideways(browser: Any, site: Any, path: str) -> None:
    with opened(browser, site, path, viewport={"width": 360, "height": 740}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", READ)
def test_axe_finds_nothing(browser: Any, site: Any, path: str, scheme: str) -> None:
    with opened(browser, site, path, color_scheme=scheme) as page:
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_everything_is_reached_by_keyboard(browser: Any, site: Any) -> None:
    with opened(browser, site, "/gpus/l40s") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.keyboard.press("Enter")
        page.wait_for_url("**#main")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "AI models":
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "one sees where one is"
        page.keyboard.press("Enter")
        page.wait_for_url("**/gpus/l40s/models")


def test_who_wants_no_motion_gets_none(browser: Any, site: Any) -> None:
    with opened(browser, site, "/", reduced_motion="reduce") as page:
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
