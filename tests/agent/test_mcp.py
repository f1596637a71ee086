"""The official client talks to `rackrate mcp` over pipes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

import rackrate

TOOLS = {"search_gpus", "search_models", "prices", "history", "fit", "plan", "rent_or_own", "explain"}


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
        assert set(tool.output_schema["properties"]) == {"data", "left_out"}
        assert tool.description
        for name, argument in tool.input_schema["properties"].items():
            assert argument["description"], f"{tool.name} does not say what its {name} is"


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
    own = rackrate.own("l40s", hours_per_day=8).to_dict()
    assert all(data["rent_or_own"][name] == own[name] for name in ("against", "cost_usd_per_hour", "verdict"))
    assert data["rent_or_own"]["remarks"] == [
        say.replace("--price-usd", "price_usd") for say in own["remarks"]
    ]
    assert data["explain"]["facts"]["memory_gib"]["value"] == 48
    assert all(each.content[0].text.startswith("## ") for each in found)


@pytest.mark.parametrize("model", ["/etc/passwd", "hf:meta-llama/Llama-3.1-8B", "llama-9"])
def test_an_error_says_what_to_do_and_opens_nothing(model: str) -> None:
    _, (found,) = asked(("fit", {"model": model}))
    assert found.is_error
    assert "unknown-model" in found.content[0].text


def test_answers_are_short_unless_the_whole_is_asked_for() -> None:
    calls = (
        ("search_gpus", {}),
        ("plan", {"model": "llama-3.1-8b", "rps": 1}),
        ("rent_or_own", {"gpu": "l40s"}),
    )
    whole = tuple((name, {**given, "whole": True}) for name, given in calls)
    _, found = asked(*calls, *whole)
    for (name, _), short, long in zip(calls, found, found[len(calls) :], strict=False):
        sizes = [
            len(each.content[0].text) + len(json.dumps(each.structured_content)) for each in (short, long)
        ]
        assert sizes[0] < 20_500, name
        assert long.structured_content["left_out"] == {}
        if short.structured_content["left_out"]:
            assert sizes[1] > sizes[0], name
            assert "`whole` has them" in short.content[0].text
    gpus, all_gpus = (each.structured_content for each in (found[0], found[len(calls)]))
    n = len(all_gpus["data"]["data"])
    assert gpus["data"]["data"] == all_gpus["data"]["data"][: n - gpus["left_out"]["data"]], "the first stay"


@pytest.mark.parametrize(
    ("model", "load"), [("flux-1-dev", "images_per_hour"), ("whisper-large-v3", "audio_hours_per_day")]
)
def test_models_of_images_and_speech_are_planned_by_loads_of_theirs(model: str, load: str) -> None:
    _, (found,) = asked(("plan", {"model": model, load: 500}))
    assert not found.is_error
    expected = rackrate.plan(model, limit=10, **{load: "500"}).to_dict()
    assert found.structured_content["data"]["rows"][0] == expected["rows"][0]


def test_a_search_says_how_many_it_found() -> None:
    _, (some, none) = asked(("search_models", {"name": "llama-3.1"}), ("search_models", {"name": "zzz"}))
    n = len(some.structured_content["data"]["data"])
    assert some.content[0].text.startswith(f"## {n} of ")
    assert none.content[0].text.startswith("## 0 of ")


def test_of_a_long_history_the_newest_days_stay() -> None:
    _, (short, whole) = asked(
        ("history", {"gpu": "l40s", "days": 3000}), ("history", {"gpu": "l40s", "days": 3000, "whole": True})
    )
    some, every = (each.structured_content["data"]["history"] for each in (short, whole))
    assert 7 < len(some) < len(every)
    assert some == every[-len(some) :]
    assert short.structured_content["left_out"] == {"history": len(every) - len(some)}


@pytest.mark.parametrize(
    ("tool", "given", "code", "says"),
    [
        ("plan", {"model": "llama-3.1-8b"}, "usage", "rps or tokens_per_day or users"),
        ("plan", {"model": "flux-1-dev"}, "usage", "say how much: images_per_hour"),
        ("rent_or_own", {"gpu": "mi300x"}, "no-price", "price_usd"),
        ("prices", {"gpu": "no-such-thing"}, "unknown-gpu", "search_gpus lists them"),
        ("prices", {"gpu": "l40z"}, "unknown-gpu", "`l40s`"),
        ("prices", {"gpu": "A100"}, "no-offers", "a100-80gb-sxm"),
        ("prices", {}, "bad-argument", "gpu: field required"),
        ("prices", {"gpu": "l40s", "kin": "spot"}, "unknown-argument", "did you mean `kind`?"),
        ("prices", {"gpu": "t4", "kind": "reserved"}, "no-offers", "none with a recent date"),
        ("history", {"gpu": "l40s", "days": 10**12}, "bad-argument", "days:"),
        ("fit", {"model": "llama-3.1-8b", "concurrency": 0}, "bad-argument", "concurrency:"),
        ("fit", {"model": "llama-3.1-70b", "gpu": "2 x L40S"}, "bad-quantity", "l40s:2"),
        ("fit", {"model": "llama-3.1-70b", "gpu": "h100-sxm x8"}, "bad-quantity", "h100-sxm:8"),
        ("fit", {"model": "x" * 5000}, "bad-argument", "model:"),
        ("explain", {"gpu": "\x00<script>"}, "unknown-gpu", "search_gpus lists them"),
        ("explane", {}, "unknown-tool", "did you mean `explain`"),
    ],
)
def test_errors_speak_of_arguments(tool: str, given: dict[str, Any], code: str, says: str) -> None:
    _, (found,) = asked((tool, given))
    text = found.content[0].text
    assert found.is_error
    assert f"{code}: " in text
    assert says in text
    assert "--" not in text
    assert "rackrate " not in text
    assert len(text) < 600
