"""Charts as Vega-Lite specs, made in this one place (extra `notebook` or `web`).

A chart's title says the finding, its description says it again for who cannot see it, and the same
numbers always stand in a table of the answer.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from math import log10
from typing import TYPE_CHECKING, Any

from rackrate.errors import NoAnswer, UsageError
from rackrate.plan.prices import TITLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rackrate.plan.answer import Row
    from rackrate.report.fit import FitAnswer
    from rackrate.report.own import OwnAnswer
    from rackrate.report.plan import PlanAnswer
    from rackrate.report.price import Price
    from rackrate.report.speed import SpeedAnswer

_WIDTH = 640
_BLUE, _ORANGE, _GREY, _INK = "#2a6fb0", "#c8641b", "#8a8a8a", "#333333"


def history(price: Price) -> Any:
    """Return the price history as an Altair chart: median, low to high, index, changes of the panel.

    The index is drawn in USD, as what the first day's median would be now at like-for-like prices.

    Raises:
        NoAnswer: fewer than two days of history.
        UsageError: the chart packages are not installed.
    """
    alt = _altair()
    days = price.history
    if len(days) < 2:  # noqa: PLR2004
        raise NoAnswer(
            f"{price.gpu} has no {price.kind} history to draw", hint="ask for more days: --history 1y"
        )
    base = days[0].median_usd_per_gpu_hour / days[0].index
    rows = [
        {
            "day": day.day.isoformat(),
            "median": day.median_usd_per_gpu_hour,
            "low": day.low_usd_per_gpu_hour,
            "high": day.high_usd_per_gpu_hour,
            "index": day.index * base,
            "n": day.n,
            "changed": ", ".join([*(f"+{p}" for p in day.entered), *(f"-{p}" for p in day.left)]),
        }
        for day in days
    ]
    plot = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("day:T", title=None, axis=alt.Axis(grid=False, tickCount=6, format="%d %b"))
    )
    scale = alt.Y("median:Q", title="USD per GPU-hour", scale=alt.Scale(zero=True))
    band = plot.mark_area(color=_GREY, opacity=0.18).encode(
        y=alt.Y("low:Q", title="USD per GPU-hour"), y2="high:Q"
    )
    median = plot.mark_line(color=_BLUE, strokeWidth=2).encode(y=scale)
    index = plot.mark_line(color=_ORANGE, strokeWidth=1.5, strokeDash=[5, 3]).encode(y="index:Q")
    marks = (
        plot.transform_filter("datum.changed != ''")
        .mark_point(color=_BLUE, filled=True, size=36)
        .encode(y="median:Q")
    )
    pointed = alt.selection_point(fields=["day"], on="pointerover", empty=False)
    # What lies under the pointer: a strip for each day, unseen elsewhere, which has the numbers of that day.
    strips = plot.mark_rule(color=_GREY, strokeWidth=_WIDTH / len(days)).encode(
        opacity=alt.condition(pointed, alt.value(0.3), alt.value(0)),
        tooltip=[
            alt.Tooltip("day:T", format="%d %b %Y"),
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("median", "index", "low", "high")),
            alt.Tooltip("n:Q", title="providers"),
            alt.Tooltip("changed:N"),
        ],
    )
    moved = alt.selection_interval(bind="scales", encodings=["x"], zoom="wheel![event.shiftKey]")
    title = alt.Title(
        price.line().title,
        subtitle="blue: median of providers, dots where the set changed; dashed: same offers; grey: range",
        anchor="start",
    )
    layers = (band.add_params(moved), index, median, marks, strips.add_params(pointed))
    return alt.layer(*layers, title=title, description=price.line().title).properties(
        width=_WIDTH, height=280
    )


def history_svg(price: Price) -> str:
    """Return the price history as SVG text.

    Raises:
        NoAnswer: fewer than two days of history.
        UsageError: the chart packages are not installed.
    """
    return _svg(history(price))


def preview_png(price: Price) -> str:
    """Return the price history as a picture for previews of links, which take no SVG: PNG in base64.

    Raises:
        NoAnswer: fewer than two days of history.
        UsageError: the chart packages are not installed.
    """
    drawn = history_svg(price)
    import vl_convert  # noqa: PLC0415 - there, or the line above would have said so

    return b64encode(vl_convert.svg_to_png(drawn, scale=_PREVIEW_SCALE)).decode()


_PREVIEW_SCALE = 1.75
"""Makes a chart some 1,200 pixels wide, as previews are."""


def memory(answer: FitAnswer) -> Any:
    """Return the terms of a fit as an Altair chart: one bar, a colour a term, marks at limit and card.

    Raises:
        UsageError: the chart packages are not installed.
    """
    alt = _altair()
    stack = answer.stack()
    rows = [{"at": at, "term": f"{name} {gib:.2f}", "gib": gib} for at, (name, gib) in enumerate(stack.parts)]
    marks = [("limit", stack.limit, "right", -4), ("card", stack.whole, "left", 4)]
    bar = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("gib:Q", title="GiB", stack="zero"),
            color=alt.Color(
                "term:N",
                title=None,
                sort=[row["term"] for row in rows],
                legend=alt.Legend(orient="bottom", columns=3),
            ),
            order="at:Q",
            tooltip=["term:N"],
        )
    )
    layers = [bar]
    for name, gib, align, dx in marks:  # words on the far sides of the marks never meet
        at = alt.Chart(alt.Data(values=[{"gib": gib, "mark": f"{name} {gib:.2f}"}])).encode(x="gib:Q")
        layers.append(at.mark_rule(color=_INK, strokeWidth=2, strokeDash=[5, 3]))
        layers.append(at.mark_text(align=align, dx=dx, dy=-53, color=_INK).encode(text="mark:N"))
    title = alt.Title(answer.title, subtitle=[stack.title, answer.asked], anchor="start")
    return alt.layer(*layers, title=title, description=f"{answer.title}. {stack.title}.").properties(
        width=_WIDTH, height=90
    )


def memory_svg(answer: FitAnswer) -> str:
    """Return the terms of a fit as SVG text.

    Raises:
        UsageError: the chart packages are not installed.
    """
    return _svg(memory(answer))


def ownership(answer: OwnAnswer) -> Any:
    """Return what an owned hour costs by years kept as an Altair chart: range, middle, a line for each rent.

    Raises:
        UsageError: the chart packages are not installed.
    """
    alt = _altair()
    table = answer.years_table()
    rows = [dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.rows]
    plot = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("years:Q", title="years kept", axis=alt.Axis(tickMinStep=1, format="d"))
    )
    scale = alt.Y("usd_per_hour:Q", title="USD per hour of use", scale=alt.Scale(zero=True))
    layers = [
        plot.mark_area(color=_GREY, opacity=0.18).encode(y="low_usd_per_hour:Q", y2="high_usd_per_hour:Q"),
        plot.mark_line(color=_BLUE, strokeWidth=2, point=True).encode(
            y=scale,
            tooltip=[
                "years:Q",
                *(alt.Tooltip(f"{at}usd_per_hour:Q", format=".3f") for at in ("", "low_", "high_")),
            ],
        ),
    ]
    for rent in answer.rents:
        words = f"{rent.against} rent {rent.usd_per_hour:.3f}"
        row = {"usd_per_hour": rent.usd_per_hour, "words": words, "years": rows[0]["years"]}
        at = alt.Chart(alt.Data(values=[row])).encode(y="usd_per_hour:Q")
        layers.append(at.mark_rule(color=_ORANGE, strokeWidth=1.5, strokeDash=[5, 3]))
        layers.append(at.mark_text(align="left", dx=4, dy=-6, color=_INK).encode(x="years:Q", text="words:N"))
    title = alt.Title(
        answer.title,
        subtitle="blue: an hour of use owned, by how long it is kept; grey: its range; dashed: rents",
        anchor="start",
    )
    return alt.layer(*layers, title=title, description=f"{answer.title}. {table.title}.").properties(
        width=_WIDTH, height=280
    )


def ownership_svg(answer: OwnAnswer) -> str:
    """Return what an owned hour costs by years kept as SVG text.

    Raises:
        UsageError: the chart packages are not installed.
    """
    return _svg(ownership(answer))


def speed(answer: SpeedAnswer) -> Any:
    """Return tokens a second and the time of a token over requests at once, as an Altair chart.

    Raises:
        NoAnswer: the answer has no curve: it is of a language model under one load, or of another kind.
        UsageError: the chart packages are not installed.
    """
    curve = answer.pace.curve
    if curve is None:
        hint = "language models that answer requests have one"
        raise NoAnswer(f"{answer.pace.fit.arch.name} has no curve to draw", hint=hint)
    alt = _altair()
    rows = [
        {"requests": n, "flow": flow, "tpot": tpot}
        for n, flow, tpot in zip(curve.concurrency, curve.tokens_per_s, curve.tpot_ms, strict=True)
    ]
    x = alt.X("requests:Q", title="requests at once", scale=alt.Scale(type="log", base=2))
    plot = alt.Chart(alt.Data(values=rows)).encode(x=x).properties(width=300, height=240)
    line = {"strokeWidth": 2, "point": True}
    says = ["requests:Q", alt.Tooltip("flow:Q", format=",.0f", title="tokens/s")]
    says.append(alt.Tooltip("tpot:Q", format=".1f", title="ms a token"))
    flow = plot.mark_line(color=_BLUE, **line).encode(y=alt.Y("flow:Q", title="tokens/s"), tooltip=says)
    tpot = plot.mark_line(color=_ORANGE, **line).encode(y=alt.Y("tpot:Q", title="ms a token"), tooltip=says)
    title = alt.Title(answer.title, subtitle=answer.pace.asked, anchor="start")
    return alt.hconcat(flow, tpot, title=title, description=answer.title)


def speed_svg(answer: SpeedAnswer) -> str:
    """Return the curve of a speed as SVG text.

    Raises:
        NoAnswer: there is no curve.
        UsageError: the chart packages are not installed.
    """
    return _svg(speed(answer))


def frontier(answer: PlanAnswer) -> Any:
    """Return the cost and time of a plan's rows as an Altair chart, with the line that nothing beats.

    Raises:
        UsageError: the chart packages are not installed.
    """
    alt = _altair()
    name = next(iter(answer.best.price))

    def points(rows: Iterable[Row]) -> list[dict[str, Any]]:
        return [
            {
                "usd": row.price[name].value,
                "seconds": row.speed["seconds"].value,
                "what": f"{row.what} at {row.where}, {row.precision}",
            }
            for row in rows
        ]

    x = alt.X("usd:Q", title=TITLES[name], scale=alt.Scale(type="log", nice=False, padding=20))
    y = alt.Y("seconds:Q", title="seconds", scale=alt.Scale(type="log", nice=False, padding=20))
    best = points(answer.plan.frontier)
    edge = alt.Chart(alt.Data(values=best)).encode(x=x, y=y)
    named = alt.Chart(alt.Data(values=_apart(best))).encode(x=x, y=y)
    others = alt.Chart(alt.Data(values=points(answer.rows))).encode(x=x, y=y, tooltip=["what:N"])
    layers = [
        others.mark_point(color=_GREY, filled=True, size=30),
        edge.mark_line(color=_BLUE, interpolate="step-after", strokeWidth=1.5),
        edge.mark_point(color=_BLUE, filled=True, size=45).encode(tooltip=["what:N"]),
        named.mark_text(color=_INK, align="left", dx=6, dy=-6, fontSize=9).encode(text="what:N"),
    ]
    title = alt.Title(answer.title, subtitle=["blue: nothing is both cheaper and faster"], anchor="start")
    return alt.layer(*layers, title=title, description=answer.title).properties(width=_WIDTH, height=320)


def _apart(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points whose names do not lie on each other, the first and cheapest ones before others."""
    kept: list[dict[str, Any]] = []
    reach = {name: _decades(point[name] for point in points) or 1.0 for name in ("usd", "seconds")}
    for point in points:
        far = (
            abs(log10(point["usd"] / other["usd"])) > _NAME_WIDTH_FRAC * reach["usd"]
            or abs(log10(point["seconds"] / other["seconds"])) > _NAME_HEIGHT_FRAC * reach["seconds"]
            for other in kept
        )
        if all(far):
            kept.append(point)
    return kept


