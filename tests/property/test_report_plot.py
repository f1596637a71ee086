"""A line of any prices can be drawn at any size."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rackrate.report.block import Plot, draw, to_html, to_markdown, to_text

DAYS = st.lists(st.integers(0, 3000), min_size=1, max_size=80, unique=True).map(sorted)
USD = st.floats(0.001, 9999, allow_nan=False)


@st.composite
def plots(drawn: st.DrawFn) -> Plot:
    offsets = drawn(DAYS)
    values = drawn(st.lists(USD, min_size=len(offsets), max_size=len(offsets)))
    first = date(2024, 1, 1)
    return Plot("prices", tuple(first + timedelta(days=n) for n in offsets), tuple(values), "USD/GPU-h")


def dots(line: str) -> str:
    return line.partition("|")[2]


@given(plots(), st.integers(20, 120), st.integers(1, 20))
def test_it_is_as_high_and_as_wide_as_asked(plot: Plot, width: int, height: int) -> None:
    *lines, axis = draw(plot, width, height)
    assert len(lines) == height
    assert {len(dots(line)) for line in lines} == {width}
    assert all(0x2800 <= ord(sign) < 0x2900 for line in lines for sign in dots(line))
    assert plot.days[0].isoformat() in axis
    assert plot.days[-1].isoformat() in axis
    assert axis.endswith("USD/GPU-h")


@given(plots())
def test_the_ends_are_labelled_and_reached(plot: Plot) -> None:
    *lines, _ = draw(plot)
    assert lines[0].startswith(f"{max(plot.values):>8.3f} |")
    if len(plot.days) > 1:
        assert lines[-1].startswith(f"{min(plot.values):>8.3f} |")
    assert any(sign != "\u2800" for sign in "".join(map(dots, lines)))
    first = ord(dots(lines[0])[0]) | ord(dots(lines[-1])[0])
    assert first >= 0x2800


@given(USD, st.integers(1, 60))
def test_a_price_that_never_moves_is_one_level_line(usd: float, n: int) -> None:
    days = tuple(date(2026, 1, 1) + timedelta(days=at) for at in range(n))
    *lines, _ = draw(Plot("flat", days, (usd,) * n, "USD/GPU-h"))
    assert [any(sign != "\u2800" for sign in dots(line)) for line in lines].count(True) == 1


@given(plots())
def test_every_form_can_hold_it(plot: Plot) -> None:
    assert plot.title in to_text([plot])
    assert plot.title in to_markdown([plot])
    assert plot.title in to_html([plot])
