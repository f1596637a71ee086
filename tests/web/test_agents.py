"""The official client of agents talks to a running site over HTTP; strangers' pages may not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from .conftest import make_market

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


def asked(site: Any, *calls: tuple[str, dict[str, Any]]) -> tuple[Any, list[Any]]:
    """List the tools of a site and call some, all at once."""

    async def talk() -> tuple[Any, list[Any]]:
        async with Client(f"{site.address}/mcp") as client:
            tools = await client.list_tools()
            return tools, await asyncio.gather(*(client.call_tool(name, given) for name, given in calls))

    return asyncio.run(talk())


def said_by(site: Any, method: str = "POST", **headers: str) -> Any:
    """Send the first message of the protocol as a program would that speaks HTTP alone."""
    sent = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    return site.get("/mcp", method=method, data=json.dumps(HELLO).encode(), **sent)


def test_each_tool_answers_with_the_numbers_of_the_site(site: Any) -> None:
    calls = (
        ("search_gpus", {"name": "l40"}),
        ("search_models", {"name": "llama-3.1"}),
        ("prices", {"gpu": "l40s"}),
        ("history", {"gpu": "l40s", "days": 7}),
        ("fit", {"model": "llama-3.1-70b", "gpu": "l40s", "precision": "int4"}),
        ("plan", {"model": "llama-3.1-8b", "rps": "1"}),
        ("rent_or_own", {"gpu": "l40s"}),
        ("explain", {"gpu": "l40s"}),
    )
    tools, found = asked(site, *calls)
    assert {tool.name for tool in tools.tools} == {name for name, _ in calls}
    assert all(tool.annotations.read_only_hint for tool in tools.tools)
    assert not any(each.is_error for each in found)
    data = {name: each.structured_content["data"] for (name, _), each in zip(calls, found, strict=True)}
    spread = site.get("/api/v1/gpus/l40s/spread").json["data"]["spread"]
    assert data["prices"]["spread"] == spread
    own = site.get("/api/v1/rent-or-own?gpu=l40s").json["data"]
    assert all(data["rent_or_own"][name] == own[name] for name in ("verdict", "cost_usd_per_hour"))
    assert data["explain"] == site.get("/api/v1/gpus/l40s/facts").json["data"]
    plan = site.get("/api/v1/plan?model=llama-3.1-8b&rps=1").json["data"]
    assert len(data["plan"]["rows"]) > 2
    assert data["plan"]["rows"] == plan["rows"][: len(data["plan"]["rows"])]
    assert len(data["history"]["history"]) == 8


def test_it_answers_from_the_prices_of_the_site(serve: Any, tmp_path: Path) -> None:
    row = {
        "provider": "acme",
        "gpu": "L40S",
        "count": 1,
        "kind": "on_demand",
        "at": "2026-08-22",
        "usd": 0.61,
    }
    store = make_market(tmp_path / "mine", [row])
    with serve("--data", str(store)) as client:
        _, (found,) = asked(client, ("prices", {"gpu": "l40s"}))
    data = found.structured_content["data"]
    assert data["spread"]["cheapest"] == {"provider": "acme", "usd_per_gpu_hour": 0.61}


def test_an_error_says_what_to_do_and_opens_nothing(site: Any) -> None:
    _, found = asked(site, *(("fit", {"model": model}) for model in ("/etc/passwd", "hf:a/b", "llama-9")))
    assert all(each.is_error for each in found)
    assert all("unknown-model" in each.content[0].text for each in found)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:80"])
def test_a_page_of_this_machine_may_ask(site: Any, origin: str) -> None:
    assert said_by(site, Origin=origin).json["result"]["serverInfo"]["name"] == "rackrate"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1.evil.example", "null", "http://[", "http://localhost.x"],
)
def test_a_page_of_a_stranger_may_not(site: Any, origin: str) -> None:
    refused = said_by(site, Origin=origin)
    assert (refused.status, refused.json["code"]) == (403, "refused")
    assert refused.headers["content-type"] == "application/problem+json"


def test_there_is_no_stream_and_nothing_but_post(site: Any) -> None:
    for method in ("GET", "DELETE", "PUT"):
        assert said_by(site, method).status == 405
    assert site.get("/mcp", method="POST", data=b"x" * 70_000).status == 413
    assert said_by(site).headers["cache-control"] == "no-store"