_NAME_WIDTH_FRAC, _NAME_HEIGHT_FRAC = 0.3, 0.05
"""What the name of a point takes of the picture."""


def _decades(values: Iterable[float]) -> float:
    found = list(values)
    return log10(max(found) / min(found)) if found else 0.0


def frontier_svg(answer: PlanAnswer) -> str:
    """Return the cost and time of a plan's rows as SVG text.

    Raises:
        UsageError: the chart packages are not installed.
    """
    return _svg(frontier(answer))


def reported(rows: Sequence[Mapping[str, Any]], what: str) -> Any:
    """Return what the tasks of a fleet reported as an Altair chart: a line a task.

    Args:
        rows: `metric`, the same in all, `node`, `task`, `step` and `value` of each point.
        what: whose they are.

    Raises:
        NoAnswer: there is no row.
        UsageError: the chart packages are not installed.
    """
    if not rows:
        raise NoAnswer(f"{what}: nothing to draw", hint="rackrate.fleet.report(step=1, loss=0.5) in a task")
    alt = _altair()
    metric = rows[0]["metric"]
    n = len({(row["node"], row["task"]) for row in rows})
    last = min(row["value"] for row in rows)
    title = f"{what}: {metric} of {n} task{'s' if n > 1 else ''}, least {last:.4g}"
    return (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(strokeWidth=1.2)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False)),
            color=alt.Color("task:N", legend=None),
            detail="node:N",
            tooltip=["node:N", "task:N", "step:Q", "value:Q"],
        )
        .properties(width=_WIDTH, height=280, title=alt.Title(title, anchor="start"), description=title)
    )


