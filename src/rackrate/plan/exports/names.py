"""What other tools call a GPU or a provider."""

from __future__ import annotations

from rackrate.catalog.aliases import family_members
from rackrate.errors import UnknownName, nearest
from rackrate.plan.answer import Row
from rackrate.plan.estimate import table


def gpu_in(tool: str, row: Row) -> str:
    """Return a tool's name of the GPU of a row.

    Raises:
        UnknownName: the tool has none, as far as is known.
    """
    data = table("exports")[tool]
    names = data["gpus"] | data.get("elsewhere", {}).get(row.provider, {})
    found = names.get(row.gpu) or names.get(row.taken_as)
    if not found:
        raise UnknownName(f"{tool} GPU", row.gpu, nearest(row.gpu, names), why="no name of it there is known")
    return str(found)


def gpus_in(tool: str, row: Row) -> tuple[str, ...]:
    """Return every name that a tool may have for the GPU of a row: of a family those of its members.

    Raises:
        UnknownName: the tool has none, as far as is known.
    """
    names = table("exports")[tool]["gpus"]
    found = sorted({names[slug] for slug in family_members(row.gpu) if slug in names})
    return tuple(map(str, found)) or (gpu_in(tool, row),)


def provider_in(tool: str, row: Row) -> str:
    """Return a tool's name of the provider of a row; empty where it has none."""
    return str(table("exports")[tool]["providers"].get(row.provider, ""))
