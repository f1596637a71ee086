"""What other tools call a GPU or a provider."""

from __future__ import annotations

from rackrate.errors import UnknownName, nearest
from rackrate.plan.answer import Row
from rackrate.plan.estimate import table


def gpu_in(tool: str, row: Row) -> str:
    """Return a tool's name of the GPU of a row.

    Raises:
        UnknownName: the tool has none, as far as is known.
    """
    names = table("exports")[tool]["gpus"]
    found = names.get(row.gpu) or names.get(row.taken_as)
    if not found:
        raise UnknownName(f"{tool} GPU", row.gpu, nearest(row.gpu, names), why="no name of it there is known")
    return str(found)


def provider_in(tool: str, row: Row) -> str:
    """Return a tool's name of the provider of a row; empty where it has none."""
    return str(table("exports")[tool]["providers"].get(row.provider, ""))
