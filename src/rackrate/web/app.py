"""The application: addresses to pages, files that are sent as they are, health, the API under `/api/v1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from rackrate import clock
from rackrate.errors import DataError, InternalError, RackrateError, UnknownName, UsageError, nearest
from rackrate.web import agents, render
from rackrate.web.agents import MakeAgent
from rackrate.web.api import make_api
from rackrate.web.artist import draw
from rackrate.web.front import Front, wants_of
from rackrate.web.page import FORMS, Ask, Build, written
from rackrate.web.pages import asking, gpus, lists, machine, market, reading
from rackrate.web.problem import problem_bytes, wants_html
from rackrate.web.query import Query
from rackrate.web.resources import RESOURCES
from rackrate.web.site import MOST_WAITING, Site, static_files
from rackrate.web.wording import said, said_as_data

PAGES: Mapping[str, tuple[Build, tuple[str, ...]]] = {
    "/": (market.home, market.HOME_FIELDS),
    "/gpus/{gpu}": (gpus.show, gpus.OVERVIEW_FIELDS),
    "/gpus/{gpu}/instances": (gpus.instances, ("kind",)),
    "/gpus/{gpu}/models": (gpus.models, gpus.MODEL_FIELDS),
    "/gpus/{gpu}/history": (gpus.history, ("kind", "range", "hours_per_month")),
    "/compare": (gpus.compare, ("gpu",)),
    "/models": (lists.models, lists.LIST_FIELDS),
    "/models/{model}": (lists.model, ("task", "context", "sort")),
    "/models/{model}/on/{gpu}": (asking.on_gpu, asking.ON_FIELDS),
    "/providers": (lists.providers, lists.PROVIDER_FIELDS),
    "/providers/{provider}": (lists.provider, ()),
    "/offers": (lists.offers, lists.OFFER_FIELDS),
    "/plan": (asking.plan, asking.PLAN_FIELDS),
    "/rent-or-own": (asking.own, asking.OWN_FIELDS),
    "/methodology": (reading.contents, ()),
    "/methodology/{metric}": (reading.methodology, ()),
    "/errors": (reading.error_list, ()),
    "/errors/{code}": (reading.error, ()),
    "/status": (market.status, ()),
    "/changes": (market.changes, ()),
    "/faq": (market.faq, ("gpu",)),
    "/about": (market.about, ()),
    "/api": (reading.api_page, ()),
}
"""Path to what makes the page, and the fields that it has."""

TEXTS: Mapping[str, tuple[Callable[[Ask, str], str | bytes], str]] = {
    "/feeds/market.atom": (machine.market_feed, "application/atom+xml"),
    "/feeds/gpus/{gpu}.atom": (machine.gpu_feed, "application/atom+xml"),
    "/sitemap.xml": (machine.sitemap, "application/xml"),
    "/robots.txt": (machine.robots, "text/plain; charset=utf-8"),
    "/llms.txt": (machine.llms, "text/plain; charset=utf-8"),
    "/snapshots/{day}.parquet": (machine.snapshot, FORMS["parquet"]),
}


_API = "/api/v1"
MOVED: Mapping[str, str] = {"/gpus": "/", _API: "/api", f"{_API}/": "/api", f"{_API}/docs": "/api"}
"""Addresses that people guess from those around them, and the page that they mean."""


class _Form(Convertor[str]):
    """The end of an address that names a form."""

    regex = "json|md|csv|parquet|vl"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("form", _Form())


@dataclass(frozen=True)
class _Pages:
    """Makes pages, one after the other, away from the loop that sends them."""

    site: Site
    turns: CapacityLimiter

    async def run(self, work: Callable[[], Response]) -> Response:
        if self.turns.statistics().tasks_waiting >= MOST_WAITING:
            raise DataError("too many questions wait", hint="try again in a moment", code="busy")
        return await to_thread.run_sync(partial(self.site.answer, work), limiter=self.turns)

    def ask(self, request: Request, known: tuple[str, ...], address: str) -> Ask:
        path = {name: str(value) for name, value in request.path_params.items() if name != "form"}
        query = Query.read(request.query_params.multi_items(), known)
        return Ask(self.site.market(), path, query, address, clock.now(), self.site.hours_per_month)

    def page(self, request: Request, build: Build, known: tuple[str, ...]) -> Response:
        form = request.path_params.get("form") or _form(request)
        path = request.scope["path"]
        address = path.removesuffix(f".{form}")
        fields = (*known, _CHART) if form == "vl" else known
        ask = self.ask(request, fields, "/" if address == "/index" else address)
        page = build(ask)
        if page.moved:
            suffix = f".{form}" if path != address else ""
            return _moved(page.moved + suffix, request)
        if form == "html":
            return Response(render.html(page, ask, self.site), page.status, media_type=FORMS[form])
        body = written(page, form, ask.query.whole(_CHART, 1, least=1, most=9))
        return Response(_in_words(body, form), media_type=FORMS[form], headers=_OPEN)

    def text(self, request: Request, write: Callable[[Ask, str], str | bytes], media: str) -> Response:
        ask = self.ask(request, (), request.url.path)
        return Response(write(ask, self.site.address), media_type=media, headers=_OPEN)

    def picture(self, request: Request) -> Response:
        ask = self.ask(request, ("kind", "range", "theme"), request.url.path)
        if request.url.path.endswith(".png"):
            return Response(gpus.preview(ask), media_type="image/png", headers=_PICTURE)
        return Response(gpus.embed(ask), media_type="image/svg+xml", headers=_PICTURE)


_CHART = "chart"
"""Field of the spec of a chart: which one, from 1."""

_METHODS = {agents.PATH: "POST", f"{_API}/plan": "GET, HEAD, POST"}
"""Where they are others than GET and HEAD."""

_OPEN = {"access-control-allow-origin": "*"}
_PICTURE = {**_OPEN, "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def _in_words(body: str | bytes, form: str) -> str | bytes:
    """Return a page with what the command line calls options called fields, as its reader knows them."""
    if isinstance(body, bytes):
        return body
    return said_as_data(body) if form == "json" else said(body)


def _form(request: Request) -> str:
    return "md" if wants_of(request.scope).is_markdown else "html"


def create_app(site: Site, *, per_minute: int = 0, make_agent: MakeAgent | None = None) -> Front:
    """Return the site as an ASGI application.

    Args:
        site: what the pages share.
        per_minute: answers that are not kept, which a client may ask for in a minute; 0 for no limit.
        make_agent: makes what answers agents of a site; None where their package is missing.
    """
    pages = _Pages(site, CapacityLimiter(1))
    handlers: dict[Any, Any] = {RackrateError: partial(on_error, site), HTTPException: partial(on_http, site)}
    routes: list[Route | Mount] = [Route(path, partial(_elsewhere, to)) for path, to in MOVED.items()]
    routes += [Mount(_API, make_api(site, pages.turns, handlers))]
    for path, (build, known) in PAGES.items():
        end = "/index" if path == "/" else path
        make = partial(_page, pages, build, known)
        routes += [Route(f"{end}.{{form:form}}", make), Route(path, make)]
    routes += [Route(path, partial(_text, pages, *of)) for path, of in TEXTS.items()]
    routes += [
        Route("/embed/gpus/{gpu}/history.svg", partial(_picture, pages)),
        Route("/embed/gpus/{gpu}/history.png", partial(_picture, pages)),
        Route(agents.PATH, agents.Door(make_agent(site) if make_agent else None, site), methods=["POST"]),
        Route("/static/{version}/{name}", _static),
        Route("/favicon.ico", _favicon),
        Route("/healthz", _healthy),
        Route("/readyz", partial(_ready, site)),
    ]
    inner = Starlette(routes=routes, exception_handlers=handlers)
    front = Front(inner, site, per_minute=per_minute)
    inner.router.routes.append(Route("/metrics", partial(_metrics, front)))
    return front


async def _elsewhere(to: str, request: Request) -> Response:
    return _moved(to, request)


def _moved(to: str, request: Request) -> Response:
    """Send a reader to another path for ever, with the same question."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(to + query, status_code=301)


