"""What the first reader of each page would wait for, made ready beside the site, for each state of the data.

A page of a GPU rests on every model tried on the card, on queries and on a chart. None of that depends on who
asks, so it is made when the site starts, the GPUs that most providers have first, and once more when the
prices change. It takes half of a core at most; a reader who comes earlier has made what he asks for.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from rackrate import clock
from rackrate.catalog.load import slugs
from rackrate.errors import RackrateError
from rackrate.market.offer import Kind
from rackrate.web.artist import ARTIST
from rackrate.web.page import Ask, Build
from rackrate.web.pages import faq, gpus, market
from rackrate.web.query import Query
from rackrate.web.render import html

if TYPE_CHECKING:
    from rackrate.market.store import Store
    from rackrate.web.site import Site

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
"""From one look for new prices to the next."""


class Preparation:
    """Makes ready from `with` to its end."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preparation")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        ARTIST.start()
        ready_for = None
        while not self._is_over.is_set():
            try:
                store = self._site.market()
                if store is not ready_for:
                    self._prepare(store)
                    ready_for = store
            except RackrateError:  # no prices yet; each page says why
                pass
            except Exception:  # noqa: BLE001 - logged; the site goes on
                _log.exception("pages are not prepared: readers wait longer, and see what is wrong")
                return
            self._is_over.wait(LOOK_EVERY_S)

    def _prepare(self, store: Store) -> None:
        """Make what the first page and those of each GPU for rent need, until newer prices are there."""
        gpus_for_rent = self._site.answer(lambda: rented(store))
        store.prepare()
        self._make(market.home, _ask(self._site, store, "/"))
        for slug in gpus_for_rent:
            if self._is_over.is_set() or self._site.market() is not store:
                return
            started = time.perf_counter()
            faq.questions(slug, None)  # facts alone: nobody waits for the database meanwhile
            self._make(gpus.show, _ask(self._site, store, f"/gpus/{slug}", slug))
            _give_back()
            self._is_over.wait(time.perf_counter() - started)

    def _make(self, build: Build, ask: Ask) -> None:
        """Make a page as if somebody had asked for it, its charts first: nobody waits for those."""
        page = self._site.answer(partial(build, ask))
        for drawing in page.charts:
            drawing.svg()
        self._site.answer(partial(html, page, ask, self._site))  # a template asks the market too


def _give_back() -> None:
    """Return what only the preparation needed to the system; glibc would keep it for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def rented(store: Store) -> list[str]:
    """Return the GPUs of the catalog that are for rent on demand, those that most providers have first."""
    known = set(slugs("gpus"))
    n = Counter(gpu for gpu, kind, *_ in store.tally() if kind == Kind.ON_DEMAND and gpu in known)
    return [gpu for gpu, _ in n.most_common()]


def _ask(site: Site, store: Store, address: str, slug: str = "") -> Ask:
    path = {"gpu": slug} if slug else {}
    return Ask(store, path, Query({}), address, clock.now(), site.hours_per_month)
