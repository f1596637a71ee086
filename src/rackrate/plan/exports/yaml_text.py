"""Write plain data as YAML: mappings, lists and scalars, nothing else.

Thirty lines instead of a dependency: a text is written as JSON writes it, which every YAML reader takes, and
one of several lines as a block, so that a script can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def to_yaml(data: Mapping[str, Any]) -> str:
    """Return a mapping as a YAML document."""
    return "\n".join(_lines(data, "")) + "\n"


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", inner, indent + "  ")
    else:
        for inner in value:
            yield from _item(inner, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, (Mapping, list, tuple)) and value:
        yield head
        yield from _lines(value, indent)
    elif isinstance(value, str) and "\n" in value and value.strip():
        yield f"{head} |" + ("" if value.endswith("\n") else "-")
        yield from (f"{indent}{line}" if line else "" for line in value.rstrip("\n").split("\n"))
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        first, *others = _lines(value, indent + "  ")
        yield f"{indent}- {first.strip()}"
        yield from others
    else:
        yield from _entry(f"{indent}-", value, indent + "  ")


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "." not in text:
        return text.replace("e", ".0e")  # without a point YAML 1.1 reads a text
    return text