def reported_svg(rows: Sequence[Mapping[str, Any]], what: str) -> str:
    """Return what the tasks of a fleet reported as SVG text.

    Raises:
        NoAnswer: there is no row.
        UsageError: the chart packages are not installed.
    """
    return _svg(reported(rows, what))


def curves(finding: str, metric: str, rows: Iterable[dict[str, Any]]) -> Any:
    """Return the trials of a sweep as an Altair chart: a line each, grey if stopped, the best orange.

    Args:
        finding: in words.
        metric: what was reported.
        rows: a point each: trial, step, value, fate (`best`, `done` or `other`).

    Raises:
        UsageError: the chart packages are not installed.
    """
    alt = _altair()
    fates = {"other": _GREY, "done": _BLUE, "best": _ORANGE}
    title = alt.Title(
        finding, subtitle="orange: the best; blue: the others that are done; grey: stopped", anchor="start"
    )
    lines = alt.Chart(alt.Data(values=list(rows)), title=title, description=finding).encode(
        x=alt.X("step:Q", title="step"),
        y=alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False)),
        detail="trial:N",
        color=alt.Color(
            "fate:N", legend=None, scale=alt.Scale(domain=list(fates), range=list(fates.values()))
        ),
        tooltip=["trial:N", "step:Q", "value:Q"],
    )
    layers = [
        lines.mark_line(strokeWidth=width, opacity=opacity).transform_filter(f"datum.fate == '{fate}'")
        for fate, width, opacity in (("other", 1, 0.55), ("done", 1.5, 0.9), ("best", 2.5, 1.0))
    ]
    return alt.layer(*layers).properties(width=_WIDTH, height=320)


