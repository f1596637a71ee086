"""The JSON API: what the pages are made of, under `/api/v1`, described by OpenAPI.

Each resource is a function of what was asked, and the fields of its address are read by the same code as
those of the pages. Lists are cut into pages by an opaque cursor, which belongs to one state of the data.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from rackrate import clock
from rackrate.errors import DataError, RackrateError, UsageError
from rackrate.web import resources
from rackrate.web.page import Ask
from rackrate.web.query import Query, unknown_field
from rackrate.web.site import MOST_WAITING, Site
from rackrate.web.wording import said_as_data

MOST_ROWS = 500
USUAL_ROWS = 100
_PAGING = ("limit", "cursor")
_OPEN = {"access-control-allow-origin": "*"}


class Meta(BaseModel):
    """What an answer rests on."""

    as_of: str | None
    dataset: str
    method: str


class One(BaseModel):
    """One thing."""

    data: dict[str, Any]
    meta: Meta


class Many(BaseModel):
    """A part of a list; `next` asks for the part after it."""

    data: list[dict[str, Any]]
    next: str | None
    meta: Meta


class Problem(BaseModel):
    """What went wrong (RFC 9457); programs match on `code`."""

    type: str
    title: str
    status: int
    detail: str
    hint: str
    code: str


_PROBLEM: dict[str, Any] = {
    "model": Problem,
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_STATUSES = {
    400: "a field that is unknown or cannot be read", 404: "a name that nothing answers to, or no answer",
    413: "a body that is too large", 429: "too many new answers a minute", 503: "no prices, or too busy",
}  # fmt: skip


@dataclass(frozen=True)
class _Api:
    """Answers the API's questions when their turn comes."""

    site: Site
    turns: CapacityLimiter

    async def run(self, work: Callable[[], Any]) -> Response:
        if self.turns.statistics().tasks_waiting >= MOST_WAITING:
            raise DataError("too many questions wait", hint="try again in a moment", code="busy")
        body = await to_thread.run_sync(lambda: _written(self.site.answer(work)), limiter=self.turns)
        return Response(body, media_type="application/json", headers=_OPEN)

    def ask(self, request: Request, pairs: Sequence[tuple[str, str]], known: tuple[str, ...]) -> Ask:
        path = {name: str(value) for name, value in request.path_params.items()}
        query = Query.read(pairs, known)
        return Ask(self.site.market(), path, query, request.url.path, clock.now(), self.site.hours_per_month)

    def meta(self, ask: Ask) -> dict[str, Any]:
        newest = ask.market.newest
        return {
            "as_of": newest.isoformat() if newest else None,
            "dataset": ask.market.version,
            "method": f"rackrate {version('rackrate')}",
        }

    def one(self, request: Request, resource: resources.Resource) -> dict[str, Any]:
        ask = self.ask(request, request.query_params.multi_items(), resource.names)
        return {"data": resource.answer(ask), "meta": self.meta(ask)}

    def many(self, request: Request, resource: resources.Resource) -> dict[str, Any]:
        ask = self.ask(request, request.query_params.multi_items(), (*resource.names, *_PAGING))
        limit = ask.query.whole("limit", USUAL_ROWS, least=1, most=MOST_ROWS)
        start = _start(ask.query.text("cursor"), ask.market.version)
        rows = resource.answer(replace(ask, query=_without(ask.query, _PAGING)))
        end = start + limit
        return {
            "data": rows[start:end],
            "next": _cursor(end, ask.market.version) if end < len(rows) else None,
            "meta": self.meta(ask),
        }

    def posted(self, request: Request, body: bytes) -> dict[str, Any]:
        ask = self.ask(request, _pairs(body), resources.PLAN.names)
        return {"data": resources.PLAN.answer(ask), "meta": self.meta(ask)}