async def _page(pages: _Pages, build: Build, known: tuple[str, ...], request: Request) -> Response:
    return await pages.run(lambda: pages.page(request, build, known))


async def _text(
    pages: _Pages, write: Callable[[Ask, str], str | bytes], media: str, request: Request
) -> Response:
    return await pages.run(lambda: pages.text(request, write, media))


async def _picture(pages: _Pages, request: Request) -> Response:
    return await pages.run(lambda: pages.picture(request))


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "vega.js":
        script = await to_thread.run_sync(_bundle)
        return Response(script, media_type="text/javascript", headers=_FOR_EVER)
    if name not in _MEDIA:
        raise HTTPException(404)
    return Response(_file(name), media_type=_MEDIA[name], headers=_FOR_EVER)


async def _favicon(request: Request) -> Response:
    del request
    return Response(_file("icon.svg"), media_type=_MEDIA["icon.svg"], headers=_FOR_EVER)


_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
_MEDIA = {"site.css": "text/css", "site.js": "text/javascript", "icon.svg": "image/svg+xml"}


@cache
def _file(name: str) -> bytes:
    return next(path for path in static_files() if path.name == name).read_bytes()


@cache
def _bundle() -> bytes:
    """Return what draws interactive charts, made when somebody first wants one."""
    return draw("bundle").encode()


