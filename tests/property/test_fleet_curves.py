"""Curves that stay small: what is drawn of any points, and what a viewer that is sent only news has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rackrate.fleet.curves import MOST, MOST_CURVES, Curve, Curves, Point

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=400)


@given(VALUES, st.integers(6, 40))
def test_the_extremes_and_the_last_point_are_drawn_in_order_and_few(values: list[float], most: int) -> None:
    curve = Curve(most)
    for step, value in enumerate(values):
        curve.add(step, value)
    drawn = curve.points()
    assert len(drawn) <= most
    assert [point.at for point in drawn] == sorted({point.at for point in drawn})
    assert all(point.value == values[point.at] for point in drawn)
    assert {min(values), max(values)} <= {point.value for point in drawn}
    assert drawn[-1].at == len(values) - 1


@given(VALUES, st.integers(6, 40))
def test_no_stretch_hides_a_peak(values: list[float], most: int) -> None:
    """Between two drawn neighbours nothing is outside of what is drawn around them."""
    curve = Curve(most)
    for step, value in enumerate(values):
        curve.add(step, value)
    drawn = {point.at for point in curve.points()}
    at = 0
    for stretch in curve._stretches:
        inside = values[at : at + stretch.n]
        assert (stretch.low.value, stretch.high.value) == (min(inside), max(inside))
        assert {stretch.low.at, stretch.high.at} <= drawn
        at += stretch.n
    assert at == len(values)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.booleans()), max_size=300), st.integers(6, 40))
def test_a_viewer_that_is_sent_news_has_the_whole_curve(points: list[tuple[float, bool]], most: int) -> None:
    curve = Curve(most)
    seen: list[Point] = []
    for step, (value, looks) in enumerate(points):
        curve.add(step, value)
        if looks:
            start, news = curve.news()
            seen[start:] = news
            assert seen == curve.points()


def test_a_long_curve_is_told_in_short_news() -> None:
    curve = Curve()
    for step in range(100_000):
        curve.add(step, (step * 7919) % 1000)
        if step % 10 == 0:
            curve.news()
    curve.add(1, 1.0)
    assert len(curve.points()) <= MOST
    assert len(curve.news()[1]) < 10


def event(metric: str, task: str, step: int, value: float | None) -> dict[str, object]:
    return {"source": "s", "seq": step, "at": 1.0, "node": "n", "task": task, "step": step, metric: value}


def test_curves_are_told_apart_by_metric_node_and_task_and_what_is_no_number_is_left_out() -> None:
    curves = Curves()
    curves.add([event("loss", "a", 1, 0.5), event("loss", "b", 1, 0.7), event("loss", "a", 2, None)])
    curves.add([event("accuracy", "a", 3, 0.9)])
    told = {(key.metric, key.task): [tuple(p)[1:] for p in points] for key, _, points in curves.news()}
    assert told == {("loss", "a"): [(1, 0.5)], ("loss", "b"): [(1, 0.7)], ("accuracy", "a"): [(3, 0.9)]}
    assert curves.news() == []


def test_of_too_many_curves_the_longest_silent_go() -> None:
    curves = Curves()
    for number in range(MOST_CURVES):
        curves.add([event("loss", str(number), 1, 0.5)])
    curves.add([event("loss", "0", 2, 0.4), event("loss", "new", 1, 0.5)])
    kept = {key.task for key in curves.curves}
    assert len(kept) == MOST_CURVES
    assert {"0", "new"} <= kept
    assert "1" not in kept
