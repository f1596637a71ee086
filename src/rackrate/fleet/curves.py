"""What is drawn of a curve with a million points? Least and greatest of every stretch, and the last.

A curve keeps at most `MOST` points. Its points stand in stretches of equal length; when there are too many
of these, two and two become one. So memory and drawing do not grow with time, peaks stay, and a point is
looked at once. What has changed since the last look is told apart from what has not: a viewer is sent
the end of a curve, and the whole of it only when its stretches have just grown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rackrate.fleet.history import OWN

MOST = 2000
"""Points of a curve that are drawn: more than a screen has columns."""
MOST_CURVES = 256
"""Curves that are kept; the one that has been silent the longest goes first."""

_NO_VALUE = OWN | {"step"}


class Point(NamedTuple):
    """A value at a step; `at` counts the points of the curve, so that their order is known."""

    at: int
    step: float
    value: float


@dataclass(slots=True)
class Stretch:
    """What is kept of points that follow one another."""

    low: Point
    high: Point
    last: Point
    n: int = 1

    def join(self, other: Stretch) -> None:
        """Take up the stretch that follows."""
        self.low = min(self.low, other.low, key=_value)
        self.high = max(self.high, other.high, key=_value)
        self.last = other.last
        self.n += other.n

    def points(self, *, is_end: bool) -> list[Point]:
        """Return what is drawn of it, in order; of the end of a curve, its last point too."""
        return sorted({self.low, self.high, self.last} if is_end else {self.low, self.high})


def _value(point: Point) -> float:
    return point.value


class Curve:
    """A curve that stays small."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most // 2 - 1  # two points a stretch, and the last
        self._stretches: list[Stretch] = []
        self._length = 1
        self._n = 0
        self._n_settled = 0
        self._n_told = 0

    def add(self, step: float, value: float) -> None:
        """Add a point to its end."""
        point = Point(self._n, step, value)
        self._n += 1
        new = Stretch(point, point, point)
        if self._stretches and self._stretches[-1].n < self._length:
            self._stretches[-1].join(new)
            return
        self._stretches.append(new)
        if len(self._stretches) > self._most:
            self._halve()

    def _halve(self) -> None:
        for left, right in zip(self._stretches[::2], self._stretches[1::2], strict=False):
            left.join(right)
        del self._stretches[1::2]
        self._length *= 2
        self._n_settled = self._n_told = 0

    def points(self) -> list[Point]:
        """Return what is drawn of it, at most `most` points."""
        return self._points(0)

    def _points(self, first: int) -> list[Point]:
        end = len(self._stretches) - 1
        drawn = enumerate(self._stretches[first:], first)
        return [point for at, stretch in drawn for point in stretch.points(is_end=at == end)]

    def news(self) -> tuple[int, list[Point]]:
        """Return what has changed since the last call: from which point on, and these points."""
        start, points = self._n_told, self._points(self._n_settled)
        settled = self._stretches[self._n_settled : -1]
        self._n_told += sum(len(stretch.points(is_end=False)) for stretch in settled)
        self._n_settled += len(settled)
        return start, points


class Key(NamedTuple):
    """Whose curve it is: a metric of a task on a node."""

    metric: str
    node: str
    task: str


@dataclass
class Curves:
    """The curves of a fleet, made of its events.

    Attributes:
        most: points that a curve has.
        curves: by whose they are; what was reported last is at the end.
    """

    most: int = MOST
    curves: dict[Key, Curve] = field(default_factory=dict)
    _changed: dict[Key, None] = field(default_factory=dict)

    def add(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take up events; a value that is no number (NaN) leaves a gap of nothing."""
        for event in events:
            for metric in event.keys() - _NO_VALUE:
                if event[metric] is not None:
                    key = Key(metric, event["node"], event["task"])
                    curve = self.curves.pop(key, None) or Curve(self.most)
                    self.curves[key] = curve  # the newest at the end
                    curve.add(event["step"], event[metric])
                    self._changed[key] = None
        while len(self.curves) > MOST_CURVES:
            oldest = next(iter(self.curves))
            del self.curves[oldest]
            self._changed.pop(oldest, None)

    def news(self) -> list[tuple[Key, int, list[Point]]]:
        """Return the curves that have changed since the last call: key, from which point on, the points."""
        found = [(key, *self.curves[key].news()) for key in self._changed]
        self._changed.clear()
        return found
