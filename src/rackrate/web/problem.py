"""An error as people and as programs read it: a page with a way on, or an RFC 9457 problem."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rackrate.errors import RackrateError, UnknownName
from rackrate.web.render import error_html
from rackrate.web.wording import said_as_data

if TYPE_CHECKING:
    from rackrate.web.site import Site

PROBLEM = "application/problem+json"
_FOR_PROGRAMS = (".json", ".csv", ".parquet", ".md", ".vl", ".svg", ".atom", ".xml", ".txt")
_PAGES = {"GPU": "/gpus/", "model": "/models/", "provider": "/providers/", "metric": "/methodology/",
          "error code": "/errors/", "page": ""}  # fmt: skip


def problem_bytes(error: RackrateError, site: Site, *, is_html: bool) -> tuple[bytes, str]:
    """Return an error as bytes with their media type."""
    if is_html:
        return error_html(error, links_of(error), site).encode(), "text/html; charset=utf-8"
    return said_as_data(json.dumps(error.to_problem(), ensure_ascii=False)).encode(errors="replace"), PROBLEM


def links_of(error: RackrateError) -> list[tuple[str, str]]:
    """Return the nearest names with the addresses of their pages."""
    if not isinstance(error, UnknownName) or error.kind not in _PAGES:
        return []
    return [(name, _PAGES[error.kind] + quote(name)) for name in error.nearest]


def wants_html(scope: Mapping[str, Any]) -> bool:
    """Tell whether a request comes from somebody who reads pages."""
    path = str(scope["path"])
    if path.startswith(("/api/", "/mcp")) or path.endswith(_FOR_PROGRAMS):
        return False
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"*/*")
    return b"json" not in accept or b"html" in accept
