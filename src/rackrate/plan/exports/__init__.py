"""A plan in the words of the tools that rent and run: what they read, they can load.

Each export is plain data of the tool's own schema, written as YAML by `yaml_text`; the engine's flags are
the same in all of them (`server`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rackrate.errors import UnknownName, nearest
from rackrate.plan.answer import Row
from rackrate.plan.exports.compose import compose
from rackrate.plan.exports.dstack import dstack
from rackrate.plan.exports.kubernetes import kubernetes
from rackrate.plan.exports.server import Server
from rackrate.plan.exports.skypilot import skypilot
from rackrate.plan.exports.yaml_text import to_yaml

FORMS: Mapping[str, Callable[[Row, Server], list[dict[str, Any]]]] = {
    "skypilot": skypilot,
    "dstack": dstack,
    "compose": compose,
    "kubernetes": kubernetes,
}
"""Tool to what writes its documents."""


def export(row: Row, server: Server, to: str, remarks: tuple[str, ...] = ()) -> str:
    """Return a row of a plan as the text of a file that a tool reads.

    Args:
        row: what is to be run where.
        server: the command and its model.
        to: one of `FORMS`.
        remarks: comments at the top.

    Raises:
        UnknownName: no such tool, or no GPU of that name in it.
    """
    if to not in FORMS:
        raise UnknownName("export", to, nearest(to, FORMS) or list(FORMS))
    head = "".join(f"# {line}\n" for line in remarks)
    return head + "---\n".join(to_yaml(document) for document in FORMS[to](row, server))
