"""Read the catalog's TOML files, lazily and once.

One file a GPU and a model, so that a command parses only what it shows: tomllib reads about 2 MB/s,
and the whole catalog is larger than a start-up may wait for.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from rackrate.catalog.fact import Source
from rackrate.errors import CatalogInvalid

_DATA = Path(__file__).parent / "data"


@cache
def table(name: str) -> dict[str, Any]:
    """Return the parsed TOML file `data/<name>.toml`.

    Raises:
        CatalogInvalid: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CatalogInvalid(f"the catalog has no file {name}.toml") from error
    except tomllib.TOMLDecodeError as error:
        raise CatalogInvalid(f"catalog file {name}.toml is not TOML: {error}") from error


@cache
def slugs(folder: str) -> tuple[str, ...]:
    """Return the slugs that have a file in `data/<folder>/`, sorted."""
    names = (path.name for path in (_DATA / folder).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def sources() -> dict[str, Source]:
    """Return every source that a fact may name, by id."""
    return {key: Source(id=key, **row) for key, row in table("sources").items()}