def curves_svg(finding: str, metric: str, rows: Iterable[dict[str, Any]]) -> str:
    """Return the trials of a sweep as SVG text.

    Raises:
        UsageError: the chart packages are not installed.
    """
    return _svg(curves(finding, metric, rows))


def spec(name: str, answer: Any) -> str:
    """Return a chart as Vega-Lite, the spec that its picture is drawn from.

    Args:
        name: of a function above that returns a chart.
        answer: what it draws.
    """
    return str(globals()[name](answer).to_json(validate=False, indent=None))


def bundle() -> str:
    """Return the JavaScript that draws a spec in a browser: Vega, Vega-Lite, an interpreter of expressions.

    Raises:
        UsageError: the chart packages are not installed.
    """
    try:
        import vl_convert  # noqa: PLC0415 - a heavy extra
    except ImportError as error:
        raise _absent("vl-convert-python") from error
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script


def on_page(svg: str, says: str) -> str:
    """Return a chart as a part of a page: in the page's colours, light or dark, and one picture to a reader.

    Args:
        svg: from a function above.
        says: the finding, for who cannot see it.
    """
    plain = _EMPTY.sub("", _UNSEEN.sub("", in_colours(svg, ON_PAGE)))
    plain = _PLACE.sub(lambda found: re.sub(r"(\.\d)\d+", r"\1", found[0]), plain)
    return plain.replace("<svg ", f'<svg role="img" aria-label="{escape(says)}" ', 1)