def make_api(site: Site, turns: CapacityLimiter, handlers: Mapping[Any, Any]) -> FastAPI:
    """Return the API as an application of its own.

    Args:
        site: what it answers from.
        turns: of the questions, shared with the pages.
        handlers: what answers where an error was raised.
    """
    made = FastAPI(
        title="Rackrate",
        summary="GPU prices like for like, memory, speed, plans, rent or own.",
        version=version("rackrate"),
        docs_url=None,
        redoc_url=None,
        exception_handlers=dict(handlers),
        servers=[{"url": "/api/v1"}],
        root_path_in_servers=False,
    )
    api = _Api(site, turns)
    for resource in resources.RESOURCES:
        made.add_api_route(
            resource.path,
            _endpoint(api.many if resource.is_list else api.one, resource, api),
            methods=["GET"],
            name=resource.name,
            operation_id=resource.name,
            summary=resource.says,
            response_model=Many if resource.is_list else One,
            responses=_responses(400, 404, 429, 503),
            openapi_extra={"parameters": _parameters(resource)},
        )
    made.add_api_route(
        "/plan", partial(_post_plan, api), methods=["POST"], name="post_plan", operation_id="post_plan",
        summary="Which machines to rent, the question as JSON.", response_model=One,
        responses=_responses(400, 404, 413, 429, 503), openapi_extra={"requestBody": _plan_body()},
    )  # fmt: skip
    return made


def _written(found: Any) -> str:
    return said_as_data(json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _endpoint(
    answer: Callable[[Request, resources.Resource], Any], resource: resources.Resource, api: _Api
) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await api.run(lambda: answer(request, resource))

    return endpoint


async def _post_plan(api: _Api, request: Request) -> Response:
    body = await request.body()
    return await api.run(lambda: api.posted(request, body))


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {**_PROBLEM, "description": _STATUSES[status]} for status in statuses}


def _parameters(resource: resources.Resource) -> list[dict[str, Any]]:
    inside = [name.strip("{}") for name in resource.path.split("/") if name.startswith("{")]
    found = [
        {"name": name, "in": "path", "required": True, "schema": resources.schema_of(name)} for name in inside
    ]
    fields = [*resource.names, *(_PAGING if resource.is_list else ())]
    for name in fields:
        schema = resources.schema_of(name)
        found.append({"name": name, "in": "query", "required": name in resource.needs, "schema": schema})
    return found


def _plan_body() -> dict[str, Any]:
    properties = {name: resources.schema_of(name) for name in resources.PLAN.names}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _pairs(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a JSON body as if they stood in an address.

    Raises:
        UsageError: the body is no object of texts, numbers and lists of them.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise _bad_body("the body is no JSON") from None
    if not isinstance(data, dict):
        raise _bad_body("the body is no object")
    pairs = []
    for name, value in data.items():
        if name not in resources.PLAN.names:
            raise unknown_field(name, resources.PLAN.names)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool) or not isinstance(item, (str, int, float)):
                raise _bad_body(f"{name} is neither text nor number")
            pairs.append((name, f"{item:.15g}" if isinstance(item, float) else str(item)))
    return pairs


def _bad_body(says: str) -> RackrateError:
    return UsageError(says, hint='send fields such as {"model": "llama-3.1-8b", "rps": 1}', code="bad-body")


def _cursor(start: int, dataset: str) -> str:
    return base64.urlsafe_b64encode(f"{start}.{dataset}".encode()).decode().rstrip("=")


def _start(cursor: str, dataset: str) -> int:
    """Return where a cursor goes on.

    Raises:
        UsageError: it is none of ours, or the data have changed since.
    """
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        text = ""
    start, _, of = text.partition(".")
    if not (start.isascii() and start.isdigit() and len(start) < 10 and of == dataset):  # noqa: PLR2004
        hint = "begin again without it: the data may have changed"
        raise UsageError(f"cursor {cursor!r} does not belong to these data", hint=hint, code="bad-cursor")
    return int(start)


def _without(query: Query, names: Sequence[str]) -> Query:
    return Query({name: values for name, values in query.values.items() if name not in names})
