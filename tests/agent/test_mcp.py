"""The official client talks to `rackrate mcp` over pipes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

import rackrate

TOOLS = {"search_gpus", "prices", "history", "fit", "plan", "rent_or_own", "explain"}


def asked(*calls: tuple[str, dict[str, Any]]) -> tuple[Any, list[Any]]:
    """Start the server, list its tools, call some, and end it."""
    # The path of this checkout, for a server that starts in an environment of its own.
    root = str(Path(rackrate.__file__).parents[1])
    env = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "rackrate", "mcp"], env={**env, "PYTHONPATH": root}
    )

    async def talk() -> tuple[Any, list[Any]]:
        async with Client(stdio_client(server)) as client:
            tools = await client.list_tools()
            return tools, [await client.call_tool(name, given) for name, given in calls]

    return asyncio.run(talk())


def test_tools_only_read_and_say_what_they_return() -> None:
    tools, _ = asked()
    assert {tool.name for tool in tools.tools} == TOOLS
    for tool in tools.tools:
        assert tool.annotations.read_only_hint
        assert set(tool.output_schema["properties"]) == {"markdown", "data"}
        assert tool.description


def test_each_tool_has_the_numbers_of_the_function() -> None:
    calls = (
        ("search_gpus", {"name": "l40"}),
        ("prices", {"gpu": "l40s"}),
        ("history", {"gpu": "l40s", "days": 7}),
        ("fit", {"model": "llama-3.1-70b", "gpu": "l40s", "precision": "int4"}),
        ("plan", {"model": "llama-3.1-8b", "rps": "1"}),
        ("rent_or_own", {"gpu": "l40s", "hours_per_day": 8}),
        ("explain", {"gpu": "l40s"}),
    )
    _, found = asked(*calls)
    assert not any(each.is_error for each in found)
    data = {name: each.structured_content["data"] for (name, _), each in zip(calls, found, strict=True)}
    assert [row["gpu"] for row in data["search_gpus"]["data"]] == ["l40s", "l40"]
    assert data["prices"] == rackrate.price("l40s").to_dict()
    assert len(data["history"]["history"]) == 8
    assert data["fit"]["verdict"] == rackrate.fits("llama-3.1-70b", "l40s", precision="int4").verdict
    assert data["plan"]["rows"][0] == rackrate.plan("llama-3.1-8b", rps=1, limit=10).to_dict()["rows"][0]
    assert data["rent_or_own"] == rackrate.own("l40s", hours_per_day=8).to_dict()
    assert data["explain"]["facts"]["memory_gib"]["value"] == 48
    assert all(each.structured_content["markdown"].startswith("## ") for each in found)


@pytest.mark.parametrize("model", ["/etc/passwd", "hf:meta-llama/Llama-3.1-8B", "llama-9"])
def test_an_error_says_what_to_do_and_opens_nothing(model: str) -> None:
    _, (found,) = asked(("fit", {"model": model}))
    assert found.is_error
    assert "unknown-model" in found.content[0].text