def in_colours(svg: str, colours: Mapping[str, str]) -> str:
    """Return a chart with its colours replaced: of ink, rules, paper and lines."""
    return re.sub(
        r'(fill|stroke)="([^"]+)"', lambda found: f'{found[1]}="{colours.get(found[2], found[2])}"', svg
    )


_UNSEEN = re.compile(
    r' (?:role|aria-[a-z]+|class|pointer-events|xmlns:xlink|version)="[^"]*"| (?:opacity|stroke-width)="1"'
)
_PLACE = re.compile(r' (?:d|transform|[xy][12]?)="[^"]*"')
"""Where something is: a tenth of a pixel is enough."""

_WAITING = re.compile(r'<(?:line|path)[^>]* opacity="0"(?: [^>]*)?(?:/>|></(?:line|path)>)')
"""What appears under a pointer, which a picture does not have."""

_CLIP = re.compile(r' clip-path="url\(#clip\d+\)"|<defs>(?:<clipPath.*?</clipPath>)+</defs>')
"""Edges beyond which one may move what is drawn, which a picture does not need: it shows all there is."""

_EMPTY = re.compile(r'<path d="(?:M0,0h0v0h0Z)?"(?: display="none")?/>')
"""What a renderer writes and nobody sees: names of marks, and backgrounds of nothing."""

ON_PAGE = {
    "white": "var(--panel)", "#000": "currentColor", _INK: "currentColor", "#ddd": "var(--rule)",
    "#888": "var(--rule)", _BLUE: "var(--blue)", _ORANGE: "var(--orange)", _GREY: "var(--grey)",
}  # fmt: skip
DARK = {
    "white": "#15181c", "#000": "#e6e4df", _INK: "#e6e4df", "#ddd": "#30353c", "#888": "#565d66",
    _BLUE: "#7db7f0", _ORANGE: "#f0a35e", _GREY: "#9aa3ad",
}  # fmt: skip
"""Colours of a chart to those of a page, which are variables there, and of a dark picture."""


def _svg(chart: Any) -> str:
    import json  # noqa: PLC0415 - start-up

    drawn = chart.to_json(validate=False)  # the tests read what is drawn; a check takes longer than drawing
    try:
        import vl_convert  # noqa: PLC0415 - a heavy extra
    except ImportError as error:
        raise _absent("vl-convert-python") from error
    svg: str = vl_convert.vegalite_to_svg(json.loads(drawn))
    return _CLIP.sub("", _WAITING.sub("", svg))


def _altair() -> Any:
    try:
        import altair as alt  # noqa: PLC0415 - a heavy extra
    except ImportError as error:
        raise _absent("altair") from error
    return alt


def _absent(package: str) -> UsageError:
    return UsageError(
        f"charts need the package {package}", hint="pip install 'rackrate[notebook]'", code="extra"
    )
