"""What machines read: feeds, site map, robots, the list of pages for language models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from xml.sax.saxutils import escape, quoteattr

from rackrate import api, overview
from rackrate.catalog.gpu import all_gpus, find_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.provider import all_providers
from rackrate.errors import UnknownName
from rackrate.market.offer import Kind
from rackrate.web.page import Ask
from rackrate.web.pages.reading import METRICS

Entry = tuple[date, str, str, str]
"""Day, title, words and path of a feed's entry."""

FEED_DAYS = 60


def market_feed(ask: Ask, address: str) -> str:
    """Return the week's changes of the market as Atom."""
    found = overview.changes(data=ask.market)
    newest = found.market.as_of.date() if found.market.as_of else date.min
    entries: list[Entry] = [
        (
            newest,
            f"{each.gpu.name}: {each.week_frac:+.1%} in 7 days, like for like",
            f"median now {each.spread.median_usd_per_gpu_hour:.3f} USD/GPU-h of {each.spread.n} providers",
            f"/gpus/{each.gpu.slug}",
        )
        for each in found.market.moved()
        if each.spread and each.week_frac is not None
    ]
    entries += [
        (
            day,
            f"{gpu}: {who} {what}",
            f"{who} {what} the on-demand market of the {gpu}",
            f"/gpus/{gpu}/history",
        )
        for day, gpu, who, what in found.market.panel(found.since)
    ]
    return _atom("Rackrate: the market", "/feeds/market.atom", entries, address, newest)


def gpu_feed(ask: Ask, address: str) -> str:
    """Return what happened to a GPU's price as Atom: steps of the index, providers that came and went."""
    gpu = find_gpu(ask.path["gpu"])
    found = api.price(gpu.slug, kind=Kind.ON_DEMAND, history=f"{FEED_DAYS}d", data=ask.market)
    entries: list[Entry] = []
    for before, day in zip(found.history, found.history[1:], strict=False):
        step = day.index / before.index - 1
        parts = (
            [f"{abs(step):.1%} {'up' if step > 0 else 'down'}, like for like"] if abs(step) >= _STEP else []
        )
        parts += [f"{who} entered" for who in day.entered] + [f"{who} left" for who in day.left]
        if parts:
            words = f"median {day.median_usd_per_gpu_hour:.3f} USD/GPU-h of {day.n} providers"
            entries.append((day.day, f"{gpu.name}: {'; '.join(parts)}", words, f"/gpus/{gpu.slug}/history"))
    newest = found.as_of.date() if found.as_of else date.min
    return _atom(f"Rackrate: {gpu.name}", f"/feeds/gpus/{gpu.slug}.atom", entries[::-1], address, newest)


_STEP = 0.005
"""A step that is worth an entry: half a percent in a day."""


def _atom(title: str, path: str, entries: Sequence[Entry], address: str, newest: date) -> str:
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{escape(title)}</title>",
        f"<id>{escape(address + path)}</id>",
        f"<updated>{_instant(newest)}</updated>",
        "<author><name>Rackrate</name></author>",
        f'<link rel="self" href={quoteattr(address + path)}/>',
        f"<link href={quoteattr(address + '/')}/>",
    ]
    for day, words, says, where in entries:
        lines += [
            "<entry>",
            f"<title>{escape(words)}</title>",
            f"<id>{escape(f'{address}{where}#{day}-{words}'.replace(' ', '-'))}</id>",
            f"<updated>{_instant(day)}</updated>",
            f"<link href={quoteattr(address + where)}/>",
            f"<summary>{escape(says)}</summary>",
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>", ""])


def _instant(day: date) -> str:
    return datetime.combine(day, time(), UTC).isoformat()


def snapshot(ask: Ask, address: str) -> bytes:
    """Return what was for rent at the end of a day, of every kind, as Parquet.

    Raises:
        UnknownName: it is no day, or there are no prices of it.
    """
    del address
    day = ask.path["day"]
    days = sorted(at[:10] for (_, at), (_, listing) in ask.market.live().items() if listing.is_dated)
    is_day = re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII)
    if not days or not is_day or not days[0] <= day <= days[-1]:
        raise UnknownName("day", day, days[:1] if days and is_day and day < days[0] else days[-1:])
    return api.offers(kind="any", as_of=day, data=ask.market).to_parquet()


def sitemap(ask: Ask, address: str) -> str:
    """Return every page that search engines may list."""
    newest = ask.market.newest or datetime.now(UTC) - timedelta(days=1)
    changed = f"<lastmod>{newest:%Y-%m-%d}</lastmod>"
    urls = "\n".join(f"<url><loc>{escape(address + path)}</loc>{changed}</url>" for path in paths())
    start = (
        '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    )
    return f"{start}\n{urls}\n</urlset>\n"


def paths() -> Iterator[str]:
    """Yield the path of every page that has no question in its address."""
    yield from ("/", "/compare", "/models", "/providers", "/offers", "/plan", "/rent-or-own")
    yield from ("/methodology", "/status", "/changes", "/faq", "/about", "/errors")
    for gpu in all_gpus():
        yield from (f"/gpus/{gpu.slug}{tab}" for tab in ("", "/instances", "/models", "/history"))
    yield from (f"/models/{slug}" for slug in slugs("models"))
    yield from (f"/providers/{provider.slug}" for provider in all_providers())
    yield from (f"/methodology/{metric}" for metric in METRICS)


def robots(ask: Ask, address: str) -> str:
    """Return what crawlers may read: all pages, but not every question that a form can put."""
    del ask
    asked = "".join(f"Disallow: {path}?\n" for path in ("/plan", "/offers", "/rent-or-own"))
    return f"User-agent: *\n{asked}Sitemap: {address}/sitemap.xml\n"


def llms(ask: Ask, address: str) -> str:
    """Return the pages as Markdown for language models: where what is, and how to ask."""
    newest = f"{ask.market.newest:%Y-%m-%d}" if ask.market.newest else "no date"
    lines = [
        "# Rackrate",
        "",
        f"> GPU prices like for like, whether a model fits, how fast it is, rent or own. Prices of {newest}.",
        "",
        (
            "Every page is Markdown under the same address with `.md`, JSON with `.json`, its table CSV with "
            "`.csv` and Parquet with `.parquet`."
        ),
        "",
        "## Ask",
        "",
        f"- [API]({address}/api/v1/openapi.json): all of it as JSON",
        f"- [What GPUs rent for]({address}/index.md)",
        f"- All offers of a day: {address}/snapshots/YYYY-MM-DD.parquet",
        (
            f"- [What is for rent]({address}/offers.md?gpu=l40s): filters gpu, count, kind, country, "
            "max_usd_per_gpu_hour"
        ),
        f"- [A model on a GPU]({address}/models/llama-3.1-70b/on/l40s.md?precision=int4)",
        f"- [Which machines]({address}/plan.md?model=llama-3.1-70b&rps=2)",
        f"- [Rent or own]({address}/rent-or-own.md?gpu=l40s)",
        "",
        "## GPUs",
        "",
        *(f"- [{gpu.name}]({address}/gpus/{gpu.slug}.md)" for gpu in all_gpus()),
        "",
        "## How numbers are made",
        "",
        *(f"- [{title}]({address}/methodology/{name}.md)" for name, (title, _) in METRICS.items()),
        "",
    ]
    return "\n".join(lines)
