"""The process that draws: what it returns, that it ends, and that the site draws again after it died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import rackrate
from rackrate import chart
from rackrate.errors import NoAnswer
from rackrate.market.store import Store
from rackrate.web.artist import Artist
from rackrate.web.shared import MOST_KEPT, once


@pytest.fixture
def artist() -> Iterator[Artist]:
    """Return an artist that is closed in the end."""
    found = Artist()
    yield found
    found.close()
    assert found.pid is None


def test_every_chart_of_the_site_is_what_the_module_draws(artist: Artist) -> None:
    price = rackrate.price("l40s", history="90d", data=Store.sample())
    fit = rackrate.fits("llama-3.1-8b", "l40s")
    own = rackrate.own("l40s", data=Store.sample())
    for name, answer in (("history_svg", price), ("memory_svg", fit), ("ownership_svg", own)):
        assert artist.draw(name, answer) == getattr(chart, name)(answer)


def test_an_error_of_the_chart_is_the_readers(artist: Artist) -> None:
    with pytest.raises(NoAnswer, match="no on_demand history to draw"):
        artist.draw("history_svg", rackrate.price("l40s", data=Store.sample()))


def test_one_that_was_killed_is_replaced(artist: Artist) -> None:
    price = rackrate.price("l40s", history="90d", data=Store.sample())
    artist.start()
    first = artist.pid
    assert first
    os.kill(first, signal.SIGKILL)
    assert artist.draw("history_svg", price).startswith("<svg")
    assert artist.pid != first


def test_it_ends_with_the_pipe() -> None:
    found = Artist()
    found.start()
    child = found._child
    assert child
    assert child.stdin
    child.stdin.close()
    assert child.wait(20) == 0
    found.close()


def test_what_pages_share_is_made_once_and_bounded() -> None:
    store, made = Store.sample(), []
    for key in (*range(MOST_KEPT + 1), MOST_KEPT, 0):
        once(store, key, lambda key=key: made.append(key) or key)
    assert made == [*range(MOST_KEPT + 1), 0], "the last was kept, the first had to go"
