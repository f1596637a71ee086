"""What answers advise in the words of the command line, in those of the tools: arguments in place of options.

`--price-usd USD` is the argument `price_usd`, and a command is the tool that answers it. Options of other
programs (vLLM's `--max-num-seqs`) stay as they are: one types them there.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

_TOOLS = tuple(
    (re.compile(command), tool)
    for command, tool in (
        (r"`?rackrate gpus list`?", "search_gpus"),
        (r"`?rackrate models list`?", "search_models"),
        (r"`?rackrate gpus show ([\w.-]+)`?", r"explain with gpu \1"),
        (r"`?rackrate own ([\w.-]+)`?", r"rent_or_own with gpu \1"),
        (r"`?rackrate plan ([\w.-]+) --rps (\d+)`?", r"plan with model \1, rps \2"),
        (r"`?rackrate fit`?", "fit"),
        (r"[:;]? `?rackrate offers --gpu [\w.-]+ --kind \w+(?: --limit \d+)?`?", ""),  # there is no such tool
    )
)
_RENAMED = {"place": "country"}
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: [A-Z]{3,})?(?![\w-])")


def said(text: str, arguments: Collection[str]) -> str:
    """Return a text with commands as tools and options as arguments.

    Args:
        text: for people at a terminal.
        arguments: that the tools have.

    >>> said("say what one costs you: --price-usd USD", {"price_usd"})
    'say what one costs you: price_usd'
    """
    for command, tool in _TOOLS if "rackrate " in text else ():
        text = command.sub(tool, text)

    def named(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        name = _RENAMED.get(name, name)
        return name if name in arguments else found[0]

    return _OPTION.sub(named, text) if "--" in text else text


def said_in(data: Any, arguments: Collection[str]) -> Any:
    """Return plain data with every text of it in the words of the tools."""
    if isinstance(data, str):
        return said(data, arguments)
    if isinstance(data, dict):
        return {name: said_in(value, arguments) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [said_in(value, arguments) for value in data]
    return data
