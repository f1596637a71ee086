"""An answer as a tool gives it: Markdown for reading, the same numbers as data, both short enough to be read.

What an agent reads takes room in its context, so long lists are cut unless it asks for the whole. How much of
each was left out is said in both.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from rackrate.agent.wording import said, said_in
from rackrate.report.block import Answer, Block, Table, to_markdown

MOST_TEXT, MOST_DATA = 8_000, 12_000
"""Characters of the Markdown and of the data, unless the whole is asked for."""

_LONG = 1_000
"""Characters from which a list is cut."""


class Answered(BaseModel):
    """An answer as data; the text beside it says the same in Markdown."""

    data: dict[str, Any] = Field(description="the numbers, units in the names of the fields")
    left_out: dict[str, int] = Field(
        description="of each list, by its path, how many entries were left out for length; `whole` has them"
    )


def answered(
    found: Answer, arguments: Collection[str], *, is_whole: bool, has_newest_last: bool = False
) -> CallToolResult:
    """Return an answer.

    Args:
        found: what was asked for.
        arguments: that the tools have, for its advice.
        is_whole: whether it may be long.
        has_newest_last: whether the end of its lists is what matters, not the start.
    """
    blocks, data = found.blocks(), said_in(found.to_dict(), arguments)
    left_out: dict[str, int] = {}
    if not is_whole:
        blocks = _short_blocks(blocks, has_newest_last=has_newest_last)
        while len(_json(data)) > MOST_DATA and (longest := _next_to_cut(data)):
            path, entries = longest
            n = max(len(entries) // 4, 1)
            left_out[path] = left_out.get(path, 0) + n
            del entries[slice(0, n) if has_newest_last else slice(len(entries) - n, None)]
    text = said(to_markdown(blocks), arguments)
    if left_out:
        text += "\n\nThe data leave out for length: " + ", ".join(f"{n} of {p}" for p, n in left_out.items())
        text += ". `whole` has them."
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content={"data": data, "left_out": left_out},
    )


def _short_blocks(blocks: Sequence[Block], *, has_newest_last: bool) -> list[Block]:
    """Return blocks whose largest tables are halved until all of them are short."""
    short = list(blocks)
    while len(to_markdown(short)) > MOST_TEXT:
        tables = [(len(to_markdown([each])), at) for at, each in enumerate(short) if _is_long(each)]
        if not tables:
            return short
        at = max(tables)[1]
        table, whole = short[at], blocks[at]
        if isinstance(table, Table) and isinstance(whole, Table):
            n = len(table.rows) // 2
            rows = table.rows[n:] if has_newest_last else table.rows[: len(table.rows) - n]
            note = f"{len(whole.rows) - len(rows)} of {len(whole.rows)} rows left out; `whole` has them"
            short[at] = replace(table, rows=rows, notes=(*whole.notes, note))
    return short


def _is_long(block: Block) -> bool:
    return isinstance(block, Table) and len(block.rows) > 1


def _next_to_cut(data: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the longest list with its path; the first long one, which is the answer, comes last."""
    lists = [each for each in _lists(data, "") if len(_json(each[1])) > _LONG]
    return max(lists[1:] or lists, key=lambda each: len(_json(each[1])), default=None)


def _lists(data: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _lists(value, f"{path}.{name}" if path else name)
    elif isinstance(data, list):
        yield path, data


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)