async def _healthy(request: Request) -> Response:
    del request
    return PlainTextResponse("ok\n")


async def _ready(site: Site, request: Request) -> Response:
    """Tell whether there are prices to answer from, and whether they are the newest."""
    del request
    store = site.market()
    newest = store.newest.isoformat() if store.newest else None
    return JSONResponse(
        {"ready": True, "dataset": store.version, "newest": newest, "behind": site.is_behind or None}
    )


async def _metrics(front: Front, request: Request) -> Response:
    del request
    try:
        newest = front.site.market().newest
    except DataError:
        newest = None
    front.counts.newest.set(newest.timestamp() if newest else 0)
    return Response(generate_latest(front.counts.registry), media_type=CONTENT_TYPE_LATEST)


async def on_error(site: Site, request: Request, error: Exception) -> Response:
    """Answer with an error of ours; a name in the address that is not there is 404, in a field 400."""
    fault = error if isinstance(error, RackrateError) else InternalError(str(error))
    status = fault.http_status
    if isinstance(fault, UnknownName) and fault.kind != "page":
        status = 404 if fault.name in request.path_params.values() else 400
    return _error(site, request, fault, status)


async def on_http(site: Site, request: Request, error: Exception) -> Response:
    """Answer where Starlette found no page, or not this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:  # noqa: PLR2004
        path = request.url.path[:200]
        is_api = path.startswith(_API)
        known = [f"{_API}{each.path}" for each in RESOURCES] if is_api else list(PAGES)
        plain = [path for path in known if "{" not in path]
        near = nearest(path, plain) or plain[:1]
        return _error(site, request, UnknownName("page", path, near), 404)
    allowed = _METHODS.get(request.url.path, "GET, HEAD")
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=_preflight(request.url.path, allowed))
    hint = "agents send with POST" if request.url.path == agents.PATH else "read it with GET"
    fault = UsageError(f"{request.method} is not for this page", hint=hint, code="bad-method")
    answer = _error(site, request, fault, status)
    answer.headers["allow"] = f"{allowed}, OPTIONS"
    return answer


def _preflight(path: str, allowed: str) -> dict[str, str]:
    """Return what a browser must know before a page of another site asks; of the agents' door nothing."""
    found = {"allow": f"{allowed}, OPTIONS"}
    if path == agents.PATH:
        return found
    return {
        **found,
        **_OPEN,
        "access-control-allow-methods": allowed,
        "access-control-allow-headers": "content-type, if-none-match",
        "access-control-max-age": "86400",
    }


def _error(site: Site, request: Request, error: RackrateError, status: int) -> Response:
    error.http_status = status
    body, media = problem_bytes(error, site, is_html=wants_html(request.scope))
    retry = {"retry-after": "30"} if status == 503 else {}  # noqa: PLR2004
    return Response(body, status, media_type=media, headers={**_OPEN, **retry})
